"""Latents that write a concept are found by where their decoder directions point, not by where they fire."""

import numpy as np
import pytest
import torch

from analysis.clamping.plan import claim_kind, label_arm
from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.firings import Firings
from analysis.labelling.choose import Pools
from analysis.labelling.split import text_table
from analysis.labelling.writers import pursued, with_detection, writers, writers_of
from analysis.records import Label
from saes.dictionary import Directions

ROWS = np.eye(6)
DIRECTIONS = Directions(torch.eye(6))
ALL = np.ones(6, dtype=bool)


def label(latents, scales):
    held = dict.fromkeys(Label.__dataclass_fields__, 0.0)
    given = {"concept": "desperate", "latents": latents, "weights": [1.0] * len(latents), "scales": scales}
    return Label(**{**held, **given, "pooling": "max", "chosen": True})


@pytest.fixture
def table():
    """Four checking texts of each of two concepts in families of their own, and four neutral ones."""
    texts = {"checking": tuple(Text(f"text {number}", "topic") for number in range(4))}
    concepts = {name: Concept(name, name, "", (name,), (), texts) for name in ("desperate", "calm")}
    return text_table(ConceptSet("two", concepts, texts, "hash", families={}), ("checking",))


def found(table, mean, scales=None, own=None, fires=()):
    """What writes `mean`; latents of `fires` fire at the concept's texts, latent 3 at all."""
    n = len(table.texts)
    mine = table.positives("desperate", "checking")
    text = np.concatenate([np.arange(n), *(mine for _ in fires)])
    latent = np.concatenate([np.full(n, 3), *(np.full(len(mine), one) for one in fires)])
    firings = Firings(text, np.zeros_like(text), latent, np.ones(len(text), np.float32), np.full(n, 10), 6)
    scales = np.full(6, 2.0) if scales is None else scales
    made = writers_of([own or label([0], [7.0])], {"desperate": mean}, DIRECTIONS, scales)
    return with_detection(made, Pools(firings), table)


def test_pursuit_finds_what_a_sum_is_made_of_and_leaves_what_points_away():
    targets = np.stack([3 * ROWS[4] + 2 * ROWS[1] - 5 * ROWS[2], -ROWS[3], ROWS[0] + 2 * ROWS[2]])
    (latents, values), nothing, (others, _) = pursued(targets, DIRECTIONS.directions, ALL, most=4)
    assert latents == [4, 1]
    assert np.allclose(values, [3, 2])
    assert nothing == ([], [])
    assert others == [2, 0], "each target by itself"


def test_a_detector_that_points_elsewhere_is_given_writers_that_push_as_far(table):
    (one,) = found(table, 3 * ROWS[4] + 1 * ROWS[1])
    assert (claim_kind(one), one.latents, one.status) == ("written", [4, 1], "candidate")
    assert one.cosine == pytest.approx(1.0)
    arm = label_arm(one, 1.0, DIRECTIONS)
    assert (arm.kind, arm.push) == ("written", pytest.approx(7.0))
    values = np.multiply(one.weights, one.scales)
    assert np.allclose(values / values[1], [3, 1])


def test_latents_that_never_fired_do_not_write(table):
    scales = np.array([2.0, 2.0, 2.0, 2.0, 0.0, 2.0])
    assert writers(3 * ROWS[4] + ROWS[1], DIRECTIONS, scales) == [1]
    assert [one.latents for one in found(table, 3 * ROWS[4] + ROWS[1], scales)] == [[1]]


def test_a_label_that_writes_by_itself_gets_no_second_claim(table):
    assert found(table, 3 * ROWS[4], own=label([4], [7.0])) == []


def test_the_same_latents_in_another_mixture_are_another_claim(table):
    (one,) = found(table, 3 * ROWS[4] + ROWS[1], own=label([1, 4], [2.0, 2.0]))
    assert one.latents == [4, 1]
    assert found(table, ROWS[4] + ROWS[1], own=label([1, 4], [2.0, 2.0])) == []


def test_what_no_sum_of_directions_reaches_is_said_by_the_cosine(table):
    (one,) = found(table, ROWS[4] - ROWS[2])
    assert (one.latents, one.cosine) == ([4], pytest.approx(np.sqrt(0.5)))


def test_they_are_scored_as_detectors_though_not_chosen_as_such(table):
    (tells,) = found(table, ROWS[4], fires=(4,))
    assert (tells.auroc_checking, tells.auroc_checking_low) == (1.0, 1.0)
    (tells_not,) = found(table, ROWS[3], fires=(4,))
    assert (tells_not.auroc_checking, tells_not.auroc_checking_high) == (0.5, 0.5)
    assert (tells.n_positive, tells.n_negative) == (4, 8)
