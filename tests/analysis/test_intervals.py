"""Figures over many texts are the exact ones, and their intervals hold the truth as often as they say."""

import numpy as np
import pytest
from scipy.stats import norm, pearsonr, spearmanr

from analysis.intervals import auroc_interval, pearson_interval, spearman_interval
from analysis.labelling.scores import auroc


def test_the_auroc_is_exact_with_ties():
    rng = np.random.default_rng(0)
    own, others = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 60).astype(float)
    found = auroc_interval(own, others)
    assert found.value == pytest.approx(auroc(np.concatenate([own, others]), np.arange(100) < 40))
    assert found.low < found.value < found.high
    assert auroc_interval(np.ones(9), np.zeros(9)) == (1.0, 1.0, 1.0)


def test_the_correlations_are_exact():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(200)
    b = np.exp(a + rng.standard_normal(200))
    assert pearson_interval(a, b).value == pytest.approx(pearsonr(a, b).statistic)
    assert spearman_interval(a, b).value == pytest.approx(spearmanr(a, b).statistic)
    assert pearson_interval(np.ones(200), b) == (0.0, 0.0, 0.0)


def test_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    shift, r = 0.8, 0.5
    hits = np.zeros(2)
    for trial in range(60):
        scores = auroc_interval(rng.normal(shift, 1, 60), rng.normal(0, 1, 200), trial, draws=200)
        hits[0] += scores.low <= norm.cdf(shift / np.sqrt(2)) <= scores.high
        a = rng.standard_normal(150)
        found = pearson_interval(a, r * a + np.sqrt(1 - r**2) * rng.standard_normal(150), trial, draws=200)
        hits[1] += found.low <= r <= found.high
    assert (hits >= 51).all()


def test_one_kind_of_text_is_no_comparison():
    with pytest.raises(ValueError, match="0 positive and 3 negative"):
        auroc_interval(np.zeros(0), np.zeros(3))
