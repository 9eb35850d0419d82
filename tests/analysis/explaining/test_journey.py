"""The explaining journey with scripted models: the truth scores high, a generic sentence and a random rater do not."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from analysis.explaining.asking import Asking, Budget
from analysis.explaining.cache import AnswerCache
from analysis.explaining.journey import CACHE, explain
from analysis.records import Explanation
from tests.analysis.explaining.conftest import MOODS, SILENT
from tests.analysis.explaining.test_asking import ScriptedLLM

LATENTS = list(range(len(MOODS)))


def write(messages: str) -> str:
    """What stands in brackets most often, as a careful explainer would say it."""
    moods = Counter(re.findall(r"<<(mood\w)\d>>", messages))
    return json.dumps({"explanation": f"fires at words of {moods.most_common(1)[0][0]}"})


def rate(messages: str) -> str:
    """By the description alone: whether its mood stands in the excerpt, or, where there are marks, in the marks."""
    description, *excerpts = [line for line in messages.splitlines() if line]
    mood = description.rsplit(" ", 1)[-1]
    marked = any("<<" in line for line in excerpts)
    return json.dumps({"ratings": [9 if (f"<<{mood}" if marked else mood) in line else 1 for line in excerpts]})


def guess(messages: str) -> str:
    """A rater that does not look at the description."""
    excerpts = [line for line in messages.splitlines() if re.match(r"\d+\. ", line)]
    rng = np.random.default_rng(sum(map(ord, messages)))
    return json.dumps({"ratings": rng.integers(0, 11, len(excerpts)).tolist()})


class Scripted(ScriptedLLM):
    """Writes and rates by functions of the question."""

    def __init__(self, write=write, rate=rate, name="scripted"):
        super().__init__(lambda text, number: write(text) if text.startswith("Strongest") else rate(text))
        self.name = name


@pytest.fixture
def explained(study, model, dictionary, concept_set):
    def run(llm, features=LATENTS, scorer=None, **settings):
        return explain(study, llm, features, scorer, model=model, dictionary=dictionary, concept_set=concept_set,
                       progress=False, **settings)  # fmt: skip

    return run


def test_a_right_explanation_scores_high_and_anothers_does_not(explained):
    rows = explained(Scripted()).read("explanations", Explanation)
    assert [row.latent for row in rows] == LATENTS
    for row in rows:
        assert row.text == f"fires at words of {MOODS[row.latent]}"
        assert (row.detection, row.detection_accuracy) == (1.0, 1.0)
        assert (row.fuzzing, row.fuzzing_accuracy) == (1.0, 1.0)
        assert (row.n_firing, row.n_silent, row.n_right, row.n_wrong) == (16, 16, 16, 16)
        assert row.detection_shuffled < 0.6
        assert row.fuzzing_shuffled == 0.5
        assert min(row.detection_gain_low, row.fuzzing_gain_low) > 0.3
        assert row.shuffled_latent in LATENTS
        assert row.shuffled_latent != row.latent
        assert (row.n_shown, row.n_asked, row.n_malformed, row.n_missing) == (22 if row.latent == 0 else 18, 17, 0, 0)
    assert {row.shuffled_latent for row in rows} == set(LATENTS), "each goes to one other"
    assert [row.detection_hard for row in rows] == [1.0, None, None, None], "only the first has a near one that fires"


def test_a_generic_sentence_is_seen_through(explained):
    """It scores well, for most texts have no mood; but so does it for every other latent."""

    def easily_pleased(messages):
        _, *excerpts = [line for line in messages.splitlines() if line]
        mark = "<<" if "<<" in messages else ""
        return json.dumps({"ratings": [9 if f"{mark}mood" in line else 1 for line in excerpts]})

    generic = Scripted(lambda messages: '{"explanation": "fires at emotional words"}', easily_pleased)
    for row in explained(generic).read("explanations", Explanation):
        assert row.detection > 0.6
        assert row.fuzzing == 1.0
        assert (row.detection_shuffled, row.fuzzing_shuffled) == (row.detection, row.fuzzing)
        assert (row.detection_gain_low, row.detection_gain_high) == (0.0, 0.0)
        assert (row.fuzzing_gain_low, row.fuzzing_gain_high) == (0.0, 0.0)


def test_a_random_rater_scores_chance(explained):
    rows = explained(Scripted(), scorer=Scripted(rate=guess, name="coin")).read("explanations", Explanation)
    assert {row.scorer for row in rows} == {"coin"}
    scores = [score for row in rows for score in (row.detection, row.fuzzing)]
    assert abs(np.mean(scores) - 0.5) < 0.15
    assert all(row.detection_low < 0.7 for row in rows)


def test_the_scorer_sees_none_of_what_the_explainer_saw(explained, concept_set):
    writer, scorer = Scripted(), Scripted(name="scorer")
    explained(writer, scorer=scorer)
    shown = {
        line for messages in writer.asked for line in messages[1][1].replace("<<", "").replace(">>", "").splitlines()
    }
    texts = {split: " ".join(text.text for one in [*(c.of(split) for c in concept_set.concepts.values()),
                             concept_set.neutral[split]] for text in one) for split in ("finding", "checking")}  # fmt: skip
    excerpts = [line[2:] for line in shown if line.startswith("- ")]
    assert excerpts
    assert all(line in texts["finding"] for line in excerpts)
    rated = [
        re.sub(r"^\d+\. |<<|>>", "", line) for messages in scorer.asked for line in messages[1][1].splitlines()[2:]
    ]
    assert all(line in texts["checking"] and line not in texts["finding"] for line in rated)


def test_answers_that_cannot_be_read_become_no_number(explained):
    mute = Scripted(rate=lambda messages: "I would rather not say.", name="mute")
    for row in explained(Scripted(), scorer=mute).read("explanations", Explanation):
        assert row.text
        assert (row.detection, row.fuzzing, row.detection_shuffled, row.detection_gain_low) == (None,) * 4
        assert (row.n_firing, row.n_silent, row.n_missing, row.n_malformed) == (0, 0, 64, 48)
    silent = Scripted(lambda messages: "no", name="silent")
    for row in explained(silent).read("explanations", Explanation):
        assert (row.text, row.detection, row.n_malformed, row.n_asked) == (None, None, 3, 3)


def test_one_latent_alone_has_nobody_to_be_compared_with(explained):
    (row,) = explained(Scripted(), [0]).read("explanations", Explanation)
    assert row.detection == 1.0
    assert (row.detection_shuffled, row.detection_gain_low, row.shuffled_latent) == (None, None, None)
    rows = explained(Scripted(), [1]).read("explanations", Explanation)
    assert [row.latent for row in rows] == [0, 1], "what was explained before stays"
    assert rows[1].shuffled_latent == 0, "and is who it is compared with"


@pytest.mark.parametrize("budget", [2, 30])
def test_a_spent_budget_leaves_whole_rows_and_the_rest_goes_on(explained, study, budget):
    llm = Scripted()
    found = explained(llm, max_requests=budget, parallel=1)
    about = found.info.settings["explain"]
    assert about["stopped"] == f"the budget of {budget} requests is spent"
    rows = found.read("explanations", Explanation)
    assert all(row.n_missing == 0 for row in rows)
    assert sorted([row.latent for row in rows] + about["left"]) == LATENTS
    assert len(llm.asked) == budget
    again = Scripted()
    found = explained(again)
    assert len(again.asked) + budget == 4 * 17, "nothing was asked twice"
    assert (found.info.settings["explain"]["left"], found.info.settings["explain"]["stopped"]) == ([], "")
    assert len(found.read("explanations", Explanation)) == 4


def test_ctrl_c_keeps_the_latents_that_are_done(explained, study):
    def impatient(messages):
        impatient.left -= 1
        if impatient.left < 0:
            raise KeyboardInterrupt
        return rate(messages)

    impatient.left = 40
    with pytest.raises(KeyboardInterrupt):
        explained(Scripted(rate=impatient), parallel=1)
    rows = study.read("explanations", Explanation)
    assert [row.latent for row in rows] == [0, 1]
    again = Scripted()
    whole = explained(again).read("explanations", Explanation)
    assert len(again.asked) == 4 * 17 - 4 - 40
    assert whole[:2] == rows


def test_all_latents_and_those_that_hardly_fire(explained):
    llm = Scripted(lambda messages: '{"explanation": "fires at something"}')
    rows = explained(llm, "all", held_out=4).read("explanations", Explanation)
    assert {0, 1, 2, 3, 4, 20} <= {row.latent for row in rows}
    assert SILENT not in {row.latent for row in rows}
    found = explained(llm, [0, SILENT], held_out=4)
    assert found.info.settings["explain"]["skipped"] == [SILENT]


def test_what_cannot_be_explained(explained, concept_set):
    with pytest.raises(ValueError, match="there is no latent 900: the SAE has 160"):
        explained(Scripted(), [0, 900])
    with pytest.raises(ValueError, match="counted from 0"):
        explained(Scripted(), [-1])
    with pytest.raises(ValueError, match="fires in 4 finding texts"):
        explained(Scripted(), [SILENT])
    with pytest.raises(ValueError, match="has no labels"):
        explained(Scripted(), "labels")
    with pytest.raises(ValueError, match="not 'joy'"):
        explained(Scripted(), "joy")
    with pytest.raises(ValueError, match="at least 4"):
        explained(Scripted(), held_out=3)


def test_an_asking_of_ones_own(explained, tmp_path, study):
    elsewhere = Asking(AnswerCache(tmp_path / "elsewhere.jsonl"), Budget(None))
    explained(Scripted(), [0], asking=elsewhere)
    assert (tmp_path / "elsewhere.jsonl").exists()
    assert not (study.folder / CACHE).exists()
