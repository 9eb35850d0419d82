"""The report shows every status, escapes what it is given, and says so where a table is empty."""

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from analysis.records import (
    STATUSES,
    Explanation,
    WorkshopArm,
)
from analysis.report.content import content, control_summaries, headline
from analysis.report.report import render, write_report
from analysis.report.svg import dose_plot, heat_map
from analysis.report.table import plain
from analysis.report.tables import workshop
from analysis.study import Study
from tests.analysis.report.filled_study import CONCEPTS, HOSTILE, filled, info, label


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def study(tmp_path) -> Study:
    return filled(tmp_path / "study")


def test_hostile_strings_are_shown_and_not_obeyed(study):
    page = Page(render(study))
    assert "script" not in page.tags
    assert "b" not in [tag for tag in page.tags if tag == "b"][8:] or "<b>tree</b>" in "".join(page.words)
    assert HOSTILE in "".join(page.words)
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_nothing_comes_from_outside(study):
    text = render(study)
    page = Page(text)
    addresses = [value for name, value in page.attributes if name in ("href", "src")]
    assert addresses
    assert all(value.startswith("#") for value in addresses)
    assert not {"link", "img", "iframe", "script"} & set(page.tags)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_every_link_to_a_card_arrives_where_there_is_one(study):
    page = Page(render(study))
    ids = {value for name, value in page.attributes if name == "id"}
    assert {f"latent-{card.latent}" for card in study.read("cards")} <= ids
    links = {value for name, value in page.attributes if name == "href"}
    assert {link for link in links if link.startswith("#latent-")}
    assert {link.removeprefix("#") for link in links} <= ids


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_can_be_drawn_and_named(tmp_path, status):
    study = Study.create(tmp_path, info())
    study.write("labels", [label("calm", status, [3])])
    words = " ".join(Page(render(study)).words)
    assert f" {status}" in words


def test_a_rejected_label_says_why(study):
    row = next(row for row in content(study).rows if row.label.concept == "afraid")
    assert "0.70 is below 0.80" in row.why
    assert "q = 0.200" in row.why


def test_an_empty_study_renders(tmp_path):
    text = render(Study.create(tmp_path, info()))
    assert "no labels yet" in text
    assert "Nothing was clamped" in text


def test_a_study_without_clamps_renders(study):
    for table in ("trials", "clamps", "curves", "effects", "necessity", "workshop"):
        (study.folder / f"{table}.parquet").unlink()
    text = render(study)
    assert "Nothing was clamped" in text
    assert "No case study was run" in text


def test_missing_numbers_become_dashes(study):
    study.write("workshop", [WorkshopArm("none", 0.0, *[float("nan")] * 5, 0, *[float("nan")] * 3, 0, 0)])
    assert "nan" not in render(study).lower().replace("finance", "").replace("provenance", "")


def test_the_dose_curve_has_its_controls_and_its_rival(study):
    curve = next(one for one in content(study).curves if one.concept == "calm")
    assert [point.dose for point in curve.points] == [-4.0, 1.0, 2.0, 4.0]
    assert curve.chosen.judge == 0.4
    assert curve.rival.judge == 0.35
    drawn = dose_plot(curve)
    assert drawn.count("<polygon") == 2, "a band on either side of no dose"
    assert drawn.count("own-dot") == 4


def test_controls_are_summed_up(study):
    one = next(one for one in control_summaries(study.read("clamps")) if one.concept == "calm")
    assert (one.n, one.middle, one.strongest.arm_id, one.validated) == (3, 0.01, "direction 2", [])


def test_the_matrix_is_drawn_with_every_label_on_every_concept(study):
    found = content(study).matrix
    assert len(found.labels) == 5
    assert set(found.concepts) == set(CONCEPTS)
    assert found.effects[found.labels.index("calm")][found.concepts.index("calm")] == 0.4
    assert heat_map(found).count("<rect") == 5 * len(CONCEPTS)
    assert heat_map(found).count("own-cell") == 5


def test_the_page_says_the_rule_the_power_and_what_the_judge_could_not_tell(study):
    rule = {
        "least_judge_auroc": 0.6,
        "least_effect": 0.05,
        "most_fluency_cost": 0.7,
        "most_q": 0.05,
        "most_foreign": 0.5,
    }
    study.update_info(settings={"validate": {"rule": rule}})
    labels = study.read("labels")
    study.write("labels", [replace(one, status="held") if one.concept == "calm" else one for one in labels])
    clamps = study.read("clamps")
    study.write("clamps", [replace(one, status="no judge") if one.concept == "calm" else one for one in clamps])
    words = " ".join(" ".join(Page(render(study)).words).split())
    assert "a majority of those claims for concepts of other families" in words, "the rule's own docstring"
    assert "least_effect 0.05" in words
    assert "0.17 to 0.17 of the way with 80 % power" in words
    assert "the judge of calm is hardly better than chance" in words
    assert "\u22124.0 to +3.3" in words


def test_both_claims_about_a_concept_stand_beside_each_other(study):
    shown = content(study)
    table = shown.tables["claims"]
    assert [row[0] for row in table.rows] == ["angry", "calm", "desperate", "proud", "sad"]
    sad = [plain(cell) for cell in table.rows[-1]]
    assert [sad[place] for place in (1, 3, 5, 7)] == ["no effect", "validated", "no effect", "no effect"]
    assert sad[4] == "+0.60 [+0.50, +0.70]"
    beside = [[plain(cell) for cell in row] for row in shown.tables["head_to_head"].rows]
    assert beside[0] == ["label", "0.40 [0.40, 0.40]", "0.35 [0.35, 0.35]", "+0.05 [+0.05, +0.05]", "5", "2", "0", "5"]
    assert beside[1] == ["latents that write it", "0.60", "0.33", "+0.27", "2", "1", "0", "2"]
    (curve,) = [one for one in shown.curves if one.concept == "sad"]
    assert [point.dose for point in curve.written_points] == [1.0, 2.0]
    assert [point.dose for point in curve.points] == [-4.0, 1.0, 2.0, 4.0]
    assert 'class="writes-dot"' in dose_plot(curve)
    beside = [(one.concept, one.claim, one.n) for one in control_summaries(study.read("clamps"))]
    assert beside[-2:] == [("sad", "label", 3), ("sad", "written", 3)]


def test_the_headline_counts_failures_and_never_a_rival_as_a_control(study):
    found = headline(study.read("labels"), study.read("baselines"), study.read("clamps"))
    assert found["labels"]["concepts"] == len(CONCEPTS)
    assert found["labels"]["held_single"] == 3
    assert found["clamps"] == {
        "concepts": 5,
        "concepts_validated": 3,
        "written_tested": 2,
        "written_validated": 1,
        "diff_means_written_tested": 2,
        "diff_means_written_validated": 0,
        "tested": 5,
        "validated": 2,
        "control_tested": 21,
        "control_validated": 0,
        "pairs_tested": 15,
        "pairs_validated": 0,
        "concepts_with_a_control": 0,
        "diff_means_tested": 5,
        "diff_means_validated": 0,
    }


def test_the_old_page_survives_a_failed_write(study, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report(study, path)
    before = path.read_text()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(study, path, {"seconds": {"train": 1.0}})
    assert path.read_text() == before
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []


def test_extra_facts_are_shown(study):
    quality = {
        "explained_variance": 0.8765,
        "l0": 32.0,
        "dead": 0.01,
        "ce_recovered": 0.97,
        "tokens_trained": 2_000_000,
        "rows": 32768,
    }
    text = render(study, {"quality": quality, "seconds": {"train": 120.0}})
    assert "0.876" in text
    assert "2,000,000" in text


def test_an_explanation_stands_on_its_card_with_its_scores(study):
    numbers = {"float": 0.25, "float | None": 0.75, "int": 13, "int | None": 5}
    row = {
        field.name: numbers.get(str(getattr(field.type, "__name__", field.type)), HOSTILE)
        for field in fields(Explanation)
    }
    study.write(
        "explanations",
        [Explanation(**{**row, "latent": study.read("cards")[0].latent, "detection": 0.875, "fuzzing": None})],
    )
    page = Page(render(study))
    assert "script" not in page.tags
    words = "".join(page.words)
    assert f"{HOSTILE} ({HOSTILE})" in words
    assert "0.88 [0.75, 0.75], hard 0.75, another latent's sentence 0.75, n = 13 + 13" in words
    assert "\u2013, another latent's 0.75" in words, "what was not scored is no number"


def test_lines_differ_by_more_than_colour(study):
    marks = content(study).marks
    assert {mark.status for mark in marks} >= {"validated", "rejected"}
    assert replace(marks[0], status="held") != marks[0]


def test_cases_are_shown_with_figure_and_tables(study):
    text = render(study)
    assert "Workshop: endings against the dose" in text
    assert 'id="case-workshop"' in text
    assert text.count('<svg role="img" aria-label="Workshop') == 1
    drawn = text[text.index('<svg role="img" aria-label="Workshop') :]
    assert "style=" not in drawn[: drawn.index("</svg>")]
    assert "var(--ink)" in drawn


def test_many_controls_are_one_line():
    arms = [
        WorkshopArm(f"control_{number}_up", 1.0, number / 100, 0.0, 1.0, 0.1, 0.2, 90, 0.3, 0.4, 0.5, 100, 50)
        for number in range(21)
    ]
    (line,) = workshop(arms).rows
    assert line[0] == "21 controls, 5 to 95 %"
    assert line[2] == "1% to 19%"
    assert len(workshop(arms[:2]).rows) == 2


def test_controls_say_of_which_kind_they_are():
    arm = WorkshopArm("control_0_down", -1.0, 0.1, 0.0, 0.2, 0.1, 0.2, 90, 0.3, float("nan"), 0.5, 100, 0)
    kinds = ("random_latent", "random_direction", "")
    assert [row[0] for row in workshop([replace(arm, kind=kind) for kind in kinds]).rows] == [
        "control 0 down (random latents)", "control 0 down (random direction)", "control 0 down",
    ]  # fmt: skip


def test_the_page_says_what_the_workshop_pushes(study):
    assert "desperate along its label&#39;s own latents" in render(study).replace("'", "&#39;")
    arms = study.read("workshop", WorkshopArm)
    study.write("workshop", [replace(one, kind="written", latents=[3, 7]) for one in arms])
    text = render(study)
    assert (
        "calm along latents that write it (its difference of means, taken apart), not those of its label (3, 7)."
        in text
    )
    assert "The clamped features" not in text


def test_changes_stand_where_they_were_measured():
    arm = WorkshopArm("without_calm", 0.0, 0.1, 0.0, 0.2, 0.1, 0.2, 90, 0.3, float("nan"), 0.5, 100, 0)
    assert "change [95 %]" not in workshop([arm]).columns

    found = workshop([
        replace(
            arm, change=-0.2, change_low=-0.3, change_high=-0.1, honest_change=0.1, honest_change_low=0.0, honest_change_high=0.2
        )
    ])  # fmt: skip
    assert found.columns[3:5] == ("change [95 %]", "honest stops' change [95 %]")
    assert [str(cell) for cell in found.rows[0][:5]][::3] == ["ablated: calm", "\u22120.20 [\u22120.30, \u22120.10]"]
