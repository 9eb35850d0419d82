"""Curves read off between their points, by hand."""

import numpy as np
import pytest

from analysis.clamping.matching import cost_weights, kl_weights, pushes_for, safe_bound, targets


def test_between_two_pushes_it_is_linear_in_log_kl():
    kl = np.array([[0.1, 0.4, 1.6]])
    for at, weights in ((0.2, [0.5, 0.5, 0]), (0.8, [0, 0.5, 0.5]), (0.4, [0, 1, 0]), (1.6, [0, 0, 1])):
        found, reached = kl_weights(kl, at)
        np.testing.assert_allclose(found[0], weights, atol=1e-12)
        assert reached[0]


def test_below_the_weakest_it_falls_to_nothing_and_above_the_strongest_it_is_no_match():
    kl = np.array([[0.4, 0.1, 1.6], [0.0, 0.0, 0.0]])
    weights, reached = kl_weights(kl, 0.05)
    np.testing.assert_allclose(weights[0], [0, np.sqrt(0.5), 0])
    assert reached.tolist() == [True, False]
    assert kl_weights(kl, 1.9)[1].tolist() == [True, False]
    assert kl_weights(kl, 2.1)[1].tolist() == [False, False]
    assert not kl_weights(kl, 0.0)[0].any()


def test_a_known_law_is_recovered():
    """Effects that follow the logarithm of KL are met exactly at any strength between the pushes."""
    kl = np.geomspace(0.05, 2.0, 3)[None] * np.array([[1.0], [0.7]])
    effect = 0.3 * np.log(kl)
    weights, _ = kl_weights(kl, 0.6)
    np.testing.assert_allclose((weights * effect).sum(axis=1), 0.3 * np.log(0.6), rtol=1e-9)


@pytest.mark.parametrize(
    ("at", "weights"),
    [
        (0.1, [0.5, 0, 0]),  # half of the weakest push
        (0.2, [1, 0, 0]),
        (0.4, [0.5, 0.5, 0]),
        (-0.3, [0, 0, 0]),
        (5.0, [0, 0, 1]),
    ],
)
def test_the_strongest_push_that_keeps_to_a_cost(at, weights):
    found, reached = cost_weights(np.array([0.2, 0.6, 1.5]), at)
    np.testing.assert_allclose(found, weights, atol=1e-12)
    assert reached == (at <= 1.25 * 1.5)


def test_a_cost_that_falls_again_is_still_paid_and_an_unknown_one_is_too_high():
    np.testing.assert_allclose(cost_weights(np.array([0.5, 0.1, 1.0]), 0.3)[0], [0.6, 0, 0])
    np.testing.assert_allclose(cost_weights(np.array([0.2, float("nan")]), 9.0)[0], [1, 0])
    np.testing.assert_array_equal(cost_weights(np.array([0.2, 0.6]), float("nan"))[0], [0, 0])
    assert cost_weights(np.array([-0.1, 0.0]), 0.01)[1], "costs nothing to speak of, and neither does the rival"
    assert not cost_weights(np.array([0.1, 0.3]), 0.6)[1], "the strongest push costs half of it"


def test_below_the_weakest_push_a_first_order_effect_is_met():
    push = np.array([1.0, 2.0, 4.0])
    weights, _ = kl_weights(0.1 * push[None] ** 2, 0.1 * 0.5**2)
    np.testing.assert_allclose((weights * 0.3 * push).sum(axis=1), 0.3 * 0.5)


def test_pushes_reach_the_wanted_kl():
    grid = np.geomspace(0.25, 8, 6)
    strength = np.array([[0.02], [0.5]])
    wanted = targets([0.1, 0.3])
    assert wanted[0] < 0.1 < 0.3 < wanted[-1]
    pushes = pushes_for(strength * grid**2, grid, wanted)
    np.testing.assert_allclose(strength * pushes**2, np.stack([wanted] * 2), rtol=0.02)
    silent = pushes_for(np.zeros((1, 6)), grid, wanted)
    assert (np.diff(silent) > 0).all()


@pytest.mark.parametrize(
    ("doses", "costs", "bound"),
    [
        ((1, 2, 4), (0.1, 0.5, 0.9), 3.0),
        ((4, 1, 2), (0.6, 0.1, 0.5), 4.0),
        ((-2, -4), (1.4, 3.0), -1.0),
        ((-2, -4), (0.2, float("nan")), -2.0),
        ((1, 2, 4), (1.4, 0.1, 0.1), 0.5),
    ],
)
def test_the_safe_bound_is_where_fluency_first_breaks(doses, costs, bound):
    assert safe_bound(doses, costs, 0.7) == pytest.approx(bound)
