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
    """Fitted without each fold, `[fold, latent]` (the ratings' centre `[fold, 1]`)."""

    slope: np.ndarray
    centre: np.ndarray
    """Mean value: the line goes through it and the mean rating."""
    rating: np.ndarray
    """Mean rating."""


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
        name: over_concepts(
            columns, table.concept, ratings, Lines(lines.slope[:, order], lines.centre[:, order], lines.rating)
        )
        for name, (ratings, lines) in dimensions.items()
    }
    return [
        Affect(
            latent=latent, pooling=pooling, n_texts=int((checking >= 0).sum()), n_concepts=len(rated),
            **{
                f"{name}_{what}": float(value)
                for name in dimensions
                for what, value in (
                    *zip(("r", "low", "high"), (part[place] for part in reported[name]), strict=True),
                    ("slope", slope[name][latent]),
                    ("finding", correlation[name][latent]),
                )
            },
        )
        for place, latent in enumerate(order)
    ]  # fmt: skip


def fit(x: sparse.csc_array, ratings: Ratings) -> tuple[Lines, np.ndarray]:
    """Every latent's line without each fold, and its slope over all folds [latent]."""
    n, sx, sxx, sxy, sy, _ = _sums(x, ratings)
    left = [part.sum(axis=0) - part for part in (n, sx, sxx, sxy, sy)]
    lines = Lines(_slope(*left), left[1] / np.maximum(left[0], 1), left[4] / np.maximum(left[0], 1))
    return lines, _slope(*(part.sum(axis=0) for part in (n, sx, sxx, sxy, sy)))


def correlate(x: sparse.csc_array, ratings: Ratings, lines: Lines) -> np.ndarray:
    """[latent] correlation of rating and prediction over texts; 0 for a latent that predicts nothing.

    Both are counted from the mean rating that the line was fitted with. Otherwise a latent of no use would correlate below
    zero: where the ratings left out are high, the mean of the others, which it predicts, is low.
    """
    n, sx, sxx, sxy, sy, syy = _sums(x, ratings)
    b, m, mean = lines.slope, lines.centre, lines.rating
    predicted = b * (sx - n * m)
    squares = b**2 * (sxx - 2 * m * sx + n * m**2)
    products = b * (sxy - mean * sx - m * (sy - n * mean))
    sums = (n, predicted, squares, products, sy - n * mean, syy - 2 * mean * sy + n * mean**2)
    return _correlation(*(part.sum(axis=0) for part in sums))


def over_concepts(
    columns: np.ndarray, concept: np.ndarray, ratings: Ratings, lines: Lines
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The correlation of each column, and its 95 % interval, concepts drawn anew with replacement: [column] each."""
    texts = np.flatnonzero(ratings.fold >= 0)
    fold = ratings.fold[texts]
    y = ratings.rating[texts] - lines.rating[fold, 0]
    predicted = lines.slope[fold] * (columns[texts] - lines.centre[fold])
    names, owner = np.unique(concept[texts], return_inverse=True)
    parts = [np.ones_like(predicted), predicted, predicted**2, predicted * y[:, None],
             np.broadcast_to(y[:, None], predicted.shape), np.broadcast_to(y[:, None] ** 2, predicted.shape)]  # fmt: skip
    by_concept = np.zeros((len(names), len(parts), columns.shape[1]))
    np.add.at(by_concept, owner, np.stack(parts, axis=1))
    draws = np.random.default_rng(len(names)).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)

    drawn = _correlation(*np.moveaxis(np.tensordot(draws, by_concept, axes=1), 1, 0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return _correlation(*by_concept.sum(axis=0)), low, high


def _sums(x: sparse.csc_array, ratings: Ratings) -> list[np.ndarray]:
    """n, sum x, sum xx, sum xy, sum y, sum yy over each fold's texts: `[fold, latent]` each, or `[fold, 1]`."""
    texts = np.flatnonzero(ratings.fold >= 0)
    y = np.nan_to_num(ratings.rating[texts])
    member = sparse.csr_array((np.ones(len(texts)), (ratings.fold[texts], texts)), shape=(FOLDS, x.shape[0]))
    rated = sparse.csr_array((y, (ratings.fold[texts], texts)), shape=(FOLDS, x.shape[0]))
    n, sy, syy = (np.bincount(ratings.fold[texts], part, FOLDS)[:, None] for part in (np.ones(len(texts)), y, y**2))
    return [n, (member @ x).toarray(), (member @ x.power(2)).toarray(), (rated @ x).toarray(), sy, syy]


def _correlation(
    n: np.ndarray, x: np.ndarray, xx: np.ndarray, xy: np.ndarray, y: np.ndarray, yy: np.ndarray
) -> np.ndarray:
    """From sums over texts; 0 where either does not vary."""
    spread = np.sqrt(np.maximum(xx - x**2 / n, 0) * np.maximum(yy - y**2 / n, 0))
    return np.divide(xy - x * y / n, spread, out=np.zeros_like(spread), where=spread > 1e-9)


def _slope(n: np.ndarray, sx: np.ndarray, sxx: np.ndarray, sxy: np.ndarray, sy: np.ndarray) -> np.ndarray:
    variance = sxx - sx**2 / np.maximum(n, 1)
    covariance = sxy - sx * sy / np.maximum(n, 1)
    return np.divide(covariance, variance, out=np.zeros_like(covariance), where=variance > 1e-9)
