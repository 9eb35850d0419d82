"""Latents that write a concept are found by where their decoder directions point, not by where they fire."""

import numpy as np
import pytest
import torch

from analysis.cases.written import pursued, writers, written_label
from analysis.clamping.plan import label_arm
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
    found = written_label(label([0], [7.0]), mean, dictionary, np.full(6, 2.0))
    assert (found.kind, found.latents) == ("written", [4, 1])
    arm = label_arm(found, 1.0, dictionary)
    assert arm.push == pytest.approx(7.0)
    values = np.multiply(found.weights, found.scales)
    assert np.allclose(values / values[1], [3, 1])


def test_latents_that_never_fired_do_not_write():
    scales = np.array([2.0, 2.0, 2.0, 2.0, 0.0, 2.0])
    assert writers(3 * DIRECTIONS[4] + DIRECTIONS[1], Directions(torch.eye(6)), scales) == [1]
