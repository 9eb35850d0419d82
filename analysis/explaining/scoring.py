"""From ratings to scores: how well an explanation tells excerpts apart, and whether another latent's does as well."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from analysis.labelling.scores import Compared, advantage, compare

LEAST = 4
"""Rated excerpts of either kind that a score needs."""
MIDDLE = 5.0
"""Ratings above say yes."""


@dataclass(frozen=True)
class Score:
    auroc: float
    low: float
    high: float
    """95 % bootstrap interval, excerpts of both kinds drawn anew."""
    accuracy: float
    """Balanced: the mean of both kinds' shares that are rated on the right side of the middle."""


def score(ratings: Float[np.ndarray, " item"], positive: Bool[np.ndarray, " item"]) -> Score | None:
    """Of the ratings that are there (NaN is missing); None where either kind has fewer than LEAST."""
    there = ~np.isnan(ratings)
    own, others = ratings[there & positive], ratings[there & ~positive]
    if min(len(own), len(others)) < LEAST:
        return None
    return Score(*compare(own, others), float(((own > MIDDLE).mean() + (others <= MIDDLE).mean()) / 2))


def gain(
    ratings: Float[np.ndarray, " item"], shuffled: Float[np.ndarray, " item"], positive: Bool[np.ndarray, " item"]
) -> Compared | None:
    """How much higher the AUROC of `ratings` is than that of `shuffled`, on the excerpts that both rated."""
    there = ~np.isnan(ratings) & ~np.isnan(shuffled)
    yes, no = there & positive, there & ~positive
    if min(yes.sum(), no.sum()) < LEAST:
        return None
    return advantage(ratings[yes], ratings[no], shuffled[yes], shuffled[no])
