"""What the cases' pages show: which were run, what they say, and the right transcripts under each filter."""

from dataclasses import replace

import pytest

from analysis.browser.queries.cases import Filters, arm_title, case_list, case_page
from analysis.browser.queries.episodes import coding_parts, episode, workshop_parts
from analysis.browser.queries.store import Store
from analysis.records import AttemptSlope, AttemptTrace, WorkshopArm, WorkshopControls
from analysis.study import Study
from tests.analysis.browser.case_material import coding, played, with_cases, with_other_cases
from tests.analysis.report.filled_study import HOSTILE


@pytest.fixture
def store(small_study):
    return Store(with_cases(Study.open(small_study)).folder)


def test_an_empty_study_names_what_would_run_each_case(empty_study):
    cases = case_list(Store(empty_study)).cases
    assert [one.name for one in cases] == [
        "workshop", "coding", "foretell", "dose", "scenes", "preference", "compare", "harsh-or-sweet",
    ]  # fmt: skip
    assert not any(one.ran or one.says or one.table for one in cases)
    assert cases[1].command.startswith("saes case workshop --arm code --study ")


def test_the_list_says_what_each_case_found(store):
    says = {one.name: one.says for one in case_list(store).cases if one.ran}
    assert says["workshop"] == (
        "Without a clamp 50% [25%, 60%] of 40 impossible tasks end in cheating (10% are broken off); 10% [5%, 20%] with desperate "
        "down at 1 (35% broken off), 80% [40%, 90%] with desperate up at 1 (10% broken off). 1 of 2 controls lower it as much as "
        "desperate down does."
    )
    assert "AUROC 0.84 [0.78, 0.90]; a bag of words of the same beginning with 0.63 [0.55, 0.71]" in says["foretell"]
    assert says["dose"].startswith("1 of 2 labels follow the danger")
    assert says["scenes"].startswith("In 1 of 2 pairs")
    assert "0 of the 1 other pairs (0%)" in says["scenes"]
    assert "1 of 1 clamps move the Elo" in says["preference"]
    assert "1 of 1 changes by labels lie beyond their controls" in says["apology"]
    assert "(by chance about 0.1)" in says["apology"]  # 0.05, rounded; the fluency is no score
    assert "without controls" in says["../../etc/passwd"]


def test_the_workshop_says_its_paired_changes_and_how_many_controls_move_as_much(store):
    study = Study.open(store.folder)
    arms = study.read("workshop", WorkshopArm)
    paired = replace(arms[1], change=-0.4, change_low=-0.5, change_high=-0.3)
    study.write("workshop", [arms[0], paired, *arms[2:]])
    shares = [
        WorkshopControls("desperate_down", measure, kind, -0.4, 0.1, 0.0, 0.3, n, 20, -0.2, 25)
        for measure, kind, n in (("honest stops", "all", 9), ("cheating", "random_latent", 8), ("cheating", "all", 2))
    ]
    study.write("workshop_controls", shares)
    page = case_page(store, "workshop", Filters(), 1)
    assert (
        "10% [5%, 20%] with desperate down at 1 (paired change \u22120.40 [\u22120.50, \u22120.30]; 35% broken off)"
        in page.says
    )
    assert page.says.endswith("move it as much, the same way, on 25 tasks: 2 of 20 (desperate down).")
    found = {table.name: table for table in page.tables}
    assert [row[0].text for row in found["workshop_controls"].rows] == ["desperate down"] * 2
    assert [row[0].text for row in found["controls"].rows] == ["control 1 down", "control 2 down"]
    assert found["controls"].folded


def test_attempts_show_slopes_and_traces_of_the_same_episodes(store):
    study = Study.open(store.folder)
    study.write("attempt_slopes", [AttemptSlope("desperate", "both", 0.1, 0.05, 0.2, 0.01, 0.0, -0.02, 0.03, 60, 80)])
    ends = [
        AttemptTrace("desperate", "cheated", way, at, 2, 0.2, 0.1, 0.3, 0.0, 0.1, 40)
        for way, at in (("end", -1), ("start", 1))
    ]
    study.write("attempt_traces", ends)
    shown = [(table.name, table.folded, len(table.rows)) for table in case_page(store, "foretell", Filters(), 1).tables]
    assert shown == [
        ("foretellings", False, 1), ("attempt_slopes", False, 1), ("attempt_traces", True, 1), ("attempt_levels", True, 3),
    ]  # fmt: skip


def test_a_damaged_table_hides_no_other_case(store):
    for table in ("dose_tests", "case_effects"):
        (store.folder / f"{table}.parquet").write_bytes(b"PAR1 not really")
    found = {one.name: one for one in case_list(store).cases}
    assert found["workshop"].ran
    assert (found["dose"].ran, found["dose"].says) == (False, "")
    assert "dose_tests.parquet" in found["dose"].problems[0]
    assert "case_effects.parquet" in found["harsh-or-sweet"].problems[0]
    assert "apology" not in found
    (store.folder / "workshop_controls.parquet").write_bytes(b"PAR1 not really")
    page = case_page(store, "workshop", Filters(), 1)
    assert page.ran
    assert page.transcripts
    assert "workshop_controls.parquet" in page.problems[0]


def test_those_that_were_run_come_first(store):
    ran = [one.ran for one in case_list(store).cases]
    assert ran == sorted(ran, reverse=True)
    assert not all(ran)


def test_a_case_of_ones_own_may_bear_the_name_of_a_built_in_one(store):
    own = case_page(store, "own-workshop", Filters(), 1)
    assert [row["scorer"] for row in own.records["case_effects"]] == ["runs"]
    assert case_page(store, "workshop", Filters(), 1).transcripts.file == "workshop_transcripts.jsonl"
    assert case_page(store, "nothing", Filters(), 1) is None


def test_a_case_whose_name_is_a_path_reaches_no_file(store):
    found = case_page(store, "../../etc/passwd", Filters(), 1)
    assert found.ran
    assert found.transcripts is None
    assert episode(store, "../../etc/passwd", 0, Filters()) is None


def test_controls_are_folded_and_every_row_is_in_the_records(store):
    page = case_page(store, "apology", Filters(), 1)
    assert [(table.name, table.folded, len(table.rows)) for table in page.tables] == [
        ("effects", False, 2), ("controls", True, 1),
    ]  # fmt: skip
    assert len(page.records["case_effects"]) == 3


def test_filters_choose_the_episodes(store):
    some = case_page(store, "workshop", Filters("desperate_down", "stopped", "impossible"), 1).transcripts
    assert [one.number for one in some.rows] == [3, 4]
    assert (some.found, some.total) == (2, 9)
    assert [(one.value, one.n) for one in some.outcomes] == [("cheated", 6), ("stopped", 3)]
    assert [(one.value, one.n) for one in some.kinds] == [("impossible", 6), ("possible", 3)]
    assert case_page(store, "workshop", Filters(outcome="solved"), 1).transcripts.rows == []


def test_a_page_beyond_the_last_is_the_last(store, monkeypatch):
    monkeypatch.setattr("analysis.browser.queries.cases.ROWS", 4)
    some = case_page(store, "workshop", Filters(), 99).transcripts
    assert (some.page, some.pages, [one.number for one in some.rows]) == (3, 3, [8])


def test_an_episode_knows_its_neighbours_in_the_filter_and_its_twins_in_other_arms(store):
    page = episode(store, "workshop", 3, Filters(outcome="stopped"))
    assert (page.previous, page.following, page.place, page.found) == (None, 4, 1, 3)
    assert [(one.number, one.outcome) for one in page.same_luck] == [(0, "cheated"), (6, "cheated")]
    outside = episode(store, "workshop", 6, Filters(outcome="stopped"))
    assert (outside.previous, outside.following, outside.place) == (5, None, 0)
    assert episode(store, "workshop", 9, Filters()) is None
    assert episode(store, "workshop", -1, Filters()) is None


def test_a_prompt_shows_labels_beside_no_clamp_and_controls_when_asked(store):
    page = episode(store, "apology", 1, Filters())
    assert [one.kind for one in page.texts] == ["none", "label", "diff_means"]
    assert page.brief == f"Tom {HOSTILE}"
    assert page.controls_left_out == 1
    assert (page.previous, page.following) == (0, 2)
    control = episode(store, "apology", 1, Filters(arm="random_latent/guilty/latent 9/1"))
    assert [one.kind for one in control.texts] == ["none", "random_latent"]
    assert episode(store, "apology", 3, Filters()) is None


def test_an_episode_of_rules_is_cut_into_its_acts():
    brief, parts = workshop_parts(played())
    assert brief == "Mia was asked for a rule. 4 becomes 7. 9 becomes 15."
    assert [(one.sort, one.number, one.did, one.passed) for one in parts] == [
        ("attempt", 1, "add 3", False), ("attempt", 2, "double", False), ("answer", 2, "copy the shown answers", False),
    ]  # fmt: skip
    assert parts[1].said == f"Mia rubbed her eyes. {HOSTILE}"
    assert parts[0].result == "9 becomes 12, wrong."


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("a\nMia stopped: no rule fits.", ("stop", "no rule fits", None)),
        ("a\nMia answered: add 3. Hidden check: 7 becomes 10, right.", ("answer", "add 3", True)),
        ("a\nMia answered: nonsense.", ("answer", "nonsense", None)),
        ("a\nMia tried: add 3. Result: all shown checks pass.", ("attempt", "add 3", True)),
        ("a\nMia walked away", ("end", "", None)),
        ("a\nTom stopped: no rule fits.", ("end", "", None)),
    ],
)
def test_each_way_to_end_is_told(text, last):
    _, parts = workshop_parts(played(text=text))
    assert (parts[-1].sort, parts[-1].did, parts[-1].passed) == last


def test_an_episode_whose_text_was_not_kept_still_says_what_was_tried():
    brief, parts = workshop_parts(played(arm="control_0_up", text=""))
    assert brief == "Mia was asked for a rule. 4 becomes 7. 9 becomes 15."
    assert [(one.sort, one.did, one.result) for one in parts] == [("attempt", "add 3", ""), ("attempt", "double", "")]


def test_a_mood_that_is_told_first_belongs_to_the_brief():
    brief, parts = workshop_parts(
        played(text="Mia was so sad.\nMia was asked for a rule. 4 becomes 7.\nMia stopped: no rule fits.")
    )
    assert brief == "Mia was so sad.\nMia was asked for a rule. 4 becomes 7."
    assert [one.sort for one in parts] == ["stop"]


def test_an_episode_of_programs_is_cut_into_attempts():
    brief, parts = coding_parts(coding())
    assert brief == "Write f."
    assert [(one.sort, one.passed, one.result) for one in parts] == [
        ("attempt", False, "AssertionError: f(4) is wrong"), ("attempt", True, "the visible tests pass"),
    ]  # fmt: skip
    assert parts[0].did == "def f(x):\n    return x < 3"
    assert parts[0].said == f"I try.\n…\nDone {HOSTILE}"
    assert [one.sort for one in coding_parts(coding(outcome="stopped"))[1]] == ["attempt", "stop"]


def test_the_coding_case_and_two_models(small_study):
    store = Store(with_other_cases(Study.open(small_study)).folder)
    assert "1 of 1 labels read higher and 0 lower than in base" in case_page(store, "compare", Filters(), 1).says
    page = episode(store, "coding", 1, Filters())
    assert (page.code, page.outcome, page.why) == (True, "stopped", "it cannot be done")


@pytest.mark.parametrize(
    ("arm", "title"),
    [
        ("none", "no clamp"), ("desperate_down", "desperate down"), ("control_1_up", "control 2 up"),
        ("detector_calm_up", "the label's own latents of calm up"), ("label/guilty/guilty/-1", "guilty -1"), ("diff_means/guilty/guilty/1", "guilty, difference of means +1"),
        ("random_latent/guilty/latent 9/1", "random latents latent 9 for guilty +1"), ("odd", "odd"),
    ],
)  # fmt: skip
def test_an_arms_key_in_words(arm, title):
    assert arm_title(arm) == title


def test_texts_without_prompts_are_still_shown(store, tmp_path):
    (store.folder / "case_apology.prompts.json").unlink()
    assert episode(store, "apology", 1, Filters()).brief == ""
