"""Planted worlds hold what they promise, counted on many texts."""

import numpy as np
import pytest

from analysis.concepts.concept import NEUTRAL
from analysis.labelling.lexical import naming_tokens
from analysis.labelling.scores import auroc
from analysis.planted.world import ABSORBED, Design, draw_world, hit_rate

LARGE = Design(finding=400, checking=400, implicit=50, neutral=400, d_sae=100)


@pytest.fixture(scope="module")
def world():
    return draw_world(LARGE, np.random.default_rng(0))


def score(world, concept, split, latents):
    largest = world.firings.of_latents(latents).all_pooled()["max"][:, list(latents)].sum(axis=1)
    own, others = world.table.positives(concept, split), world.table.negatives(concept, split)
    return auroc(np.concatenate([largest[own], largest[others]]), np.arange(len(own) + len(others)) < len(own))


def of_kind(world, *kinds):
    return [(name, one) for name, one in world.planted.items() if one.kind in kinds]


@pytest.mark.parametrize(("split", "off"), [("finding", 0.03), ("checking", 0.03), ("implicit", 0.12)])
def test_carried_latents_have_the_auroc_that_was_asked_for(world, split, off):
    found = {name: score(world, name, split, one.latents) for name, one in of_kind(world, "carried", "kin")}
    for name, value in found.items():
        assert value == pytest.approx(world.planted[name].strength, abs=off)
    errors = [value - world.planted[name].strength for name, value in found.items()]
    assert np.mean(errors) == pytest.approx(0, abs=off / 3)


def test_topics_are_gone_or_leak_on_checking_texts(world):
    for name, one in of_kind(world, "topical", "leaky"):
        assert score(world, name, "finding", one.latents) == pytest.approx(0.95, abs=0.02)
        left = score(world, name, "checking", one.latents)
        assert left == pytest.approx(0.5 if one.kind == "topical" else 0.65, abs=0.03)


def test_detectors_of_names_fire_at_names_alone_and_not_where_they_are_masked(world):
    masked = world.masked()
    for name, one in of_kind(world, "lexical", "wordy"):
        mine = world.firings.of_latents(one.latents)
        assert all(world.strings[text][token] == f" {name}" for text, token in zip(mine.text, mine.token, strict=True))
        own = world.table.positives(name, "checking")
        named = {int(text) for text in own if naming_tokens(world.strings[text], (name,)).any()}
        assert len(named) / len(own) == pytest.approx(0.9 if one.kind == "wordy" else 1 / 3, abs=0.08)
        assert named == set(masked.texts) & set(own.tolist())
        before = world.firings.of_latents(one.latents).all_pooled()["max"][:, list(one.latents)].sum(axis=1)
        after = masked.pools.by_pooling["max"][:, list(one.latents)].sum(axis=1)
        assert all(before[text] for text in named)
        assert not any(after[masked.texts.index(text)] for text in named)


def test_split_and_absorbed_latents_share_the_texts_of_their_concept(world):
    for name, one in of_kind(world, "split", "absorbed"):
        both = score(world, name, "checking", one.latents)
        alone = score(world, name, "checking", one.latents[:1])
        share = 0.5 if one.kind == "split" else ABSORBED
        assert alone < both - 0.3 * share


def test_neutral_texts_name_nothing_and_the_same_seed_draws_the_same_world():
    one, other = (draw_world(Design(finding=4), np.random.default_rng(3)) for _ in range(2))
    assert one.table.texts == other.table.texts
    assert np.array_equal(one.firings.value, other.firings.value)
    assert not any(
        "mood" in text for text, name in zip(one.table.texts, one.table.concept, strict=True) if name == NEUTRAL
    )


def test_an_auroc_beyond_reach_is_refused():
    assert hit_rate(0.95) == pytest.approx(0.922, abs=0.01)
    with pytest.raises(ValueError, match=r"0\.99"):
        hit_rate(0.999)
