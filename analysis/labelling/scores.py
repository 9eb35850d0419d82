"""AUROC: how well a number tells texts of a concept from other texts. Exact, ties counted half (Mann-Whitney)."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

DRAWS = 1000
"""Of a bootstrap interval."""


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """P(a positive text scores above a negative one) + P(tie) / 2.

    `values` [text], `positive` [text] bool. ValueError without texts of both kinds.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(f"AUROC needs texts of both kinds, got {n_positive} positive and {n_negative} negative")
    ranks = rankdata(values)
    return (ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def aurocs(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[column] the AUROC of each column: `own` [text, column] against `others` [text, column]."""
    ordered = np.sort(others, axis=0)
    wins = [
        np.searchsorted(column, mine, "left").sum() + np.searchsorted(column, mine, "right").sum()
        for column, mine in zip(ordered.T, own.T, strict=True)
    ]
    return np.array(wins) / (2 * len(own) * len(others))


def average_precision(own: np.ndarray, others: np.ndarray) -> float:
    """The mean, over own texts, of the share of own texts among all that score at least as high."""
    above = len(own) - np.searchsorted(np.sort(own), own, "left")
    wrong = len(others) - np.searchsorted(np.sort(others), own, "left")
    return float((above / (above + wrong)).mean())


class Compared(NamedTuple):
    """An AUROC with its 95 % bootstrap interval, texts of both kinds drawn anew with replacement."""

    auroc: float
    low: float
    high: float


class Unknown(NamedTuple):
    """What stands in for a comparison where there are no texts to compare."""

    auroc: None = None
    low: None = None
    high: None = None


UNKNOWN = Unknown()


def compare(
    own: np.ndarray, others: np.ndarray, matched: np.ndarray | None = None, draws: int = DRAWS, level: float = 0.95
) -> Compared:
    """How well values tell texts apart, `own` [n] against `others` [m]; with `matched` [n, m] bool in these pairs only.

    The draws are the same for the same numbers of texts, so that what is compared on them differs by more than chance.
    ValueError without a pair.
    """
    if not len(own) or not len(others) or not (matched is None or matched.any()):
        raise ValueError(f"AUROC needs texts of both kinds to compare, got {len(own)} and {len(others)}")
    wins = _wins(own, others)
    mine, theirs = _resampled(len(own), draws, 0), _resampled(len(others), draws, 1)
    pairs = np.full(draws, float(wins.size))
    if matched is not None:
        wins = wins * matched
        pairs = np.einsum("dm,dm->d", mine @ matched.astype(np.float32), theirs)
    won = np.einsum("dm,dm->d", mine @ wins, theirs)
    low, high = np.quantile(won[pairs > 0] / pairs[pairs > 0], [(1 - level) / 2, (1 + level) / 2])
    count = wins.size if matched is None else matched.sum()
    return Compared(float(wins.sum(dtype=float) / count), float(low), float(high))


def advantage(
    own: np.ndarray, others: np.ndarray, rival_own: np.ndarray, rival_others: np.ndarray, level: float = 0.95
) -> Compared:
    """How much higher the AUROC of one set of values is than a rival's on the same texts, drawn anew for both at once."""
    pairs = _wins(own, others) - _wins(rival_own, rival_others)
    gained = np.einsum("dm,dm->d", _resampled(len(own), DRAWS, 0) @ pairs, _resampled(len(others), DRAWS, 1))
    low, high = np.quantile(gained / pairs.size, [(1 - level) / 2, (1 + level) / 2])
    return Compared(float(pairs.mean(dtype=float)), float(low), float(high))


def _wins(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`[own, other]` 1 where the own text scores higher, 1/2 where they tie: the mean is the AUROC (Mann-Whitney)."""
    return ((own[:, None] > others).astype(np.float32) + (own[:, None] >= others)) / 2


@lru_cache(maxsize=64)
def _resampled(n: int, draws: int, stream: int) -> np.ndarray:
    """[draw, text] how often each of n texts comes in a sample of n with replacement."""
    drawn = np.random.default_rng([n, stream]).integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float32)


def permutation_p(values: np.ndarray, positive: np.ndarray, rng: np.random.Generator, draws: int = 20_000) -> float:
    """One-sided p of the AUROC: the share of random labellings (this one among them) that score at least as high."""
    ranks = rankdata(values)
    n_positive = int(positive.sum())
    observed = ranks[positive].sum()
    reached = done = 0
    while done < draws:
        chosen = _subsets(len(values), n_positive, min(2000, draws - done), rng)
        reached += int((ranks[chosen].sum(axis=1) >= observed - 1e-9).sum())
        done += len(chosen)
    return (1 + reached) / (1 + done)


def _subsets(n: int, size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`[subset, place]`: at most `count` subsets of n things, each as likely as any other.

    Small subsets are drawn place by place and thrown away where a thing comes twice; larger ones by sorting.
    """
    if size * (size - 1) < n:  # most draws survive
        chosen = np.sort(rng.integers(n, size=(count, size)), axis=1)
        whole = chosen[(np.diff(chosen, axis=1) > 0).all(axis=1)]
        if len(whole):
            return whole
    return rng.random((count, n)).argpartition(size - 1, axis=1)[:, :size]


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values: the false discovery rate at which each would just be found (Benjamini & Hochberg 1995)."""
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q
