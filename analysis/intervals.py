"""AUROCs and correlations over many texts, with bootstrap intervals, in memory that grows with the texts alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

DRAWS = 500
DRAWS_AT_ONCE = 50


class Interval(NamedTuple):
    """A figure and its 95 % percentile interval."""

    value: float
    low: float
    high: float


def auroc_interval(
    own: Float[np.ndarray, " text"], others: Float[np.ndarray, " text"], seed: int = 0, draws: int = DRAWS
) -> Interval:
    """P(an own text scores above another) + P(tie) / 2; texts of both kinds are drawn anew.

    Each draw counts texts by distinct value, so it takes time in proportion to the texts, not to their pairs. ValueError
    without texts of both kinds.
    """
    if not len(own) or not len(others):
        raise ValueError(f"AUROC needs texts of both kinds, got {len(own)} positive and {len(others)} negative")
    distinct, place = np.unique(np.concatenate([own, others]), return_inverse=True)
    mine, theirs = place[: len(own)], place[len(own) :]
    rng = np.random.default_rng(seed)

    def score(mine: np.ndarray, theirs: np.ndarray) -> float:
        here, there = (np.bincount(some, minlength=len(distinct)) for some in (mine, theirs))
        below = np.cumsum(there) - there
        return float(here @ (below + there / 2)) / (len(mine) * len(theirs))

    drawn = [
        score(mine[rng.integers(len(mine), size=len(mine))], theirs[rng.integers(len(theirs), size=len(theirs))])
        for _ in range(draws)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(score(mine, theirs), float(low), float(high))


def pearson_interval(
    a: Float[np.ndarray, " text"], b: Float[np.ndarray, " text"], seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Pearson's r, 0 where one of them does not vary; texts are drawn anew."""
    a, b = (_standard(one) for one in (a, b))
    moments = np.stack([a, b, a * a, b * b, a * b], axis=1)
    rng, n = np.random.default_rng(seed), len(a)
    drawn = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        count = min(DRAWS_AT_ONCE, draws - start)
        weights = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(count)])
        mean_a, mean_b, square_a, square_b, product = (weights @ moments / n).T
        spread = np.sqrt(np.maximum((square_a - mean_a**2) * (square_b - mean_b**2), 1e-24))
        drawn += ((product - mean_a * mean_b) / spread).tolist()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(np.mean(a * b)), float(low), float(high))


def spearman_interval(
    a: Float[np.ndarray, " text"], b: Float[np.ndarray, " text"], seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Spearman's rho: Pearson's r of the ranks among all texts."""
    return pearson_interval(rankdata(a), rankdata(b), seed, draws)


def control_span(values: Float[np.ndarray, " control"]) -> tuple[float | None, float | None]:
    """The 5th and the 95th percentile of the controls' figures; None where there are no controls."""
    if not len(values):
        return None, None
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)


def _standard(values: np.ndarray) -> np.ndarray:
    """At mean 0 and standard deviation 1; all 0 where nothing varies."""
    centred = values.astype(float) - values.mean()
    spread = centred.std()
    return centred / spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else np.zeros(len(values))
