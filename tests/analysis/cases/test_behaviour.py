"""Planted effects are found and decoys are not; a stopped case goes on; wrong files are named."""

import json
import math

import pytest
import yaml

from analysis.cases import behaviour as module
from analysis.cases.behaviour import BehaviourCase, behaviour, case_from, harsh_or_sweet, read_case
from analysis.cases.scorers import rating, scorer_of
from analysis.planted.word_model import FILLER, WORDS
from analysis.study import Study

PROMPTS = tuple(" ".join(FILLER[start : start + 4]) for start in range(0, 32, 2))
CASE = BehaviourCase(
    "raise",
    PROMPTS,
    {"mood": {"words": WORDS["mooda"]}, "ends": {"regex": "thing1$"}},
    ("mooda", "moodg"),
    (1.0,),
    20,
    tokens=12,
)


@pytest.fixture
def run(make_study, make_label, word_model, dictionary, concept_set, tmp_path):
    labels = [make_label("mooda", [0]), make_label("moodg", [20])]  # latent 20 raises no word

    def go(case=CASE, name="study", fresh=True):
        study = make_study(labels, name) if fresh else Study.open(tmp_path / name)
        return study, behaviour(study, case, word_model, progress=False, dictionary=dictionary, concept_set=concept_set)

    return go


def test_a_planted_effect_is_found_and_a_decoy_is_not(run):
    study, rows = run()
    found = {(row.scorer, row.concept): row for row in rows if row.arm == "label"}
    planted, decoy = found["mood", "mooda"], found["mood", "moodg"]
    assert planted.low > 0
    assert planted.p == pytest.approx(1 / 41)
    assert planted.effect > 5 * abs(decoy.effect)
    assert decoy.p > 0.05
    assert found["fluency", "mooda"].effect > 0
    assert {row.n_prompts for row in rows} == {len(PROMPTS)}
    assert (
        len([row for row in rows if row.arm.startswith("random") and (row.concept, row.scorer) == ("mooda", "mood")])
        == 40
    )
    rival = next(row for row in rows if (row.arm, row.concept, row.scorer) == ("diff_means", "mooda", "mood"))
    assert rival.low > 0
    assert study.read("case_effects") == rows
    asked = json.loads((study.folder / f"case_{CASE.name}.prompts.json").read_text())
    assert tuple(asked) == CASE.prompts


def test_down_is_the_other_way(run):
    _, rows = run(BehaviourCase("down", PROMPTS, CASE.scorers, ("mooda",), (-1.0, 1.0), 0, rollouts=3, tokens=20))
    up, down = (
        next(row for row in rows if (row.arm, row.scorer, row.dose) == ("label", "mood", dose)) for dose in (1.0, -1.0)
    )
    assert down.effect < 0 < up.effect
    assert up.p is None


def test_a_stopped_case_goes_on_and_another_one_begins_anew(run, monkeypatch):
    _, whole = run(name="whole")
    written, texts = module._written, []

    def counted(*arguments):
        found = written(*arguments)
        texts.extend(found)
        if len(texts) > 300:  # before this batch is put away
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(module, "ROWS", 100)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_written", counted)
        with pytest.raises(KeyboardInterrupt):
            run(name="stopped")
    before = len(texts)
    monkeypatch.setattr(module, "_written", lambda *arguments: texts.extend(found := written(*arguments)) or found)
    study, rows = run(name="stopped", fresh=False)
    assert [(row.arm_id, row.scorer, row.effect) for row in rows] == [
        (row.arm_id, row.scorer, row.effect) for row in whole
    ]
    assert len(texts) - before == len(PROMPTS) * 85 - 300, "what was written is not written again"
    path = study.folder / "case_raise.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + len(PROMPTS) * 85
    path.write_text("\n".join(lines[:50]) + '\n{"arm": "cut o')
    before = len(texts)
    assert run(name="stopped", fresh=False)[1] == rows
    assert len(texts) - before == len(PROMPTS) * 85 - 49, "what was broken off is written again, the rest is not"


def test_texts_of_a_label_that_was_chosen_anew_are_not_taken_over(run, make_label):
    """The concept's name, the SAE and the case are the same, and still the old texts say nothing of the new latents."""
    case = BehaviourCase("anew", PROMPTS, {"mood": {"words": WORDS["mooda"]}}, ("mooda",), (1.0,), 0, tokens=12)
    study, rows = run(case)
    assert next(row for row in rows if row.arm == "label").low > 0
    study.write("labels", [make_label("mooda", [20])])  # which raises no word
    _, rows = run(case, fresh=False)
    own = next(row for row in rows if row.arm == "label")
    assert own.low <= 0 <= own.high


def test_one_prompt_has_no_interval(run):
    _, rows = run(BehaviourCase("one", PROMPTS[:1], CASE.scorers, ("mooda",), (1.0,), 0, rollouts=2, tokens=8))
    assert rows
    assert all(math.isnan(row.low) and math.isnan(row.high) and not math.isnan(row.effect) for row in rows)


def test_the_rows_of_other_cases_stay(run):
    study, first = run()
    small = BehaviourCase("small", PROMPTS[:3], {"mood": {"words": WORDS["mooda"]}}, ("mooda",), (1.0,), 0, tokens=4)
    again, second = run(small, fresh=False)
    assert again.folder == study.folder
    assert study.read("case_effects") == [*first, *second]


@pytest.mark.parametrize(
    ("held", "texts", "scores"),
    [
        ({"words": ["Sorry", "mercy"]}, ["Sorry, so sorry!", "no", ""], [200 / 3, 0.0, math.nan]),
        ({"regex": "(?i)run"}, ["They RUN.", "walk"], [1.0, 0.0]),
        ({"python": "operator:eq"}, ["p", "q"], [1.0, 0.0]),
    ],
)
def test_scorers(held, texts, scores):
    found = scorer_of("scorers.x", held)(["p"] * len(texts), texts)
    assert found == pytest.approx(scores, nan_ok=True)


def test_a_function_that_gives_no_number_is_named():
    with pytest.raises(ValueError, match=r"scorers.x.python: operator:add gave no number for 'b'"):
        scorer_of("scorers.x", {"python": "operator:add"})(["a"], ["b"])
    with pytest.raises(ValueError, match=r"scorers.x.python: operator:truediv gave no number"):
        scorer_of("scorers.x", {"python": "operator:truediv"})(["a"], ["b"])


def test_only_a_number_is_a_rating():
    assert [rating(one) for one in ("7", " 10. ", "3/10")] == [7.0, 10.0, 3.0]
    assert all(math.isnan(rating(one)) for one in ("seven", "11", "-1", "7 because", ""))


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"words": []}, "x.words must be a list of words"),
        ({"regex": "("}, "is no regular expression"),
        ({"python": "nothing"}, "is 'module:function'"),
        ({"python": "json:no_such"}, "cannot be found"),
        ({"llm": "folder"}, "needs a question"),
        ({"word": ["a"]}, "a scorer is one of words, regex, python, llm"),
        ({"words": ["a"], "weight": 2}, "has no field 'weight'"),
        ("words", "a scorer is one of"),
    ],
)
def test_wrong_scorers_are_named(held, said):
    with pytest.raises(ValueError, match=said):
        scorer_of("x", held)


GOOD = {"name": "a", "prompts": ["p"], "scorers": {"s": {"words": ["w"]}}, "concepts": ["afraid"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": ["p"]}, "there is no field 'prompt'; did you mean prompts"),
        ({"concepts": []}, "'concepts' is needed"),
        ({"name": "../up"}, "name must be of letters, digits, dots and hyphens"),
        ({"name": "workshop"}, "none of workshop"),
        ({"doses": ["high"]}, "doses must be a list"),
        ({"tokens": 0}, "tokens must be a whole number, 1 or more, got 0"),
        ({"scorers": ["words"]}, "scorers must map names to scorers"),
        ({"name": "harsh-or-sweet"}, "none of workshop"),
        ({"scorers": {"fluency": {"words": ["w"]}}}, "a score of the name fluency already"),
        ({"rollouts": True}, "rollouts must be a whole number"),
        ({"temperature": "hot"}, "temperature must be a number from 0 to 10, got 'hot'"),
        ({"top_p": 2}, "top_p must be a number from 0 to 1"),
        ({"chat": "no"}, "chat must be true or false"),
    ],
)
def test_wrong_cases_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        case_from({**GOOD, **change}, "my.yaml")


def test_a_case_is_read_from_its_file(tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**GOOD, "doses": [-1, 2], "stop": "."}))
    case = read_case(tmp_path / "a.yaml")
    assert (case.prompts, case.doses, case.stop, case.concepts) == (("p",), (-1, 2), (".",), ("afraid",))
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(ValueError, match="must hold fields"):
        read_case(tmp_path / "b.yaml")


def test_flawed_works_are_shown_in_both_forms():
    for form in ("story", "chat"):
        case = harsh_or_sweet(form)
        assert len(case.prompts) >= 20
        assert not any("{Name}" in prompt for prompt in case.prompts)
        assert set(case.scorers) == {"praise", "criticism", "harsh"}
    assert all(prompt.endswith('"') for prompt in harsh_or_sweet().prompts)
