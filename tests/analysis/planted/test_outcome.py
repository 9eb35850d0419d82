"""Planted truth through search, check and lexical rule: what is there is held, what only looks like it is not."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.figures import calibration
from analysis.labelling.choose import Rules
from analysis.planted.outcome import (
    Outcome,
    Share,
    false_discoveries,
    held,
    label_world,
    lexical_caught,
    outcomes,
    power,
    strays,
    worlds_with_false,
)
from analysis.planted.world import Design, draw_world

WORLDS = 3
RULES = replace(Rules(), shuffles=1)
SMALL = Design(finding=16, d_sae=600, carried=(0.95,) * 8)


@pytest.fixture(scope="module")
def found():
    all_found = []
    for seed in range(WORLDS):
        rng = np.random.default_rng(seed)
        world = draw_world(SMALL, rng)
        all_found += outcomes(seed, world, label_world(world, rng, RULES))
    return all_found


def test_planted_latents_are_held_and_decoys_are_not(found):
    assert power(found, 0.95).n == 8 * WORLDS
    assert power(found, 0.95).rate >= 0.9
    assert false_discoveries(found).n >= 7 * WORLDS
    assert false_discoveries(found).rate <= 0.05
    assert lexical_caught(found).n >= 2 * WORLDS
    assert lexical_caught(found).rate >= 0.9


def test_decoys_do_take_the_search_in(found):
    for kind in ("topical", "wordy"):
        assert all(one.found for one in found if one.kind == kind)
    assert held(found, "kin").rate == 1, "what tells siblings apart is another figure's business"
    assert np.median([one.auroc_family for one in found if one.kind == "kin"]) == pytest.approx(0.5, abs=0.15)


def test_without_the_rules_the_false_labels_are_counted():
    """The figures can fail: where everything is held, decoys and nothing at all are false discoveries."""
    rng = np.random.default_rng(0)
    world = draw_world(SMALL, rng)
    lax = replace(RULES, least_auroc=0.0, most_q=1.0)
    labels = label_world(world, rng, lax)
    found = outcomes(0, world, [replace(label, status="held") for label in labels])
    assert false_discoveries(found).rate > 0.4
    assert worlds_with_false(found) == Share(1, 1)


def test_shares_count_by_hand():
    def outcome(kind, held, found, stray=0, lexical=False, world=0):
        return Outcome(world, kind, 0.95, held, found, found > 0, stray, lexical, None)

    made = [
        outcome("carried", True, 1, stray=2),
        outcome("carried", True, 0),  # held by a latent that is not the planted one
        outcome("carried", False, 1),
        outcome("kin", True, 1),
        outcome("lexical", False, 1, lexical=True),
        outcome("lexical", False, 0, world=1),
        outcome("wordy", True, 1, world=1),
    ]
    assert power(made, 0.95) == Share(1, 3)
    assert false_discoveries(made) == Share(2, 3)
    assert worlds_with_false(made) == Share(2, 2)
    assert lexical_caught(made) == Share(1, 2)
    assert strays(made) == Share(1, 1)


def test_intervals_are_clopper_and_pearsons():
    assert Share(0, 10).interval() == pytest.approx((0, 0.3085), abs=1e-4)
    assert Share(5, 10).interval() == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert Share(10, 10).interval() == pytest.approx((0.6915, 1), abs=1e-4)
    assert Share(0, 200).interval(level=0.90)[1] == pytest.approx(1 - 0.05 ** (1 / 200))
    assert Share(0, 0).rate is None


def test_curves_are_drawn_whole_and_with_gaps(tmp_path):
    points = [Share(1, 2).figures()[:3], [float("nan")] * 3, Share(0, 9).figures()[:3]]
    calibration(
        tmp_path / "curves.png", [4, 8, 16], {"found": {"AUROC 0.95": points, "AUROC 0.9": points}}, {"found": 0.9}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
