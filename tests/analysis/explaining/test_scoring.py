"""Scores of ratings whose answer is known."""

import numpy as np
import pytest

from analysis.explaining.scoring import gain, score

POSITIVE = np.arange(32) < 16


def test_right_and_wrong_raters():
    right = np.where(POSITIVE, 9.0, 1.0)
    found = score(right, POSITIVE)
    assert (found.auroc, found.low, found.high, found.accuracy) == (1.0, 1.0, 1.0, 1.0)
    wrong = score(10 - right, POSITIVE)
    assert (wrong.auroc, wrong.accuracy) == (0.0, 0.0)


@pytest.mark.parametrize("always", [0.0, 5.0, 10.0])
def test_a_rater_that_always_says_the_same_scores_chance(always):
    found = score(np.full(32, always), POSITIVE)
    assert (found.auroc, found.accuracy) == (0.5, 0.5)


def test_the_interval_of_chance_holds_a_half():
    rng = np.random.default_rng(0)
    held = [
        found.low <= 0.5 <= found.high
        for _ in range(200)
        if (found := score(rng.integers(0, 11, 32).astype(float), POSITIVE))
    ]
    assert np.mean(held) > 0.88


def test_missing_ratings_do_not_count():
    ratings = np.where(POSITIVE, 9.0, 1.0)
    ratings[[0, 20]] = np.nan
    assert score(ratings, POSITIVE).auroc == 1.0
    ratings[:13] = np.nan
    assert score(ratings, POSITIVE) is None, "three are too few"
    assert score(np.full(32, np.nan), POSITIVE) is None
    assert score(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_gain_over_another_explanation():
    rng = np.random.default_rng(1)
    right = np.where(POSITIVE, 8.0, 2.0) + rng.normal(0, 1, 32)
    chance = rng.uniform(0, 10, 32)
    found = gain(right, chance, POSITIVE)
    assert 0 < found.low < found.auroc < found.high
    assert gain(right, right, POSITIVE) == (0.0, 0.0, 0.0), "an explanation is no better than itself, however good"
    assert gain(right, np.full(32, np.nan), POSITIVE) is None
