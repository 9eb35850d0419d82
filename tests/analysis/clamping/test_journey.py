"""Planted truth: labels that move their concept are validated, decoys are not, and a stopped run goes on."""

from dataclasses import replace

import pytest

import analysis.clamping.journey as journey
from analysis.clamping.journey import validate
from analysis.records import CONTROLS, clamp_counts

DECOYS = {"moodg": 20, "moodh": 21}
"""Concepts whose label is a latent that raises no word."""


@pytest.fixture
def world(concept_set, judge_texts, dictionary, word_model):
    return {
        "model": word_model,
        "concept_set": concept_set,
        "dictionary": dictionary,
        "judge_texts": judge_texts,
        "progress": False,
    }


@pytest.fixture
def labels(make_label):
    planted = [make_label(f"mood{letter}", [place]) for place, letter in enumerate("abcdef")]
    return planted + [make_label(concept, [latent]) for concept, latent in DECOYS.items()]


def test_planted_labels_are_validated_and_decoys_and_controls_are_not(world, labels, make_study):
    study = validate(make_study(labels), controls=3, seed=3, **world)
    status = {label.concept: label.status for label in study.labels()}
    assert status == {label.concept: "no effect" if label.concept in DECOYS else "validated" for label in labels}
    clamps = study.read("clamps")
    counts = clamp_counts(clamps)
    assert counts["control_tested"] == len(labels) * 9
    assert (
        counts["control_validated"] <= 0.05 * len(labels) * 9
    )  # a random direction of 160 coordinates does hold a little of a concept
    assert all(clamp.judge < 0.15 for clamp in clamps if clamp.arm in CONTROLS)
    rivals = [clamp for clamp in clamps if clamp.arm == "diff_means" and clamp.concept not in DECOYS]
    assert all(clamp.status == "validated" for clamp in rivals)
    ablated = [clamp for clamp in clamps if clamp.arm == "ablate"]
    assert {clamp.status for clamp in ablated} == {"no effect"}
    trials = study.read("trials")
    choosing = {trial.prompt_id for trial in trials if trial.phase == "dose"}
    reporting = {trial.prompt_id for trial in trials if trial.phase == "report"}
    assert not choosing & reporting
    assert len(choosing) == 12
    assert study.info.settings["validate"]["judge_accuracy"] > 0.9


def test_a_latent_that_wakes_every_concept_is_unspecific(
    concept_set, judge_texts, dictionary, flooded_model, make_label, make_study
):
    """Its rivals among the controls are other labels that flood as much."""
    labels = [make_label(f"mood{letter}", [40 + place]) for place, letter in enumerate("abcd")]
    world = {"model": flooded_model, "concept_set": concept_set, "dictionary": dictionary, "judge_texts": judge_texts}
    study = validate(make_study(labels), controls=3, progress=False, **world)
    assert "validated" not in {label.status for label in study.labels()}


def test_a_stopped_run_goes_on_and_loses_nothing(world, labels, make_study, monkeypatch):
    whole = validate(make_study(labels[:3], "whole"), controls=2, **world)
    study = make_study(labels[:3], "stopped")
    judge_arms, seen = journey.judge_arms, []

    def stopping(arms, *rest):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(arms[0].concept)
        return judge_arms(arms, *rest)

    monkeypatch.setattr(journey, "judge_arms", stopping)
    with pytest.raises(KeyboardInterrupt):
        validate(study, controls=2, **world)
    assert [label.status for label in study.labels()] == ["validated", "validated", "held"]
    seen.clear()
    validate(study, controls=2, **world)
    assert seen == [labels[2].concept]
    assert study.read("clamps") == whole.read("clamps")
    assert study.read("trials") == whole.read("trials")


def test_other_settings_begin_anew(world, labels, make_study):
    study = validate(make_study(labels[:2]), controls=2, **world)
    validate(study, concepts=[labels[0].concept], controls=3, **world)
    assert {clamp.concept for clamp in study.read("clamps")} == {labels[0].concept}
    assert [label.status for label in study.labels()] == ["validated", "held"]
    assert sum(clamp.arm == CONTROLS[0] for clamp in study.read("clamps")) == 3


def test_what_cannot_be_used_is_said(world, labels, make_study):
    study = make_study([labels[0], replace(labels[1], status="rejected")])
    with pytest.raises(ValueError, match="'moodb' is rejected"):
        validate(study, concepts=["moodb"], **world)
    with pytest.raises(ValueError, match="no label for 'moodc'"):
        validate(study, concepts=["moodc"], **world)
    with pytest.raises(ValueError, match="at least 1 control"):
        validate(study, controls=0, **world)
    with pytest.raises(ValueError, match="positive"):
        validate(study, doses=[0.0, 2.0], **world)
    with pytest.raises(ValueError, match="not the one that"):
        validate(study, **{**world, "concept_set": replace(world["concept_set"], hash="other")})
    with pytest.raises(ValueError, match="no judge exists for mooda: storyworld"):
        validate(study, **{**world, "judge_texts": None})
