"""The rule on evidence whose truth is planted."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.clamping.verdict import (
    Evidence,
    VerdictRule,
    bootstrap_means,
    choose_dose,
    detectable,
    largest_p,
    rank_p,
    verdict,
)

RULE = VerdictRule()
STRONG = Evidence(
    0.9, judge=0.3, judge_low=0.1, readout_low=0.2, fluency=0.3, p=0.012, threshold=0.02, foreign_share=0.1
)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "validated"),
        ({"judge_auroc_low": 0.6}, "no judge"),
        ({"judge": 0.04}, "no effect"),
        ({"judge_low": 0.0}, "no effect"),
        ({"readout_low": -0.1}, "no effect"),
        ({"judge": float("nan")}, "no effect"),
        ({"fluency": 0.71}, "breaks fluency"),
        ({"fluency": float("nan")}, "breaks fluency"),
        ({"p": 0.03}, "unspecific"),
        ({"foreign_share": 0.6}, "unspecific"),
        ({"foreign_share": 0.5, "p": 0.02}, "validated"),
        ({"fluency": 2.0, "judge": 0.0}, "no effect"),
    ],
)
def test_each_way_to_fail(changes, status):
    assert verdict(RULE, replace(STRONG, **changes)) == status


def test_a_tie_with_a_control_counts_against_a_claim():
    assert rank_p(0.3, np.array([0.1, 0.3, 0.2])) == 2 / 4
    assert rank_p(0.3, np.zeros(79)) == 1 / 80


def test_the_largest_p_is_benjamini_hochbergs():
    p = [0.01, 0.02, 0.03, 0.2, 0.9]
    assert largest_p(p, 0.05) == pytest.approx(0.05 * 3 / 5)
    assert largest_p([0.9, 0.8], 0.05) == pytest.approx(0.05 / 2)


def test_labels_that_do_nothing_are_rarely_found():
    """False discoveries when every label is one more draw from the controls."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(100):
        controls = rng.normal(size=80)
        p = [rank_p(own, controls) for own in rng.normal(size=20)]
        found += any(np.array(p) <= largest_p(p, RULE.most_q))
    assert found <= 8


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_power_is_what_it_says(spread):
    """A true effect as large as the detectable one passes about four times in five."""
    rng, controls, passed = np.random.default_rng(0), np.random.default_rng(1).normal(0, 0.05, 80), 0
    values = rng.normal(0, spread, 27)
    values = (values - values.mean()) / values.std(ddof=1) * spread
    size = detectable(RULE, values, controls, 0.02)
    for seed in range(200):
        drawn = rng.normal(size, spread, (27, 1))
        mean, low, _ = bootstrap_means(drawn, RULE, seed)
        p = rank_p(float(mean[0]), controls)
        passed += mean[0] >= RULE.least_effect and low[0] > 0 and p <= 0.02
    assert 0.7 <= passed / 200 <= 0.9
    assert detectable(RULE, values, controls[:20], 0.02) == float("inf")


def test_the_dose_is_the_strongest_that_keeps_fluency():
    doses, judge, fluency = (1.0, 2.0, 4.0), np.array([0.1, 0.3, 0.6]), np.array([0.1, 0.4, 1.5])
    assert choose_dose(RULE, doses, judge, fluency) == 1
    assert choose_dose(replace(RULE, most_fluency_cost=2.0), doses, judge, fluency) == 2
    assert choose_dose(replace(RULE, most_fluency_cost=-1.0), doses, judge, fluency) == 0
    assert choose_dose(RULE, doses, judge, np.array([0.1, float("nan"), 0.2])) == 2


def test_the_interval_covers_the_truth():
    values = np.random.default_rng(0).normal(0.1, 0.2, (22, 400))
    _, low, high = bootstrap_means(values, RULE)
    assert 0.90 <= np.mean((low <= 0.1) & (high >= 0.1)) <= 0.97  # 95 %, a little less with 22 prompts
