"""Tables say what is known and nothing that is not; the terminal keeps to its width."""

import pytest

from analysis.report.table import Chance, Estimate, Latents, Share, Status, Table, estimate_of, facts, plain, said
from analysis.report.terminal import drawn


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (Estimate(0.876, 0.8, 0.95), "0.88 [0.80, 0.95]"),
        (Estimate(-0.1, sign=True), "\u22120.10"),
        (Estimate(0.1, 0.0, 0.2, 1, True), "+0.1 [+0.0, +0.2]"),
        (Estimate(None, 0.1, 0.2), "\u2013"),
        (Estimate(float("nan")), "\u2013"),
        (Share(0.215), "22%"),
        (Chance(0.00005), "< 0.001"),
        (Chance(0.0123), "0.012"),
        (Chance(None), "\u2013"),
        (Status("no effect"), "no effect"),
        (Latents((3, 17)), "3, 17"),
        (None, ""),
    ],
)
def test_cells(cell, said):
    assert plain(cell) == said


def test_a_p_value_is_never_said_to_be_nothing():
    assert Chance(0.0).of("p") == "p < 0.001"
    assert Chance(0.2).of("q") == "q = 0.200"


def test_facts_that_are_not_known_are_left_out():
    table = facts("", [("a", Estimate(None)), ("b", ""), ("c", Latents(())), ("d", Estimate(0.0))])
    assert [name for name, _ in table.rows] == ["d"]


def test_columns_without_anything_are_left_out():
    table = Table("", ("a", "b", "c"), [(1, Estimate(None), ""), (2, Estimate(None), "x")])
    assert table.filled().columns == ("a", "c")


def test_an_interval_is_found_beside_its_figure():
    class Record:
        r, valence_low, valence_high = 0.5, 0.4, 0.6

    assert estimate_of(Record(), "r", "valence") == Estimate(0.5, 0.4, 0.6)
    assert estimate_of(Record(), "r") == Estimate(0.5)


def test_words_are_wrapped_and_figures_are_not():
    table = Table("T", ("what", "AUROC [95 %]"), [("word " * 40, Estimate(0.9, 0.8, 1.0)), ("x", Estimate(0.5))])
    lines = drawn(table, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum("0.90 [0.80, 1.00]" in line for line in lines) == 1
    assert lines[-1].endswith("0.50"), "figures stand flush right"
    assert len({len(line) for line in lines if "0." in line}) == 1


def test_line_breaks_in_cells_do_not_break_the_table():
    lines = drawn(Table("", ("a", "b"), [("one\ntwo\x1b[31m", 1)])).splitlines()
    assert len(lines) == 2
    assert "\x1b" not in lines[1]


def test_what_only_the_model_reads_is_not_shown_as_text():
    assert [said(token) for token in ("<|endoftext|>", "<s>", " <bos>", "[CLS]")] == [""] * 4
    assert [said(token) for token in (" <b>", " [ab]", "|>", " so", "s>")] == [" <b>", " [ab]", "|>", " so", "s>"]


def test_methods_stand_side_by_side_with_their_medians():
    from analysis.records import Transfer
    from analysis.report.tables import transfer

    rows = [
        Transfer("go", label, concept, method, held, auroc, auroc - 0.1, auroc + 0.1, 5, 50)
        for label, concept, held, aurocs in (("fear", "afraid", True, (0.9, 0.5)), ("joy", "happy", False, (0.7, 0.6)))
        for method, auroc in zip(("sae", "length"), aurocs, strict=True)
    ]
    found = transfer(rows)
    assert found.columns == (
        "data",
        "its label",
        "concept",
        "held here",
        "label [95 %]",
        "length [95 %]",
        "n+",
        "n\u2212",
    )
    assert [[str(cell) for cell in row[1:6]] for row in found.rows] == [
        ["fear", "afraid", "yes", "0.90 [0.80, 1.00]", "0.50 [0.40, 0.60]"],
        ["joy", "happy", "no", "0.70 [0.60, 0.80]", "0.60 [0.50, 0.70]"],
        ["median", "", "", "0.80", "0.55"],
        ["median of held ones", "", "", "0.90", "0.50"],
    ]
    assert len(transfer(rows[:2]).rows) == 1
