"""The rule by which a clamp is judged, in one place and fixed before the run.

Two claims are made about a concept: that its label's latents, which fire where the concept is, move the text towards it;
and that the latents do that write it (`analysis/labelling/writers.py`). One rule judges both.

The questions, in order:

1. Can the concept's judge tell its texts at all (lower end of its AUROC's interval above `least_judge_auroc`)? If not,
   the clamp cannot be judged: "no judge".
2. Does it do anything? The judge's effect must be at least `least_effect` of the way, and the intervals of the judge's
   effect and of the readout words' must lie above 0; otherwise "no effect".
3. Is what the model writes still fluent (`most_fluency_cost`)? Otherwise "breaks fluency".
4. Is it this clamp that does it? Among all controls, each read off where it moves the model's output (KL) as far as the
   clamp does, the clamp's judge effect has a rank p = (1 + controls that do as much) / (1 + controls). The p
   values must survive Benjamini-Hochberg at `most_q` over the claims of their sort, and a majority of those claims for
   concepts of other families, read off at the same KL, must not do as much; otherwise "unspecific".

Everything that passes is "validated". A control is judged by the same rule for each concept, as if it were the claim:
its p is its rank among the other controls, held against the largest p that Benjamini-Hochberg let pass. The
prompt is the unit: every interval is a bootstrap over prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from analysis.labelling.scores import benjamini_hochberg


@dataclass(frozen=True)
class VerdictRule:
    """What a clamp must show to be validated."""

    least_judge_auroc: float = 0.6
    """The lower end of the judge's held-out AUROC must lie above it."""
    least_effect: float = 0.05
    """Judge effect in shares of the way from other texts to the concept's own."""
    most_fluency_cost: float = 0.7
    """Nats per token that the clamped text may cost the unclamped model more than the baseline text does. Doses that may
    lie above it (by the upper end of the interval on choosing prompts) are not chosen either, where a smaller one keeps to
    it; it is also what the safe range keeps to."""
    most_q: float = 0.05
    """After Benjamini-Hochberg over the claims of one sort."""
    most_foreign: float = 0.5
    """Share of other families' claims that may do as much."""
    level: float = 0.95
    draws: int = 2000
    """Of the bootstrap over prompts."""
    power: float = 0.8
    """With which the smallest detectable effect would have been seen."""


@dataclass(frozen=True)
class Evidence:
    """What the rule looks at."""

    judge_auroc_low: float
    judge: float
    judge_low: float
    readout_low: float
    fluency: float
    p: float
    threshold: float
    """The largest p that passes."""
    foreign_share: float
    """Of other families' claims that do as much at the same KL; 0 where there are none."""


def verdict(rule: VerdictRule, shown: Evidence) -> str:
    """The status of one clamp."""
    if not shown.judge_auroc_low > rule.least_judge_auroc:
        return "no judge"
    if not (shown.judge >= rule.least_effect and shown.judge_low > 0 and shown.readout_low > 0):
        return "no effect"
    if not shown.fluency <= rule.most_fluency_cost:  # NaN, where nothing was written, is no fluent text
        return "breaks fluency"
    if shown.p > shown.threshold or shown.foreign_share > rule.most_foreign:
        return "unspecific"
    return "validated"


def rank_p(own: float, others: Float[np.ndarray, " control"]) -> float:
    """One-sided rank p of an effect among controls; a tie counts against it, and so does what cannot be known (NaN)."""
    return float((1 + np.sum(~(others < own))) / (1 + len(others)))


def largest_p(p: Sequence[float], most_q: float) -> float:
    """The largest p that Benjamini-Hochberg lets pass; where nothing passes, what one p alone would have to keep to."""
    values = np.asarray(p, dtype=float)
    passed = int(np.sum(benjamini_hochberg(values) <= most_q))
    return most_q * max(1, passed) / len(values)


def choose_dose(
    rule: VerdictRule, doses: Sequence[float], judge: Float[np.ndarray, " dose"], fluency: Float[np.ndarray, " dose"]
) -> int:
    """The place of the dose with the largest judge effect among those that keep fluency, else of the smallest dose.

    `judge` is a mean over choosing prompts, `fluency` the upper end of its interval over them: they are few, and what
    lies just below the limit on these lies above it on others as often as not.
    """
    fluent = np.flatnonzero(fluency <= rule.most_fluency_cost)
    if not len(fluent):
        return int(np.argmin(doses))
    return int(fluent[np.argmax(judge[fluent])])


def bootstrap_means(
    values: Float[np.ndarray, "prompt claim"], rule: VerdictRule, seed: int = 0
) -> tuple[Float[np.ndarray, " claim"], Float[np.ndarray, " claim"], Float[np.ndarray, " claim"]]:
    """Means over prompts and their percentile intervals, prompts drawn anew with replacement, the same for all claims."""
    drawn = _shares(len(values), rule.draws, seed) @ values
    low, high = np.quantile(drawn, [(1 - rule.level) / 2, (1 + rule.level) / 2], axis=0)
    return values.mean(axis=0), low, high


@lru_cache(maxsize=8)
def _shares(n: int, draws: int, seed: int) -> Float[np.ndarray, "draw n"]:
    """How much each of n things counts in each bootstrap draw."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws) / n


def detectable(
    rule: VerdictRule, values: Float[np.ndarray, " prompt"], controls: Float[np.ndarray, " control"], threshold: float
) -> float:
    """The smallest true judge effect that would have been validated with the rule's power.

    Its mean over as many prompts, spread as these are, must with that chance pass three bars: the rule's least effect,
    an interval above 0, and the controls' effects but for as many as the largest passing p allows. Infinite where there
    are too few controls for any p to pass.
    """
    from scipy.stats import norm

    allowed = int(np.floor(threshold * (1 + len(controls)) + 1e-9)) - 1
    if allowed < 0:
        return float("inf")
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("inf")
    above_zero = norm.ppf((1 + rule.level) / 2) * error
    ordered = np.sort(controls)[::-1]
    bar = ordered[allowed] if allowed < len(ordered) else -np.inf
    return float(max(rule.least_effect, above_zero, bar) + norm.ppf(rule.power) * error)
