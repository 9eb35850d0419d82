"""Planted geometry is found, and directions without any are not told otherwise."""

import numpy as np
import pytest

from analysis.concepts.concept import Concept, ConceptSet
from analysis.geometry import Directions, correlation, geometry, left_out_r, unit

D_IN, CONCEPTS, FAMILIES = 24, 20, 4


def concepts() -> ConceptSet:
    rng = np.random.default_rng(0)
    found = {
        f"c{number}": Concept(
            f"c{number}", f"f{number % FAMILIES}", "", (), (), {}, float(rng.uniform(1, 9)), float(rng.uniform(1, 9))
        )
        for number in range(CONCEPTS)
    }
    return ConceptSet("planted", found, {}, "hash")


def by_name(points, tests) -> dict:
    assert len(points) == CONCEPTS
    return {test.what: test for test in tests}


def test_planted_axes_and_families_are_found():
    known = concepts()
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((CONCEPTS, D_IN)) * 0.3
    homes = 0.4 * rng.standard_normal((FAMILIES, D_IN))
    for number, one in enumerate(known.concepts.values()):
        rows[number, 0] += 1.2 * (one.valence - 5)
        rows[number, 1] += 0.8 * (one.arousal - 5)
        rows[number] += homes[number % FAMILIES]
    pool = rng.standard_normal((400, D_IN))
    found = by_name(*geometry(Directions("labels", list(known.concepts), unit(rows)), pool, known, draws=200))
    for what in ("valence", "valence_left_out", "arousal", "family"):
        assert found[what].p < 0.05, what
        assert found[what].value > found[what].null_high, what
    assert found["valence"].n == CONCEPTS


def test_directions_of_no_geometry_lie_inside_the_null():
    known = concepts()
    rng = np.random.default_rng(2)
    small = []
    for _ in range(10):
        rows = rng.standard_normal((CONCEPTS, D_IN))
        pool = rng.standard_normal((400, D_IN))
        found = by_name(*geometry(Directions("labels", list(known.concepts), unit(rows)), pool, known, draws=100))
        small += [test.p < 0.05 for test in found.values()]
    assert np.mean(small) < 0.2


def test_left_out_prediction_equals_the_slow_one():
    rng = np.random.default_rng(3)
    matrix, rating = rng.standard_normal((9, 5)), rng.standard_normal(9)
    centred = rating - rating.mean()
    slow = []
    for left in range(9):
        rest = np.arange(9) != left
        weights = np.linalg.solve(matrix[rest].T @ matrix[rest] + np.eye(5), matrix[rest].T @ centred[rest])
        slow.append(matrix[left] @ weights)
    assert left_out_r(matrix, rating) == pytest.approx(correlation(np.array(slow), centred))


def test_too_few_directions():
    known = concepts()
    with pytest.raises(ValueError, match="at least 5"):
        geometry(Directions("labels", ["c0"], np.eye(D_IN)[:1]), np.eye(D_IN), known)
