"""Latents that write a concept are found by where their decoder directions point, not by where they fire."""

import numpy as np
import pytest
import torch

from analysis.clamping.plan import claim_kind, label_arm
from analysis.clamping.writers import pursued, with_detection, writers, writing_latents
from analysis.firings import Firings
from analysis.labelling.choose import Pools
from analysis.labelling.split import text_table
from analysis.records import Label
from saes.dictionary import Directions

DIRECTIONS = np.eye(6)


def label(latents, scales):
    held = dict.fromkeys(Label.__dataclass_fields__, 0.0)
    return Label(
        **{**held, "concept": "desperate", "latents": latents, "weights": [1.0] * len(latents), "scales": scales}
    )


def test_pursuit_finds_what_a_sum_is_made_of_and_leaves_what_points_away():
    latents, values = pursued(3 * DIRECTIONS[4] + 2 * DIRECTIONS[1] - 5 * DIRECTIONS[2], DIRECTIONS, most=4)
    assert latents == [4, 1]
    assert np.allclose(values, [3, 2])


def test_a_detector_that_points_elsewhere_is_given_writers_that_push_as_far():
    dictionary = Directions(torch.eye(6))
    mean = 3 * DIRECTIONS[4] + 1 * DIRECTIONS[1]
    found = writing_latents(label([0], [7.0]), mean, dictionary, np.full(6, 2.0))
    assert (claim_kind(found), found.latents, found.status) == ("written", [4, 1], "candidate")
    assert found.cosine == pytest.approx(1.0)
    arm = label_arm(found, 1.0, dictionary)
    assert (arm.kind, arm.push) == ("written", pytest.approx(7.0))
    values = np.multiply(found.weights, found.scales)
    assert np.allclose(values / values[1], [3, 1])


def test_latents_that_never_fired_do_not_write():
    scales = np.array([2.0, 2.0, 2.0, 2.0, 0.0, 2.0])
    assert writers(3 * DIRECTIONS[4] + DIRECTIONS[1], Directions(torch.eye(6)), scales) == [1]


def test_a_label_that_writes_is_no_second_claim():
    assert writing_latents(label([4], [7.0]), 3 * DIRECTIONS[4], Directions(torch.eye(6)), np.full(6, 2.0)) is None


def test_what_no_sum_of_directions_reaches_is_said_by_the_cosine():
    mean = np.concatenate([DIRECTIONS[4][:5], [0.0]]) - DIRECTIONS[2]
    found = writing_latents(label([0], [7.0]), mean, Directions(torch.eye(6)), np.full(6, 2.0))
    assert (found.latents, found.cosine) == ([4], pytest.approx(np.sqrt(0.5)))


def test_writers_are_scored_as_detectors_on_checking_texts(concept_set, make_label):
    """Latent 0 fires in the concept's texts alone, latent 3 in all of them."""
    directions = Directions(torch.eye(6))
    found = [writing_latents(make_label("mooda", [5]), DIRECTIONS[latent], directions, np.ones(6)) for latent in (0, 3)]
    table = text_table(concept_set, ("checking",))
    n = len(table.texts)
    own = table.positives("mooda", "checking")
    text, latent = np.concatenate([own, np.arange(n)]), np.repeat([0, 3], [len(own), n])
    firings = Firings(text, np.zeros_like(text), latent, np.ones(len(text), np.float32), np.full(n, 10), 6)
    tells, tells_not = with_detection(found, Pools(firings), table)
    assert (tells.auroc_checking, tells.auroc_checking_low) == (1.0, 1.0)
    assert (tells_not.auroc_checking, tells_not.auroc_checking_high) == (0.5, 0.5)
    assert (tells.n_positive, tells.n_negative) == (4, 4 * 8)
