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


def column_ranks(pooled: sparse.csc_array) -> np.ndarray:
    """Ranks of every latent's values over texts, `[text, latent]`, ties sharing their mean rank.

    Only texts at which a latent fires are sorted; the silent ones tie at the bottom (values are never negative).
    """
    n_texts, d_sae = pooled.shape
    pooled = pooled.tocsc()
    pooled.eliminate_zeros()
    count = np.diff(pooled.indptr)
    ranks = np.empty((n_texts, d_sae), dtype=np.float32)
    ranks[:] = (n_texts - count + 1) / 2  # the mean of ranks 1 .. number of silent texts
    column = np.repeat(np.arange(d_sae), count)
    order = np.lexsort((pooled.data, column))
    place = np.arange(len(order)) - pooled.indptr[column[order]] + 1 + (n_texts - count)[column[order]]
    value, owner = pooled.data[order], column[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (value[1:] != value[:-1]) | (owner[1:] != owner[:-1])
    group = np.cumsum(fresh) - 1
    mean_place = np.bincount(group, weights=place) / np.bincount(group) if len(order) else np.zeros(0)
    ranks[pooled.indices[order], owner] = mean_place[group]
    return ranks


def auroc_of_ranks(ranks: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """AUROC of every latent for one or many labellings: ranks `[text, latent]`, positive `[..., text]` -> `[..., latent]`.

    Every labelling has the same number of positives.
    """
    n_positive = int(positive.reshape(-1, positive.shape[-1])[0].sum())
    n_negative = positive.shape[-1] - n_positive
    sums = positive.astype(np.float32) @ ranks
    return (sums - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


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
