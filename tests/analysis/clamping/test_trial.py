"""Trials are paired with their baselines, and nothing depends on how rows are batched."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.clamping.finished import Finished
from analysis.clamping.judge import judge_for
from analysis.clamping.plan import Arm, continued, label_arm, split_prompts
from analysis.clamping.trial import TrialRoom
from saes.intervention import Intervention

HOOK = "blocks.0.hook_resid_post"


@pytest.fixture
def room(word_model, dictionary, judge_texts, concept_set):
    judge = judge_for([], concept_set, judge_texts)
    words = [concept_set.concepts[name].readout_words for name in judge.concepts]
    return TrialRoom(word_model, dictionary, HOOK, judge, words, new_tokens=12)


@pytest.fixture
def arms(make_label, dictionary):
    nothing = Arm("", "random_latent", "nothing", 2.0, (), 0.0, Intervention())
    return [
        nothing,
        label_arm(make_label("mooda", [0]), 2.0, dictionary),
        label_arm(make_label("moodb", [1]), 2.0, dictionary),
    ]


def test_an_arm_that_does_nothing_is_the_baseline_to_the_bit(room, concept_set, arms):
    _, prompts = split_prompts(concept_set)
    found = room.run(arms, prompts)
    assert found.judge.shape == found.readout.shape == (3, len(prompts), 8)
    assert not found.judge[0].any()
    assert not found.fluency[0].any()
    np.testing.assert_allclose(found.readout[0], 0, atol=1e-5)
    np.testing.assert_allclose(found.kl[0], 0, atol=1e-6)
    assert found.texts[0] == [room.baselines[prompt.id].text for prompt in prompts]
    assert (found.kl[1:] > 0.05).all()


def test_each_arm_moves_its_own_concept_most(room, concept_set, arms):
    found = room.run(arms, split_prompts(concept_set)[1])
    for effect in (found.judge, found.readout):
        assert effect[1].mean(axis=0).argmax() == 0
        assert effect[2].mean(axis=0).argmax() == 1
        assert (effect[1:, :, 2:].mean(axis=1) < 0).all(), "the others give way"


def test_continuations_count_as_one_prompt_by_their_mean(room, concept_set, arms):
    prompts = split_prompts(concept_set)[0]
    tries = continued(prompts, 3)
    assert [one.text for one in tries[::3]] == [one.text for one in prompts] == [one.text for one in tries[2::3]]
    assert tries[::3] == prompts
    assert len({one.id for one in tries}) == len({one.seed for one in tries}) == len(tries)
    each = room.run(arms, tries)
    assert each.texts[1][0] != each.texts[1][1], "other luck, another text"
    each.fluency[1, :3] = np.nan  # nothing was ever written from the first prompt
    each.fluency[1, 3] = np.nan  # and not in one of the second's three
    found = each.by_prompt(3)
    np.testing.assert_allclose(found.judge[2, 1], each.judge[2, 3:6].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.kl[:, 0], each.kl[:, :3].mean(axis=1), rtol=1e-5)
    assert np.isnan(found.fluency[1, 0])
    np.testing.assert_allclose(found.fluency[1, 1], each.fluency[1, 4:6].mean(), rtol=1e-5)
    assert found.texts[1] == each.texts[1][::3]


def test_batches_change_nothing(room, concept_set, arms):
    prompts, counted = split_prompts(concept_set)[0], []
    whole = room.run(arms, prompts)
    pieces = replace(room, rows=9, baselines={}).run(arms, prompts, progress=counted.append)
    assert whole.texts == pieces.texts
    np.testing.assert_allclose(whole.readout, pieces.readout, atol=1e-5)
    np.testing.assert_allclose(whole.kl, pieces.kl, atol=1e-5)
    assert counted == [8, 8, 8]
    np.testing.assert_allclose(room.output_kl(arms, prompts), whole.kl, atol=1e-5)


def test_what_is_finished_is_not_run_again(room, concept_set, arms, tmp_path, monkeypatch):
    prompts = split_prompts(concept_set)[0]
    first = room.run(arms[:2], prompts, "report", Finished(tmp_path / "battery", "one"))
    record = Finished(tmp_path / "battery", "one")
    assert record.get("dose", arms[0].key) is None
    batch, ran = room._batch, []
    monkeypatch.setattr(room, "_batch", lambda mine, at: ran.append(mine) or batch(mine, at))
    again = room.run(arms, prompts, "report", record)
    assert ran == [[arms[2]]]
    np.testing.assert_array_equal(again.judge[:2], first.judge)
    assert again.texts[:2] == first.texts
    assert Finished(tmp_path / "battery", "other").get("report", arms[0].key) is None


def test_a_prompt_that_does_not_fit_is_named(room, concept_set, arms):
    prompts = split_prompts(concept_set)[0]
    with pytest.raises(ValueError, match=rf"prompt {prompts[0].id} has 6 tokens"):
        replace(room, new_tokens=60).run(arms, prompts)
