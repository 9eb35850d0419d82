"""What an SAE has to beat, on the same texts and by the same statistics.

Single units chosen on finding texts: the latents of an untrained SAE, the MLP's neurons, the stream's own coordinates.
Directions made from finding texts: the difference of means, plain and as Anthropic's emotion vectors are made, and a
logistic probe.
"""

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from analysis.concepts.concept import NEUTRAL
from analysis.labelling.choose import Finding, Pools
from analysis.labelling.logistic import fit_logistic
from analysis.labelling.ranking import Ranked, Sorting
from analysis.labelling.scores import UNKNOWN, Compared, Unknown, compare
from analysis.labelling.split import TextTable, topic_folds
from analysis.observe import Dense
from analysis.records import Baseline

DRAWS = 500
STRENGTHS = (0.001, 0.01, 0.1)
"""Of the probe; each concept's is chosen by topic folds of its finding texts."""
FOLDS = 3
NEUTRAL_VARIANCE = 0.5
"""The share of neutral texts' variance whose components are taken out of the denoised differences of means."""


def difference_of_means(means: np.ndarray, table: TextTable, concept: str) -> np.ndarray:
    """[d_in] mean of the concept's finding texts minus mean of the finding texts it is compared with."""
    own, others = table.positives(concept, "finding"), table.negatives(concept, "finding")
    return means[own].mean(axis=0) - means[others].mean(axis=0)


def emotion_vectors(means: np.ndarray, table: TextTable, concepts: tuple[str, ...]) -> np.ndarray:
    """[concept, d_in] mean of a concept's finding texts minus the mean over concepts (of its style), without the components
    that carry half of the variance of neutral texts, where there are any (Sofroniew et al.,
    transformer-circuits.pub/2026/emotions)."""
    centres = np.stack([means[table.positives(name, "finding")].mean(axis=0) for name in concepts])
    style = np.array([table.style[table.positives(name, "finding")[0]] for name in concepts])
    centred = centres - np.stack([centres[style == one].mean(axis=0) for one in style])
    neutral = means[table.positives(NEUTRAL, "finding")]
    if not len(neutral):
        return centred
    _, singular, axes = np.linalg.svd(neutral - neutral.mean(axis=0), full_matrices=False)
    explained = np.cumsum(singular**2) / max(float((singular**2).sum()), 1e-12)
    axes = axes[: 1 + int(np.searchsorted(explained, NEUTRAL_VARIANCE))]
    return centred - centred @ axes.T @ axes


def probe_scores(means: np.ndarray, table: TextTable, concepts: tuple[str, ...], seed: int = 0) -> np.ndarray:
    """[text, concept] log-odds of logistic probes, fitted on finding texts."""
    finding = np.flatnonzero(table.split == "finding")
    x = (means - means[finding].mean(axis=0)) / np.maximum(means[finding].std(axis=0), 1e-6)
    sorting = Sorting.of(table.concept[finding], table.family[finding], concepts, table.style[finding])
    positive = sorting.concept[:, None] == np.arange(len(concepts))
    first = positive.argmax(axis=0)
    other_family = sorting.family[:, None] != sorting.family[first]
    counted = positive | (other_family & (sorting.style[:, None] == sorting.style[first]))
    fold = topic_folds(table.topic[finding], FOLDS, np.random.default_rng(seed))
    worth = np.zeros((len(STRENGTHS), len(concepts)))
    for place, strength in enumerate(STRENGTHS):
        for out in (fold == one for one in np.unique(fold)):
            weights = fit_logistic(x[finding[~out]], positive[~out], counted[~out], strength)
            scores = x[finding[out]] @ weights[:-1]
            shifted = sparse.csc_array(scores - scores.min(axis=0))
            aurocs = Ranked(shifted).scores(sorting.where(np.flatnonzero(out))).auroc
            worth[place] += np.nan_to_num(np.diagonal(aurocs), nan=0.5)
    best = worth.argmax(axis=0)
    found = np.zeros((len(x), len(concepts)))
    for place, strength in enumerate(STRENGTHS):
        if (mine := best == place).any():
            weights = fit_logistic(x[finding], positive[:, mine], counted[:, mine], strength)
            found[:, mine] = x @ weights[:-1] + weights[-1]
    return found


def best_units(dense: Dense, table: TextTable, concepts: tuple[str, ...]) -> dict[str, tuple[str, np.ndarray]]:
    """For each concept the best single unit, its sign and its pooling, chosen on finding texts: its name, its [text] values."""
    finding = np.flatnonzero(table.split == "finding")
    sorting = Sorting.of(table.concept[finding], table.family[finding], concepts, table.style[finding])
    found: dict[str, tuple[float, str, np.ndarray]] = {}
    for pooling, values in (("mean", dense.mean), ("highest", dense.highest), ("lowest", dense.lowest)):
        here = values[finding]
        scores = Ranked(sparse.csc_array(here - here.min(axis=0))).scores(sorting).auroc
        for name, row in zip(concepts, scores, strict=True):
            unit = int(np.abs(row - 0.5).argmax())
            worth, sign = abs(float(row[unit]) - 0.5), 1 if row[unit] >= 0.5 else -1
            if name not in found or worth > found[name][0]:
                found[name] = (worth, f"{'-' if sign < 0 else ''}{unit} {pooling}", sign * values[:, unit])
    return {name: (unit, values) for name, (_, unit, values) in found.items()}


def best_latents(pools: Pools, finding: Finding) -> dict[str, tuple[str, np.ndarray]]:
    """For each concept the latent that detects it best on finding texts: its name, its [text] values."""
    found = {}
    for name, candidates in zip(finding.sorting.names, finding.detectors, strict=True):
        pooling, latent, _ = candidates[0]
        found[name] = (f"{latent} {pooling}", pools.score(pooling, [latent], [1.0]))
    return found


def baseline(method: str, scores: np.ndarray, table: TextTable, concept: str, unit: str = "") -> Baseline:
    """The record of any number per text."""

    checking, everyone, implicit = on_held_out(scores, table, concept)
    return Baseline(
        concept, method, checking.auroc, everyone.auroc, implicit.auroc, unit, checking.low, checking.high,
        everyone.low, everyone.high, implicit.low, implicit.high,
    )  # fmt: skip


def on_held_out(scores: np.ndarray, table: TextTable, concept: str) -> tuple[Compared, Compared, Compared | Unknown]:
    """Any number per text on checking texts, on those with siblings among the negatives, and on implicit texts, if any."""

    def against(split: str, siblings: bool = False) -> Compared:
        own, others = table.positives(concept, split), table.negatives(concept, split, siblings)
        return compare(scores[own], scores[others], draws=DRAWS)

    implicit = against("implicit") if len(table.positives(concept, "implicit")) else UNKNOWN
    return against("checking"), against("checking", siblings=True), implicit


def all_baselines(
    pools: Mapping[str, Pools], findings: Mapping[str, Finding], dense: Mapping[str, Dense], means: np.ndarray,
    table: TextTable, concepts: tuple[str, ...], seed: int = 0,
) -> list[Baseline]:  # fmt: skip
    """Every method's record of every concept; `pools`, `findings` and `dense` by the method's name."""
    units = {method: best_latents(found, findings[method]) for method, found in pools.items()}
    units |= {method: best_units(found, table, concepts) for method, found in dense.items()}
    directions = {
        "diff_means": np.stack([difference_of_means(means, table, name) for name in concepts]),
        "diff_means_denoised": emotion_vectors(means, table, concepts),
    }
    scores = {method: means @ matrix.T for method, matrix in directions.items()}
    scores["probe"] = probe_scores(means, table, concepts, seed)
    rows = [
        baseline(method, values, table, name, unit)
        for method, found in units.items()
        for name, (unit, values) in found.items()
    ]
    return rows + [
        baseline(method, values[:, place], table, name)
        for method, values in scores.items()
        for place, name in enumerate(concepts)
    ]
