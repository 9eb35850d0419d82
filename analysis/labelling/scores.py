"""AUROC: how well a number tells texts of a concept from other texts. Exact, ties counted half (Mann-Whitney)."""

import numpy as np
from scipy import sparse
from scipy.stats import rankdata


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """P(a positive text scores above a negative one) + P(tie) / 2.

    `values` [text], `positive` [text] bool. ValueError without texts of both kinds.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(f"AUROC needs texts of both kinds, got {n_positive} positive and {n_negative} negative")
    ranks = rankdata(values)
    return (ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


class Ordered:
    """Firings `[text, latent]` sorted within each latent, once: the AUROCs of all latents for many labellings follow.

    Only texts at which a latent fires are sorted; the silent ones tie at the bottom (values are never negative).
    """

    def __init__(self, pooled: sparse.csc_array):
        pooled = pooled.tocsc()
        pooled.eliminate_zeros()
        self.d_sae = pooled.shape[1]
        column = np.repeat(np.arange(self.d_sae), np.diff(pooled.indptr))
        order = np.lexsort((pooled.data, column))
        value, owner = pooled.data[order], column[order]
        fresh = np.ones(len(order), dtype=bool)
        fresh[1:] = (value[1:] != value[:-1]) | (owner[1:] != owner[:-1])
        self.text = pooled.indices[order]
        self.start = np.flatnonzero(fresh)  # of each group of equal values
        self.latent = owner[self.start]  # of each group

    def aurocs(self, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
        """[latent] AUROC of the positive texts against the negative ones, both `[text]` bool; others do not count."""
        n_positive, n_negative = int(positive.sum()), int(negative.sum())
        if not len(self.start):
            return np.full(self.d_sae, 0.5)
        above = np.add.reduceat(positive[self.text].astype(float), self.start)
        level = np.add.reduceat(negative[self.text].astype(float), self.start)
        firing_positive = np.bincount(self.latent, above, self.d_sae)
        firing_negative = np.bincount(self.latent, level, self.d_sae)
        earlier = np.cumsum(firing_negative) - firing_negative  # those of the latents before this one
        below = np.cumsum(level) - level - earlier[self.latent]
        silent = n_negative - firing_negative
        wins = np.bincount(self.latent, above * (silent[self.latent] + below + 0.5 * level), self.d_sae)
        return (wins + 0.5 * (n_positive - firing_positive) * silent) / (n_positive * n_negative)


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


def bootstrap_auroc(
    values: np.ndarray, positive: np.ndarray, rng: np.random.Generator, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the AUROC, texts of both kinds drawn anew with replacement."""
    above = values[positive][:, None] - values[~positive][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    rows = rng.multinomial(wins.shape[0], np.full(wins.shape[0], 1 / wins.shape[0]), size=draws) / wins.shape[0]
    columns = rng.multinomial(wins.shape[1], np.full(wins.shape[1], 1 / wins.shape[1]), size=draws) / wins.shape[1]
    scores = np.einsum("dp,pn,dn->d", rows, wins, columns, optimize=True)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values: the false discovery rate at which each would just be found (Benjamini & Hochberg 1995)."""
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q
