"""AUROC, its p-value and interval, and false discoveries, against scikit-learn and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import false_discovery_control, mannwhitneyu
from sklearn.metrics import roc_auc_score

from analysis.labelling.scores import (
    Ordered,
    auroc,
    benjamini_hochberg,
    bootstrap_auroc,
    permutation_p,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=4, max_size=40))
def test_auroc_with_ties_is_scikit_learns(rows):
    values, positive = np.array([float(value) for value, _ in rows]), np.array([one for _, one in rows])
    if positive.all() or not positive.any():
        with pytest.raises(ValueError, match="both kinds"):
            auroc(values, positive)
    else:
        assert auroc(values, positive) == pytest.approx(roc_auc_score(positive, values))


def test_every_latent_at_once_is_each_latent_alone():
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((60, 15)) < 0.3, rng.integers(1, 4, (60, 15)).astype(float), 0.0)
    dense[:, 3] = 0.0
    positive = rng.random(60) < 0.3
    counted = rng.random(60) < 0.8
    ordered = Ordered(sparse.csc_array(dense))
    together = ordered.aurocs(positive & counted, ~positive & counted)
    alone = [roc_auc_score(positive[counted], dense[counted, latent]) for latent in range(15)]
    np.testing.assert_allclose(together, alone, atol=1e-12)
    assert together[3] == 0.5
    assert Ordered(sparse.csc_array(np.zeros((4, 2)))).aurocs(positive[:4], ~positive[:4]).tolist() == [0.5, 0.5]


def test_permutation_p_agrees_with_mann_whitney_and_sees_nothing_in_noise():
    rng = np.random.default_rng(1)
    positive = np.arange(80) < 15
    values = rng.normal(size=80) + 0.6 * positive
    expected = mannwhitneyu(values[positive], values[~positive], alternative="greater").pvalue
    assert permutation_p(values, positive, rng) == pytest.approx(expected, rel=0.25)
    ps = [permutation_p(rng.normal(size=60), np.arange(60) < 12, rng, draws=400) for _ in range(200)]
    assert 0.02 < np.mean(np.array(ps) < 0.1) < 0.18


def test_bootstrap_interval_holds_the_score_and_narrows_with_more_texts():
    rng = np.random.default_rng(2)
    widths = []
    for n in (20, 200):
        positive = np.arange(2 * n) < n
        values = rng.normal(size=2 * n) + positive
        low, high = bootstrap_auroc(values, positive, rng)
        assert low <= auroc(values, positive) <= high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(3).random(30) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
