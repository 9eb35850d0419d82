"""Valence and arousal: how well each latent predicts the human ratings of a text's concept, that concept left out.

A straight line from a latent's pooled value to the rating is fitted on finding texts of the rated concepts in all folds
but one, and predicts the concepts of that fold. Whole concepts share a fold, so none predicts itself. Sums over each fold's
texts give every latent's line and correlation at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from analysis.concepts.concept import ConceptSet
from analysis.labelling.split import TextTable
from analysis.records import Affect

FOLDS = 8
LEAST_CONCEPTS = 8
"""Fewer rated concepts say nothing of a correlation."""
STRONGEST = 20
"""Latents kept for each dimension beside those that labels hold: the strongest on finding texts."""
DRAWS = 500


class Ratings(NamedTuple):
    """One dimension's rating of each text, and the fold of its concept."""

    rating: np.ndarray
    """[text] nan where the concept is not rated."""
    fold: np.ndarray
    """[text] -1 where it is not rated."""


class Lines(NamedTuple):
    slope: np.ndarray
    """[fold, latent] fitted without the fold."""
    intercept: np.ndarray


def affect(
    pooled: sparse.csc_array, pooling: str, scales: np.ndarray, table: TextTable, concept_set: ConceptSet,
    latents: Sequence[int], seed: int = 0,
) -> list[Affect]:  # fmt: skip
    """The latents asked for and the strongest of each dimension; empty where too few concepts are rated.

    `pooled` [text, latent], `scales` [latent] a dose unit of each.
    """
    rated = [name for name, one in concept_set.concepts.items() if one.valence is not None and one.arousal is not None]
    if len(rated) < LEAST_CONCEPTS:
        return []
    unit = np.where(scales > 0, scales, 1.0)
    x = sparse.csc_array(pooled @ sparse.diags_array(1 / unit))
    fold_of = dict(
        zip(np.random.default_rng(seed).permutation(rated).tolist(), np.arange(len(rated)) % FOLDS, strict=True)
    )
    fold = np.array([fold_of.get(name, -1) for name in table.concept.tolist()])
    finding, checking = (np.where(table.split == split, fold, -1) for split in ("finding", "checking"))
    correlation, slope, kept = {}, {}, set(map(int, latents))
    dimensions = {}
    for name in ("valence", "arousal"):
        by_concept = {one: getattr(concept_set.concepts[one], name) for one in rated}
        rating = np.array([by_concept.get(one, np.nan) for one in table.concept.tolist()])
        lines, slope[name] = fit(x, Ratings(rating, finding))
        correlation[name] = correlate(x, Ratings(rating, finding), lines)
        dimensions[name] = (Ratings(rating, checking), lines)
        kept |= set(np.argsort(-correlation[name])[:STRONGEST].tolist())
    order = sorted(kept)
    columns = x[:, order].toarray()
    reported = {
        name: over_concepts(columns, table.concept, ratings, Lines(lines.slope[:, order], lines.intercept[:, order]))
        for name, (ratings, lines) in dimensions.items()
    }
    return [
        Affect(
            latent, pooling,
            *(float(part[place]) for part in reported["valence"]), float(slope["valence"][latent]), float(correlation["valence"][latent]),
            *(float(part[place]) for part in reported["arousal"]), float(slope["arousal"][latent]), float(correlation["arousal"][latent]),
            int((checking >= 0).sum()), len(rated),
        )
        for place, latent in enumerate(order)
    ]  # fmt: skip


def fit(x: sparse.csc_array, ratings: Ratings) -> tuple[Lines, np.ndarray]:
    """Every latent's line without each fold, and its slope over all folds [latent]."""
    n, sx, sxx, sxy, sy, _ = _sums(x, ratings)
    left = [part.sum(axis=0) - part for part in (n, sx, sxx, sxy, sy)]
    slope = _slope(*left)
    intercept = (left[4] - slope * left[1]) / np.maximum(left[0], 1)
    return Lines(slope, intercept), _slope(*(part.sum(axis=0) for part in (n, sx, sxx, sxy, sy)))


def correlate(x: sparse.csc_array, ratings: Ratings, lines: Lines) -> np.ndarray:
    """[latent] correlation of rating and prediction over texts; 0 for a latent that predicts nothing.

    A latent of no use predicts the other folds' mean, which leaves a small correlation below zero.
    """
    n, sx, sxx, sxy, sy, syy = _sums(x, ratings)
    a, b = lines.intercept, lines.slope
    predicted, squares, products = n * a + b * sx, n * a**2 + 2 * a * b * sx + b**2 * sxx, a * sy + b * sxy
    count, p, pp, py, y, yy = (part.sum(axis=0) for part in (n, predicted, squares, products, sy, syy))
    spread = np.sqrt(np.maximum(pp - p**2 / count, 0) * np.maximum(yy - y**2 / count, 0))
    return np.divide(py - p * y / count, spread, out=np.zeros_like(spread), where=spread > 1e-9)


def over_concepts(
    columns: np.ndarray, concept: np.ndarray, ratings: Ratings, lines: Lines
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The correlation of each column, and its 95 % interval, concepts drawn anew with replacement: [column] each."""
    texts = np.flatnonzero(ratings.fold >= 0)
    fold, y = ratings.fold[texts], ratings.rating[texts]
    predicted = lines.intercept[fold] + lines.slope[fold] * columns[texts]
    names, owner = np.unique(concept[texts], return_inverse=True)
    parts = [np.ones_like(predicted), predicted, predicted**2, predicted * y[:, None],
             np.broadcast_to(y[:, None], predicted.shape), np.broadcast_to(y[:, None] ** 2, predicted.shape)]  # fmt: skip
    by_concept = np.zeros((len(names), len(parts), columns.shape[1]))
    np.add.at(by_concept, owner, np.stack(parts, axis=1))
    draws = np.random.default_rng(len(names)).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)

    def r(sums: np.ndarray) -> np.ndarray:
        count, p, pp, py, y, yy = np.moveaxis(sums, -2, 0)
        spread = np.sqrt(np.maximum(pp - p**2 / count, 0) * np.maximum(yy - y**2 / count, 0))
        return np.divide(py - p * y / count, spread, out=np.zeros_like(spread), where=spread > 1e-9)

    low, high = np.quantile(r(np.tensordot(draws, by_concept, axes=1)), [0.025, 0.975], axis=0)
    return r(by_concept.sum(axis=0)), low, high


def _sums(x: sparse.csc_array, ratings: Ratings) -> list[np.ndarray]:
    """n, sum x, sum xx, sum xy, sum y, sum yy over each fold's texts: `[fold, latent]` each, or `[fold, 1]`."""
    texts = np.flatnonzero(ratings.fold >= 0)
    y = np.nan_to_num(ratings.rating[texts])
    member = sparse.csr_array((np.ones(len(texts)), (ratings.fold[texts], texts)), shape=(FOLDS, x.shape[0]))
    rated = sparse.csr_array((y, (ratings.fold[texts], texts)), shape=(FOLDS, x.shape[0]))
    n, sy, syy = (np.bincount(ratings.fold[texts], part, FOLDS)[:, None] for part in (np.ones(len(texts)), y, y**2))
    return [n, (member @ x).toarray(), (member @ x.power(2)).toarray(), (rated @ x).toarray(), sy, syy]


def _slope(n: np.ndarray, sx: np.ndarray, sxx: np.ndarray, sxy: np.ndarray, sy: np.ndarray) -> np.ndarray:
    variance = sxx - sx**2 / np.maximum(n, 1)
    covariance = sxy - sx * sy / np.maximum(n, 1)
    return np.divide(covariance, variance, out=np.zeros_like(covariance), where=variance > 1e-9)
