"""A report's table as pages and twins show it: what each cell is, which columns hold figures, facts without heads."""

import pytest

from analysis.browser.queries.shown_table import ShownCell, shown_table, with_rows
from analysis.report.table import Chance, Estimate, Latents, Share, Status, Table, Tokens, facts


@pytest.mark.parametrize(
    ("head", "cell", "shown"),
    [
        ("level", Estimate(0.5, 0.4, 0.6, n="9/8"), ShownCell("number", "0.50", "[0.40, 0.60] (9/8)")),
        ("level", Estimate(None), ShownCell("number", "–")),
        ("share", Share(0.25), ShownCell("number", "25%")),
        ("rate", "50% [25%, 60%]", ShownCell("number", "50%", "[25%, 60%]")),
        ("p", Chance(0.0001), ShownCell("number", "< 0.001")),
        ("n", 12, ShownCell("number", "12")),
        ("status", Status("held"), ShownCell("status", "held")),
        ("latents", Latents((3, 5)), ShownCell("latents", "3, 5", items=["3", "5"])),
        ("promotes", Tokens((" a", "b")), ShownCell("tokens", "'␣a' 'b'", items=[" a", "b"])),
        ("concept", "afraid", ShownCell("concept", "afraid")),
        ("expected", "afraid", ShownCell("concept", "afraid")),
        ("concept", "", ShownCell("text", "")),
        ("what", "afraid", ShownCell("text", "afraid")),
        ("what", None, ShownCell("text", "")),
    ],
)
def test_a_cell_says_what_it_is(head, cell, shown):
    rows = [(cell,), ("words",)]
    assert shown_table(Table("T", (head,), rows)).rows[0][0] == shown


@pytest.mark.parametrize(
    ("head", "cells", "numeric"),
    [
        ("estimate", [Estimate(0.5), None], True),
        ("written", ["\u22123", "10 %", "\u2013", ""], True),
        ("words", ["12", "twelve"], False),
        ("range", ["\u22122.0 to 4.0"], False),
        ("latents", [Latents((5,))], False),
        ("expected", ["1", "\u22121"], True),
    ],
)
def test_a_column_of_figures_is_known_whoever_wrote_them(head, cells, numeric):
    found = shown_table(Table("T", (head,), [(cell,) for cell in cells]))
    assert found.numeric == [numeric]
    assert "concept" not in [row[0].kind for row in found.rows], "a sign is no concept's name"


def test_facts_have_no_heads_and_a_table_without_rows_is_left_out():
    about = facts("About", [("model", "m"), ("unknown", "")], "a note")
    (found,) = with_rows([about, Table("Empty", ("a",), [])])
    assert (found.title, found.columns, found.numeric, found.note) == ("About", [], [], "a note")
    assert [[cell.text for cell in row] for row in found.rows] == [["model", "m"]]
