"""A shift that was planted between two models is found, and nothing else is."""

import numpy as np
import pytest
import torch

from analysis.cases.compare import compare, paired
from analysis.planted.word_model import WordModel


@pytest.fixture
def tuned():
    """The word model with one coordinate turned up everywhere."""
    model = WordModel()
    model.name = "tuned"
    model.embedding = model.embedding.clone()
    model.embedding[:, 2] += 0.5
    return model


def test_the_planted_shift_is_found_and_no_other(make_study, make_label, word_model, tuned, dictionary, concept_set):
    study = make_study([make_label(f"mood{letter}", [place]) for place, letter in enumerate("abcd")])
    world = {"dictionary": dictionary, "concept_set": concept_set, "progress": False}
    found = compare(study, tuned, word_model, controls=20, **world)
    shifts = {one.concept: one for one in found.shifts}
    assert shifts["moodc"].low > 0.1
    assert shifts["moodc"].q < 0.01
    assert shifts["moodc"].control_share == 0
    for name in ("mooda", "moodb", "moodd"):
        assert shifts[name].shift == 0
        assert shifts[name].p == 1.0
    assert study.read("level_shifts") == found.shifts
    assert {one.n_prompts for one in found.shifts} == {28}
    same = compare(study, WordModel(), word_model, controls=0, **world)
    assert all(one.shift == 0 for one in same.shifts)


def test_another_width_is_said(make_study, make_label, word_model, dictionary, concept_set):
    narrow = WordModel()
    narrow.width = lambda hook_name: 12
    study = make_study([make_label("mooda", [0])])
    with pytest.raises(ValueError, match=r"has width 12 at blocks\.0\.hook_resid_post"):
        compare(study, narrow, word_model, dictionary=dictionary, concept_set=concept_set, progress=False)


def test_paired_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    held, small = 0, 0
    for number in range(60):
        low, high, _ = paired(rng.normal(0.5, 1.0, 40), number)
        held += low <= 0.5 <= high
        small += paired(rng.normal(0.0, 1.0, 40), number)[2] < 0.05
    assert held >= 52
    assert small <= 8
    assert torch.tensor(paired(np.full(10, 0.2))[2]) < 0.01
