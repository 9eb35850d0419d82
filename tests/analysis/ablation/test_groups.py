"""Groups of labelled latents, and their random likes."""

import numpy as np
import pytest

from analysis.ablation.groups import groups_of, matched_groups
from tests.analysis.clamping.conftest import make_label

LABELS = [make_label("a", [1]), make_label("b", [2, 3]), make_label("c", [3, 4])]
FAMILIES = {"a": "f", "b": "f", "c": "g"}


def latents(kind):
    return {group.name: group.latents for group in groups_of(LABELS, FAMILIES, kind)}


def test_each_family_all_only():
    assert latents("each") == {"a": (1,), "b": (2, 3), "c": (3, 4)}
    assert latents("family") == {"f": (1, 2, 3), "g": (3, 4)}
    assert latents("all") == {"all": (1, 2, 3, 4)}
    assert latents("only") == {"a": (2, 3, 4), "b": (1, 4), "c": (1, 2)}


def test_random_groups_are_as_large_and_fire_as_often():
    rng = np.random.default_rng(0)
    density = np.concatenate([np.geomspace(1e-4, 0.3, 400), np.zeros(20)])
    group, taken = (10, 200, 390), tuple(range(190, 210))
    found = matched_groups(group, density, taken, 30, rng)
    assert len(found) == 30
    assert len(set(found)) > 20
    for one in found:
        assert len(set(one)) == 3
        assert not set(one) & set(taken)
        assert (density[list(one)] > 0).all()
        np.testing.assert_allclose(np.log(np.sort(density[list(one)])), np.log(density[list(group)]), atol=0.5)
    assert found == matched_groups(group, density, taken, 30, np.random.default_rng(0))


def test_too_few_free_latents():
    with pytest.raises(ValueError, match="2 active latents outside the labels are too few"):
        matched_groups((0, 1), np.ones(4), (0, 1), 5, np.random.default_rng(0))
