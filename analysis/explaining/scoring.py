"""From ratings to scores: how well an explanation tells excerpts apart, and whether it is this latent's own doing."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

LEAST = 4
"""Rated excerpts of either kind that a score needs."""
MIDDLE = 5.0
"""Ratings above say yes."""
DRAWS = 1000


@dataclass(frozen=True)
class Score:
    auroc: float
    low: float
    high: float
    """95 % bootstrap interval, excerpts of both kinds drawn anew."""
    accuracy: float
    """Balanced: the mean of both kinds' shares that are rated on the right side of the middle."""


def score(ratings: Float[np.ndarray, " item"], positive: Bool[np.ndarray, " item"], seed: int) -> Score | None:
    """Of the ratings that are there (NaN is missing); None where either kind has fewer than LEAST."""
    there = ~np.isnan(ratings)
    own, others = ratings[there & positive], ratings[there & ~positive]
    if min(len(own), len(others)) < LEAST:
        return None
    wins = _wins(own, others)
    accuracy = ((own > MIDDLE).mean() + (others <= MIDDLE).mean()) / 2
    return Score(float(wins.mean()), *_interval(wins, seed), float(accuracy))


def gain(
    ratings: Float[np.ndarray, " item"],
    shuffled: Float[np.ndarray, " item"],
    positive: Bool[np.ndarray, " item"],
    seed: int,
) -> tuple[float, float] | None:
    """95 % interval of how much higher the AUROC of `ratings` is than that of `shuffled`, on excerpts that both rated."""
    there = ~np.isnan(ratings) & ~np.isnan(shuffled)
    yes, no = there & positive, there & ~positive
    if min(yes.sum(), no.sum()) < LEAST:
        return None
    return _interval(_wins(ratings[yes], ratings[no]) - _wins(shuffled[yes], shuffled[no]), seed)


def _wins(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`[own, other]` 1 where the own one is rated higher, 1/2 where they tie: the mean is the AUROC (Mann-Whitney)."""
    return ((own[:, None] > others) + (own[:, None] >= others).astype(float)) / 2


def _interval(pairs: np.ndarray, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean over pairs, rows and columns drawn anew."""
    rng = np.random.default_rng(seed)
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n for n in pairs.shape)
    low, high = np.quantile(np.einsum("dp,pn,dn->d", rows, pairs, columns, optimize=True), [0.025, 0.975])
    return float(low), float(high)
