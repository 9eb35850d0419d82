"""Trials are paired with their baselines, and nothing depends on how rows are batched."""

from dataclasses import replace

import pytest

from analysis.clamping.judge import judge_from_file
from analysis.clamping.plan import Arm, label_arm, split_prompts
from analysis.clamping.trial import TrialRoom
from saes.intervention import Intervention

HOOK = "blocks.0.hook_resid_post"
WORDS = ["mooda0", "mooda1", "mooda2"]


@pytest.fixture
def room(word_model, dictionary, judge_texts):
    return TrialRoom(word_model, dictionary, HOOK, judge_from_file(judge_texts), new_tokens=12)


def arms(make_label, dictionary):
    nothing = Arm("mooda", "random_latent", "nothing", 2.0, (), 0.0, Intervention())
    return [
        nothing,
        label_arm(make_label("mooda", [0]), 2.0, dictionary),
        label_arm(make_label("mooda", [1]), 2.0, dictionary),
    ]


def test_an_arm_that_does_nothing_is_the_baseline_to_the_bit(room, concept_set, make_label, dictionary):
    prompts = split_prompts(concept_set, "mooda")[1]
    trials = room.run(arms(make_label, dictionary), prompts, WORDS, "report")
    still = [trial for trial in trials if trial.arm_id == "nothing"]
    assert len(still) == len(prompts)
    for trial in still:
        assert (trial.judge, trial.fluency) == (0.0, 0.0)
        assert trial.readout == pytest.approx(0.0, abs=1e-6)
        assert trial.text == trial.baseline
    moved = [trial for trial in trials if trial.arm == "label"][: len(prompts)]
    assert all(trial.readout > 0.5 for trial in moved)
    assert all(trial.text != trial.baseline for trial in moved)


def test_batches_change_nothing(room, concept_set, make_label, dictionary):
    prompts = split_prompts(concept_set, "mooda")[0]
    mine, counted = arms(make_label, dictionary), []
    whole = room.run(mine, prompts, WORDS, "dose")
    pieces = replace(room, rows=5, baselines={}).run(mine, prompts, WORDS, "dose", counted.append)
    assert [(one.arm_id, one.prompt_id, one.text) for one in whole] == [
        (one.arm_id, one.prompt_id, one.text) for one in pieces
    ]
    assert [one.readout for one in whole] == pytest.approx([one.readout for one in pieces], abs=1e-5)
    assert sum(counted) == len(whole)
    assert max(counted) <= 5


def test_a_prompt_that_does_not_fit_is_named(room, concept_set, make_label, dictionary):
    prompts = split_prompts(concept_set, "mooda")[0]
    with pytest.raises(ValueError, match=rf"prompt {prompts[0].id} has 6 tokens"):
        replace(room, new_tokens=60).run(arms(make_label, dictionary), prompts, WORDS, "dose")
