"""Each rival finds what is planted for it, on finding texts alone; and sparse probes find what no single latent holds."""

import numpy as np
import pytest

from analysis.labelling.baselines import best_units, difference_of_means, emotion_vectors, probe_scores
from analysis.labelling.choose import Finding, Pools, Rules
from analysis.labelling.probes import sparse_probes
from analysis.labelling.scores import compare
from analysis.labelling.split import TextTable
from analysis.observe import Dense
from tests.analysis.labelling.test_choose import CONCEPTS, firings, table

NAMES = tuple(CONCEPTS)
D_IN, NUISANCE = 30, 20


@pytest.fixture
def texts() -> TextTable:
    return table()


@pytest.fixture
def means(texts) -> np.ndarray:
    """[text, d_in] each concept lowers its own coordinate; one coordinate varies more than all, whatever the text."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(texts.texts), D_IN))
    for place, name in enumerate(NAMES):
        x[texts.concept == name, place] -= 3
    x[:, NUISANCE] += 20 * rng.normal(size=len(x))
    return x


def score(texts, name, values) -> float:
    return compare(values[texts.positives(name, "checking")], values[texts.negatives(name, "checking")]).auroc


def test_single_units_are_found_with_their_sign(texts, means):
    noise = np.random.default_rng(1).normal(size=means.shape)
    found = best_units(Dense(means, noise, noise), texts, NAMES)
    for place, name in enumerate(NAMES):
        unit, values = found[name]
        assert unit == f"-{place} mean"
        assert score(texts, name, values) > 0.9


def test_choices_are_made_on_finding_texts_alone(texts, means):
    changed = np.where((texts.split == "finding")[:, None], means, 0)
    before, after = (best_units(Dense(x, x, x), texts, NAMES) for x in (means, changed))
    assert {name: unit for name, (unit, _) in before.items()} == {name: unit for name, (unit, _) in after.items()}


def test_what_neutral_texts_vary_in_is_taken_out_of_emotion_vectors(texts, means):
    plain = np.stack([difference_of_means(means, texts, name) for name in NAMES])
    denoised = emotion_vectors(means, texts, NAMES)
    assert np.abs(denoised[:, NUISANCE]).max() < 0.1 * np.abs(plain[:, NUISANCE]).max()
    for place, name in enumerate(NAMES):
        assert score(texts, name, means @ denoised[place]) > max(0.85, score(texts, name, means @ plain[place]))


def test_probes_of_all_concepts(texts, means):
    found = probe_scores(means, texts, NAMES)
    assert all(score(texts, name, found[:, place]) > 0.9 for place, name in enumerate(NAMES))


def test_a_sparse_probe_adds_up_what_a_concept_is_split_into(texts):
    pools = Pools(firings(texts, np.random.default_rng(2), planted={"happy": [101, 102, 103]}, decoys={}))
    finding = Finding(pools, texts, Rules(), NAMES)
    number = NAMES.index("happy")
    found = {one.k: one for one in sparse_probes(pools, finding, texts, number, finding.best()[number])}
    assert set(found) == {1, 2, 4, 8, 16}
    assert {101, 102, 103} <= set(found[4].latents)
    assert found[4].auroc_checking > found[1].auroc_checking + 0.05
    assert found[4].auroc_checking_low <= found[4].auroc_checking <= found[4].auroc_checking_high
