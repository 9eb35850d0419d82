"""The Markdown report has the page's tables and words, and nothing in it is read as markup that was not meant so."""

import re

import pytest

from analysis.report.content import content
from analysis.report.markdown import PARTS, drawn, escaped, markdown
from analysis.report.report import render, write_report
from analysis.report.table import Estimate, Table
from analysis.study import Study
from tests.analysis.report.filled_study import HOSTILE, filled, info


@pytest.fixture
def study(tmp_path):
    return filled(tmp_path / "study")


def test_every_table_of_the_study_is_in_both_reports(study):
    tables, text, page = content(study).tables, markdown(content(study)), render(study)
    assert set(tables) == {name for names in PARTS.values() for name in names} & set(tables), (
        "a table without a section"
    )
    for table in tables.values():
        assert f"### {escaped(table.title)}\n" in text
        if table.note:
            assert escaped(table.note) in text
    for name in set(tables) - {
        "provenance",
        "clamps",
        "labels",
        "confounds",
    }:  # whose heading is the section's
        assert tables[name].title in page, name


def test_tables_of_other_journeys_are_shown_with_their_intervals(study):
    said = markdown(content(study))
    for row in (
        "| goemotions | fear | afraid | no | 0.77 [0.71, 0.82] | 40 | 900 |",
        "| emobank | valence | sae | 0.31 [0.20, 0.40] | 0.33 [0.22, 0.43] | 0.09 | 8 | 500 |",
        "| loss | each | calm | own | 0.02 [0.01, 0.03] | 0.00 | \u22120.01 | 0.01 | 0.019 | 52 | 60 |",
        "| labels | valence | 0.81 | 0.40 [0.20, 0.66] | 0.001 | 20 |",
        "| yes | yes | 0.62 | 0.30 | 0.66 | 0.40 | 0.71 [0.60, 0.80] | 0.25 | 300 |",
    ):
        assert row in said


def test_both_reports_say_the_method_and_the_rule(study):
    said = markdown(content(study))
    for part in (
        "What was chosen where",
        "Held: an AUROC of at least 0.80",
        "4. Is it this clamp that does it?",
        "Power: ",
    ):
        assert part in said
        assert part in render(study)


def test_a_row_is_a_row(study):
    rows = [line for line in markdown(content(study)).splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    heads = [at for at, row in enumerate(rows) if re.fullmatch(r"(\| -+:? )+\|", row)]
    for start, stop in zip(heads, [*heads[1:], len(rows) + 1], strict=True):
        assert len(set(bars[start - 1 : stop - 1])) == 1, rows[start - 1]


def test_hostile_strings_are_no_markup(study):
    assert "<script" not in markdown(content(study))
    said = escaped(f"{HOSTILE}|[a](javascript:x) `b` _c_ d_e *f*\n# g")
    assert "<" not in said
    assert "\n" not in said
    assert "](" not in said
    assert "\\_c\\_ d_e \\*f\\*" in said


def test_figures_are_flush_right():
    lines = drawn(Table("T", ("a", "b"), [("x", Estimate(0.5, 0.4, 0.6))], "N"))
    assert lines[3] == "| --- | ---: |"
    assert lines[4] == "| x | 0.50 [0.40, 0.60] |"


def test_an_empty_study_has_a_report(tmp_path):
    said = markdown(content(Study.create(tmp_path, info())))
    assert "Nothing was clamped yet" in said
    assert "0 concepts" in said


def test_the_ending_decides(study, tmp_path):
    write_report(study, tmp_path / "r.md")
    write_report(study, tmp_path / "r.html")
    assert (tmp_path / "r.md").read_text().startswith("# Emotion concepts")
    assert (tmp_path / "r.html").read_text().lstrip().startswith("<!doctype html>")
    with pytest.raises(ValueError, match=r"\.html\) or Markdown \(\.md\)"):
        write_report(study, tmp_path / "r.pdf")


def test_a_case_has_its_tables_and_says_where_its_figure_is(study):
    said = markdown(content(study))
    assert "## Case studies" in said
    assert "### Workshop\n" in said
    assert "in the page that `saes report --out FILE.html` writes" in said
    (study.folder / "figures").mkdir()
    (study.folder / "figures" / "workshop.svg").write_text("<svg/>")
    assert "figures/workshop.svg in the study" in markdown(content(study))
