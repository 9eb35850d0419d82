"""Valence of a latent: found where a latent goes with it over many concepts, not where it goes with one concept."""

import numpy as np
import pytest
from scipy import sparse

from analysis.concepts.concept import Concept, ConceptSet
from analysis.labelling.affect import FOLDS, Ratings, affect, correlate, fit
from analysis.labelling.split import TextTable

N_CONCEPTS, TEXTS, D_SAE = 24, 12, 50
BROAD, CALMING, NARROW = 7, 8, 9


@pytest.fixture
def concept_set():
    rng = np.random.default_rng(0)
    concepts = {
        f"c{place}": Concept(f"c{place}", f"f{place}", "", (), (), {}, *rng.uniform(1, 9, 2))
        for place in range(N_CONCEPTS)
    }
    return ConceptSet("rated", concepts, {}, "")


@pytest.fixture
def table(concept_set):
    names = np.repeat([*concept_set.concepts, "neutral"], 2 * TEXTS)
    split = np.tile(np.repeat(["finding", "checking"], TEXTS), N_CONCEPTS + 1)
    return TextTable([""] * len(names), names, names, split, names)


@pytest.fixture
def pooled(concept_set, table):
    """Noise, a latent that goes with valence, one against arousal, and one that fires at the most pleasant concept alone."""
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((len(table.texts), D_SAE)) < 0.4, rng.exponential(size=(len(table.texts), D_SAE)), 0)
    for text, name in enumerate(table.concept):
        if name in concept_set.concepts:
            one = concept_set.concepts[name]
            dense[text, BROAD] = max(0, one.valence - 4 + rng.normal())
            dense[text, CALMING] = max(0, 6 - one.arousal + rng.normal())
    best = max(concept_set.concepts.values(), key=lambda one: one.valence).name
    dense[:, NARROW] = (table.concept == best) * (1 + rng.random(len(table.texts)))
    return sparse.csc_array(dense)


def test_what_goes_with_valence_is_found_and_what_goes_with_one_concept_is_not(pooled, table, concept_set):
    found = {one.latent: one for one in affect(pooled, "mean", np.ones(D_SAE), table, concept_set, [NARROW])}
    assert {BROAD, CALMING, NARROW} <= set(found)
    assert found[BROAD].valence_low > 0.7
    assert found[BROAD].valence_slope > 0
    assert found[CALMING].arousal_low > 0.7
    assert found[CALMING].arousal_slope < 0
    assert found[NARROW].valence_low < 0 < found[NARROW].valence_high, "no concept predicts itself"
    others = [one.valence_r for latent, one in found.items() if latent not in (BROAD, CALMING, NARROW)]
    assert abs(np.mean(others)) < 0.1
    assert found[BROAD].n_texts == N_CONCEPTS * TEXTS


def test_sums_give_the_correlation_that_texts_give(pooled, table, concept_set):
    rng = np.random.default_rng(2)
    names = list(concept_set.concepts)
    fold = np.array([names.index(name) % FOLDS if name in names else -1 for name in table.concept])
    rating = np.where(fold >= 0, rng.uniform(1, 9, len(fold)), np.nan)
    lines, _ = fit(pooled, Ratings(rating, fold))
    quick = correlate(pooled, Ratings(rating, fold), lines)
    dense, predicted, truth = pooled.toarray(), [], []
    for one in range(FOLDS):
        out, rest = fold == one, (fold != one) & (fold >= 0)
        slope, intercept = np.polyfit(dense[rest, 3], rating[rest], 1)
        predicted += (intercept + slope * dense[out, 3] - rating[rest].mean()).tolist()
        truth += (rating[out] - rating[rest].mean()).tolist()
    assert quick[3] == pytest.approx(np.corrcoef(predicted, truth)[0, 1])


def test_too_few_rated_concepts_say_nothing(pooled, table, concept_set):
    few = ConceptSet("few", dict(list(concept_set.concepts.items())[:5]), {}, "")
    assert affect(pooled, "mean", np.ones(D_SAE), table, few, [BROAD]) == []
