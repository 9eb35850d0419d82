"""Scores of every latent x every concept against scikit-learn, one at a time: ties, silent latents, siblings left out."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.labelling.ranking import Ranked, Sorting

N_TEXTS, D_SAE = 90, 17
NAMES = ("a", "b", "c", "d")
FAMILY = {"a": "one", "b": "one", "c": "two", "d": "three", "neutral": "neutral"}


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def values(rng):
    """[text, latent] many ties, latent 3 silent, latent 4 never so."""
    dense = np.where(rng.random((N_TEXTS, D_SAE)) < 0.35, rng.integers(1, 5, (N_TEXTS, D_SAE)) / 7, 0.0)
    dense[:, 3], dense[:, 4] = 0.0, 1 + rng.random(N_TEXTS)
    return dense


@pytest.fixture
def concept(rng):
    return rng.permutation(np.array([*NAMES, "neutral"])[np.arange(N_TEXTS) % 5])


def sorting(concept, style=None):
    return Sorting.of(concept, np.array([FAMILY[name] for name in concept]), NAMES, style)


def by_hand(score, values, concept, name, counted, style=None):
    """[latent] of one concept, by scikit-learn."""
    family = np.array([FAMILY[one] for one in concept])
    compared = counted & ((concept == name) | (family != FAMILY[name]))
    if style is not None:
        compared &= style == style[(concept == name).argmax()]
    return [score(concept[compared] == name, values[compared, latent]) for latent in range(D_SAE)]


@pytest.mark.parametrize("at_once", [1, 100, 2**21])
def test_scores_are_scikit_learns(values, concept, rng, at_once, monkeypatch):
    monkeypatch.setattr("analysis.labelling.ranking.AT_ONCE", at_once)
    ranked = Ranked(sparse.csc_array(values))
    for counted in (np.ones(N_TEXTS, dtype=bool), rng.random(N_TEXTS) < 0.7):
        found = ranked.scores(sorting(concept), counted, precision=True)
        for row, name in enumerate(NAMES):
            np.testing.assert_allclose(
                found.auroc[row], by_hand(roc_auc_score, values, concept, name, counted), atol=1e-6
            )
            np.testing.assert_allclose(
                found.average_precision[row],
                by_hand(average_precision_score, values, concept, name, counted),
                atol=1e-6,
            )
        assert (found.auroc[:, 3] == 0.5).all()


def test_the_same_sorting_serves_other_labels(values, concept, rng):
    ranked = Ranked(sparse.csc_array(values))
    other = rng.permutation(N_TEXTS)
    again = ranked.scores(sorting(concept).where(other)).auroc
    np.testing.assert_allclose(again, Ranked(sparse.csc_array(values)).scores(sorting(concept[other])).auroc)
    assert np.abs(again - ranked.scores(sorting(concept)).auroc).max() > 0.05


def test_a_concept_without_texts_has_no_score(values, concept):
    found = Ranked(sparse.csc_array(values)).scores(sorting(concept), concept != "c", precision=True)
    assert np.isnan(found.auroc[2]).all()
    assert np.isfinite(found.auroc[[0, 1, 3]]).all()


def test_nothing_fires(concept):
    found = Ranked(sparse.csc_array((N_TEXTS, D_SAE))).scores(sorting(concept))
    assert (found.auroc == 0.5).all()


def test_values_below_zero_are_refused(concept):
    with pytest.raises(ValueError, match="below zero"):
        Ranked(sparse.csc_array(-np.ones((N_TEXTS, 1))))


def test_texts_are_compared_within_their_style(values, concept, rng):
    style = np.where(np.isin(concept, ("a", "c")), "plain", "rich")
    style[concept == "neutral"] = rng.choice(["plain", "rich"], (concept == "neutral").sum())
    everywhere = np.ones(N_TEXTS, dtype=bool)
    found = Ranked(sparse.csc_array(values)).scores(sorting(concept, style), precision=True)
    for row, name in enumerate(NAMES):
        for score, scores in ((roc_auc_score, found.auroc), (average_precision_score, found.average_precision)):
            np.testing.assert_allclose(scores[row], by_hand(score, values, concept, name, everywhere, style), atol=1e-6)
