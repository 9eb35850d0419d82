"""The rule by which a clamp is judged, in one place and fixed before the run.

The prompt is the unit: every interval is a bootstrap over prompts. A control is judged by the very rule that the label
is judged by, as if it were the claim, with itself left out of the bar; the label is never part of a bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.clamping.plan import Arm
from analysis.records import CONTROLS, ClampResult, Trial


@dataclass(frozen=True)
class VerdictRule:
    """What a clamp must show to be validated; the questions are asked in the order of the fields."""

    least_effect: float = 0.05
    """Judge effect (probability of the concept, clamped minus baseline) at least; below it, or where the interval of
    the judge or of the readout words does not lie above 0: "no effect"."""
    most_fluency_cost: float = 0.7
    """Nats per token that the clamped text may cost the unclamped model more than the baseline text does; above it:
    "breaks fluency". Doses above it are not chosen either, where a smaller one keeps to it."""
    above_every_control: bool = True
    """The judge effect must be larger than that of every other control of the concept (random latents, random
    directions, labels of other families); otherwise: "unspecific"."""
    level: float = 0.95
    draws: int = 2000
    """Of the bootstrap over prompts."""


def bootstrap_mean(
    values: Float[np.ndarray, " prompt"], rule: VerdictRule, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over prompts and its percentile interval, prompts drawn anew with replacement."""
    n = len(values)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=rule.draws)
    low, high = np.quantile(counts @ values / n, [(1 - rule.level) / 2, (1 + rule.level) / 2])
    return float(values.mean()), float(low), float(high)


def verdict(
    rule: VerdictRule, judge: float, judge_low: float, readout_low: float, fluency: float, control_judge_max: float
) -> str:
    """The status of one clamp."""
    if judge < rule.least_effect or judge_low <= 0 or readout_low <= 0:
        return "no effect"
    if not fluency <= rule.most_fluency_cost:  # NaN, where nothing was written, is no fluent text
        return "breaks fluency"
    if rule.above_every_control and judge <= control_judge_max:
        return "unspecific"
    return "validated"


def choose_dose(rule: VerdictRule, trials: Sequence[Trial]) -> float:
    """The dose with the largest judge effect on choosing prompts among those that keep fluency, else the smallest."""
    doses = sorted({trial.dose for trial in trials})
    assert doses, "there are no trials"
    assert all(trial.phase == "dose" for trial in trials), "a dose is chosen on choosing prompts only"
    mine = {dose: [trial for trial in trials if trial.dose == dose] for dose in doses}
    fluent = [dose for dose in doses if _mean_cost([trial.fluency for trial in mine[dose]]) <= rule.most_fluency_cost]
    if not fluent:
        return doses[0]
    return max(fluent, key=lambda dose: np.mean([trial.judge for trial in mine[dose]]))


def judge_arms(
    arms: Sequence[Arm], trials: Sequence[Trial], rule: VerdictRule, mean_length: float = 1.0, seed: int = 0
) -> list[ClampResult]:
    """What each arm of one concept did over its prompts, and its status."""
    of_arm = {arm: [trial for trial in trials if (trial.arm, trial.arm_id) == (arm.kind, arm.id)] for arm in arms}
    means = {
        arm: (np.mean([t.judge for t in mine]), np.mean([t.readout for t in mine])) for arm, mine in of_arm.items()
    }
    results = []
    for arm, mine in of_arm.items():
        assert len({trial.prompt_id for trial in mine}) == len(mine) > 0, f"one trial a prompt, {arm.kind} {arm.id}"
        bars = [means[other] for other in arms if other.kind in CONTROLS and other is not arm]
        judge_bar, readout_bar = (float(max((bar[i] for bar in bars), default=-np.inf)) for i in range(2))
        judge, judge_low, judge_high = bootstrap_mean(np.array([trial.judge for trial in mine]), rule, seed)
        readout, readout_low, readout_high = bootstrap_mean(np.array([trial.readout for trial in mine]), rule, seed)
        fluency = _mean_cost([trial.fluency for trial in mine])
        status = verdict(rule, judge, judge_low, readout_low, fluency, judge_bar)
        results.append(
            ClampResult(
                concept=arm.concept, arm=arm.kind, arm_id=arm.id, latents=list(arm.latents), dose=arm.dose,
                push=arm.push / mean_length, judge=judge, judge_low=judge_low, judge_high=judge_high, readout=readout,
                readout_low=readout_low, readout_high=readout_high, fluency=fluency, control_judge_max=judge_bar,
                control_readout_max=readout_bar, n_prompts=len(mine), status=status,
            )
        )  # fmt: skip
    return results


def _mean_cost(costs: Sequence[float]) -> float:
    """Mean over the prompts at which something was written; NaN where nothing ever was."""
    known = [cost for cost in costs if not np.isnan(cost)]
    return float(np.mean(known)) if known else float("nan")
