"""AUROC, its p-value and interval, and false discoveries, against scikit-learn and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, mannwhitneyu
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.labelling.scores import (
    auroc,
    aurocs,
    average_precision,
    benjamini_hochberg,
    compare,
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


def test_columns_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 5, (60, 7)).astype(float), rng.random(60) < 0.3
    alone = [roc_auc_score(positive, column) for column in values.T]
    np.testing.assert_allclose(aurocs(values[positive], values[~positive]), alone)
    precision = average_precision_score(positive, values[:, 0])
    assert average_precision(values[positive, 0], values[~positive, 0]) == pytest.approx(precision)


def test_permutation_p_agrees_with_mann_whitney_and_sees_nothing_in_noise():
    rng = np.random.default_rng(1)
    positive = np.arange(80) < 15
    values = rng.normal(size=80) + 0.6 * positive
    expected = mannwhitneyu(values[positive], values[~positive], alternative="greater").pvalue
    assert permutation_p(values, positive, rng) == pytest.approx(expected, rel=0.25)
    ps = [permutation_p(rng.normal(size=60), np.arange(60) < 12, rng, draws=400) for _ in range(200)]
    assert 0.02 < np.mean(np.array(ps) < 0.1) < 0.18


def test_the_interval_holds_the_score_and_narrows_with_more_texts():
    rng = np.random.default_rng(2)
    widths = []
    for n in (20, 200):
        own, others = rng.normal(size=n) + 1, rng.normal(size=n)
        found = compare(own, others)
        positive = np.arange(2 * n) < n
        assert found.low <= found.auroc <= found.high
        assert found.auroc == pytest.approx(auroc(np.concatenate([own, others]), positive))
        widths.append(found.high - found.low)
    assert widths[1] < 0.6 * widths[0]


def test_about_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(4)
    found = [compare(rng.normal(size=25) + 1, rng.normal(size=80), draws=300) for _ in range(200)]
    assert 0.88 < np.mean([one.low <= 0.7602 <= one.high for one in found]) < 0.99  # Phi(1 / sqrt 2)


def test_matched_pairs_alone_are_compared():
    """Two settings, in one of which every text scores higher: within each of them nothing is to be told."""
    rng = np.random.default_rng(5)
    setting_own, setting_others = np.arange(60) % 10 == 0, np.arange(80) % 10 != 0
    own, others = rng.normal(size=60) - 5 * setting_own, rng.normal(size=80) - 5 * setting_others
    matched = setting_own[:, None] == setting_others
    assert compare(own, others).auroc > 0.8
    found = compare(own, others, matched)
    within = [
        (roc_auc_score(np.arange(mine.sum() + theirs.sum()) < mine.sum(), np.concatenate([own[mine], others[theirs]])),
         mine.sum() * theirs.sum())
        for mine, theirs in ((setting_own, setting_others), (~setting_own, ~setting_others))
    ]  # fmt: skip
    scores, pairs = zip(*within, strict=True)
    assert found.auroc == pytest.approx(np.average(scores, weights=pairs))
    assert found.low < 0.5 < found.high
    with pytest.raises(ValueError, match="both kinds"):
        compare(own, others, np.zeros((60, 80), dtype=bool))


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(3).random(30) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
