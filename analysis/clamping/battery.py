"""What the whole battery did, as one tensor with its arms by name, and the rows that a study keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.clamping.judge import Judge
from analysis.clamping.matching import cost_weights, kl_weights, safe_bound
from analysis.clamping.plan import Arm, Prompt
from analysis.clamping.trial import Baseline, Effects
from analysis.clamping.verdict import (
    Evidence,
    VerdictRule,
    bootstrap_means,
    detectable,
    largest_p,
    rank_p,
    verdict,
)
from analysis.labelling.scores import benjamini_hochberg
from analysis.records import CLAIMS, CONTROLS, ClampResult, ConceptEffect, DosePoint, Trial


@dataclass(frozen=True)
class Curves:
    """Arms of one sort, each at several pushes, as the places of their effects."""

    ids: list[str]
    places: np.ndarray
    """[id, push] in the order of pushes."""


@dataclass(frozen=True)
class Deed:
    """What one arm did, prompt by prompt; for an arm that is read off between two pushes, the mixture of both."""

    concept: str
    claim: str
    """Which of the two `CLAIMS` it is, or stands beside."""
    arm: Arm
    push: float
    judge: Float[np.ndarray, "prompt concept"]
    readout: Float[np.ndarray, "prompt concept"]
    fluency: float
    kl: float


@dataclass(frozen=True)
class Matched:
    """Controls (or other claims) where they move the output as far as a claim does, seen by the claim's concept."""

    reached: np.ndarray
    """[control] bool."""
    weights: Float[np.ndarray, "control push"]
    judge: Float[np.ndarray, "control prompt"]
    readout: Float[np.ndarray, "control prompt"]

    @property
    def means(self) -> Float[np.ndarray, " reached"]:
        return self.judge[self.reached].mean(axis=1)


@dataclass(frozen=True)
class Battery:
    """The reporting phase: every arm at every reporting prompt."""

    arms: Sequence[Arm]
    prompts: Sequence[Prompt]
    effects: Effects
    chosen: Mapping[tuple[str, str], float]
    """(one of `CLAIMS`, concept) -> the dose at which the claim is judged."""
    judge: Judge
    families: Mapping[str, str]
    """concept -> family."""
    rule: VerdictRule
    mean_length: float
    """Of the residual stream."""
    seed: int = 0

    @cached_property
    def kl(self) -> Float[np.ndarray, " arm"]:
        return self.effects.kl.mean(axis=1)

    @cached_property
    def fluency(self) -> Float[np.ndarray, " arm"]:
        return np.array([mean_cost(costs) for costs in self.effects.fluency])

    def column(self, concept: str) -> int:
        return self.judge.concepts.index(concept)

    def curves(self, *kinds: str) -> Curves:
        """The arms of these kinds, by id."""
        of_id: dict[str, list[int]] = {}
        for place, arm in enumerate(self.arms):
            if arm.kind in kinds:
                of_id.setdefault(arm.id, []).append(place)
        return Curves(
            list(of_id), np.array([sorted(found, key=lambda at: self.arms[at].push) for found in of_id.values()])
        )

    @cached_property
    def controls(self) -> Curves:
        return self.curves(*CONTROLS)

    @cached_property
    def claims(self) -> dict[str, Curves]:
        """Each of the two claims at all doses."""
        return {claim: self.curves(claim) for claim in CLAIMS}

    def matched(self, curves: Curves, kl: float, concept: str) -> Matched:
        """The curves where their KL is `kl`, as they move `concept`."""
        weights, reached = kl_weights(self.kl[curves.places], kl)
        column = self.column(concept)
        judge, readout = (
            np.einsum("cs,csp->cp", weights, part[curves.places, :, column])
            for part in (self.effects.judge, self.effects.readout)
        )
        return Matched(reached, weights, judge, readout)

    def foreign(self, kl: float, concept: str, claim: str) -> Float[np.ndarray, " other"]:
        """What the same claim for concepts of other families does to `concept` where it moves the output as far, where it does."""
        curves = self.claims[claim]
        others = [place for place, name in enumerate(curves.ids) if self.families[name] != self.families[concept]]
        if not others:
            return np.zeros(0)
        return self.matched(Curves([curves.ids[at] for at in others], curves.places[others]), kl, concept).means

    @cached_property
    def deeds(self) -> list[Deed]:
        """Of each claim: itself at the chosen dose, the difference of means at equal fluency cost, and a label's ablation."""
        found = []
        for (claim, concept), dose in self.chosen.items():
            own = next(at for at, arm in enumerate(self.arms) if (arm.kind, arm.id, arm.dose) == (claim, concept, dose))
            found.append(self.deed(concept, claim, [own], np.ones(1)))
            rival = self.places("diff_means", concept)
            weights, reached = cost_weights(self.fluency[rival], self.fluency[own])
            if (
                reached and weights.any()
            ):  # else the claim costs so little, or so much, that no push of the rival is its match
                found.append(self.deed(concept, claim, rival, weights))
            if claim == "label":
                found += [self.deed(concept, claim, [at], np.ones(1)) for at in self.places("ablate", concept)]
        return found

    def places(self, kind: str, concept: str) -> list[int]:
        """The arms of a kind and a concept."""
        return [at for at, arm in enumerate(self.arms) if (arm.kind, arm.id) == (kind, concept)]

    def deed(self, concept: str, claim: str, places: list[int], weights: np.ndarray) -> Deed:
        """The arms at these places, mixed."""

        def mixed(part: np.ndarray) -> np.ndarray:
            return np.tensordot(weights, part[places], axes=1)

        pushes = np.array([self.arms[at].push for at in places])
        used = weights > 0  # a cost that is not known may stand at a push that does not count
        fluency = float(weights[used] @ self.fluency[places][used])
        return Deed(
            concept, claim, self.arms[places[0]], float(weights @ pushes), mixed(self.effects.judge),
            mixed(self.effects.readout), fluency, float(weights @ self.kl[places]),
        )  # fmt: skip


def clamp_results(battery: Battery) -> list[ClampResult]:
    """Every claim with its verdict, its rival, a label's ablation, and all controls judged as if they were the claim."""
    deeds = battery.deeds
    beside = [battery.matched(battery.controls, deed.kl, deed.concept) for deed in deeds]
    columns = [battery.column(deed.concept) for deed in deeds]
    p = [
        rank_p(deed.judge[:, column].mean(), controls.means)
        for deed, controls, column in zip(deeds, beside, columns, strict=True)
    ]
    q: dict[int, float] = {}
    thresholds: dict[str, float] = {}
    for claim in CLAIMS:  # each a family of its own, so that none leans on the other's findings
        places = [place for place, deed in enumerate(deeds) if deed.arm.kind == claim]
        if places:
            of_claim = [p[place] for place in places]
            q |= dict(zip(places, map(float, benjamini_hochberg(np.array(of_claim))), strict=True))
            thresholds[claim] = largest_p(of_claim, battery.rule.most_q)

    results = []
    for place, (deed, controls, column) in enumerate(zip(deeds, beside, columns, strict=True)):
        foreign, threshold = battery.foreign(deed.kl, deed.concept, deed.claim), thresholds[deed.claim]
        result = _judged(battery, deed, p[place], threshold, controls, foreign)
        means = deed.judge.mean(axis=0)
        own_rank, n_ranked, family_rank = ranks(battery, means, deed.concept)
        about: dict[str, Any] = {"own_rank": own_rank, "n_ranked": n_ranked, "family_rank": family_rank}
        if place in q:
            about |= {"q": q[place], **_claim_facts(battery, deed, column, controls, threshold)}
        results.append(ClampResult(**{**result, **about}))
        if place in q:
            results += _controls_judged(battery, deed, controls, foreign, threshold)
    return results


def _judged(battery: Battery, deed: Deed, p: float, threshold: float, controls: Matched, foreign: np.ndarray) -> dict:
    """The fields that every result has."""
    column, rule = battery.column(deed.concept), battery.rule
    pair = np.stack([deed.judge[:, column], deed.readout[:, column]], axis=1)
    (judge, readout), (judge_low, readout_low), (judge_high, readout_high) = (
        map(float, part) for part in bootstrap_means(pair, rule, battery.seed)
    )
    share = float(np.mean(foreign >= judge)) if len(foreign) else 0.0
    auroc_low = float(battery.judge.auroc_low[column])
    evidence = Evidence(auroc_low, judge, judge_low, readout_low, deed.fluency, p, threshold, share)
    return {
        "concept": deed.concept, "arm": deed.arm.kind, "arm_id": deed.arm.id, "latents": list(deed.arm.latents),
        "dose": battery.chosen[deed.claim, deed.concept] if deed.arm.kind != "ablate" else 0.0,
        "push": deed.push / battery.mean_length, "judge": judge, "judge_low": judge_low, "judge_high": judge_high,
        "readout": readout, "readout_low": readout_low, "readout_high": readout_high, "fluency": deed.fluency,
        "kl": deed.kl, "p": p, "q": None, "n_controls": int(controls.reached.sum()),
        "control_judge_max": _most(controls.judge[controls.reached].mean(axis=1)),
        "control_readout_max": _most(controls.readout[controls.reached].mean(axis=1)),
        "foreign_share": share, "n_foreign": len(foreign), "n_prompts": len(battery.prompts),
        "status": verdict(rule, evidence), "judge_auroc": float(battery.judge.auroc[column]),
        "judge_auroc_low": auroc_low, "claim": deed.claim,
    }  # fmt: skip


def _controls_judged(
    battery: Battery, claim: Deed, controls: Matched, foreign: np.ndarray, threshold: float
) -> list[ClampResult]:
    """Every control that reaches the claim's KL, as if it claimed the same concept."""
    curves, found = battery.controls, []
    for place in np.flatnonzero(controls.reached):
        others = controls.reached.copy()
        others[place] = False
        rest = Matched(others, controls.weights, controls.judge, controls.readout)
        deed = battery.deed(claim.concept, claim.claim, list(curves.places[place]), controls.weights[place])
        p = rank_p(controls.judge[place].mean(), rest.means)
        found.append(ClampResult(**_judged(battery, deed, p, threshold, rest, foreign)))
    return found


def _claim_facts(battery: Battery, claim: Deed, column: int, controls: Matched, threshold: float) -> dict:
    """What is known of claims alone: the push downwards, the safe range, the power."""
    rule, kinds = battery.rule, (f"{claim.claim}_down", claim.claim)
    down_places, up_places = (battery.places(kind, claim.concept) for kind in kinds)
    nearest = max(down_places, key=lambda at: battery.arms[at].dose)
    down, low, high = bootstrap_means(battery.effects.judge[nearest][:, [column]], rule, battery.seed)
    safe_low, safe_high = (
        safe_bound([battery.arms[at].dose for at in places], battery.fluency[places].tolist(), rule.most_fluency_cost)
        for places in (down_places, up_places)
    )
    if claim.fluency <= rule.most_fluency_cost:  # measured on more texts than the doses beside it
        safe_high = max(safe_high, claim.arm.dose)
    return {
        "down_judge": float(down[0]), "down_judge_low": float(low[0]), "down_judge_high": float(high[0]),
        "safe_low": safe_low, "safe_high": safe_high,
        "detectable": detectable(rule, claim.judge[:, column], controls.means, threshold),
    }  # fmt: skip


def ranks(battery: Battery, means: Float[np.ndarray, " concept"], concept: str) -> tuple[int, int, int]:
    """Where the concept stands among all that can be judged, of how many, and where its family stands."""
    known = {name: value for name, value in zip(battery.judge.concepts, means, strict=True) if np.isfinite(value)}
    own = known.get(concept, -np.inf)
    best: dict[str, float] = {}
    for name, value in known.items():
        best[battery.families[name]] = max(value, best.get(battery.families[name], -np.inf))
    own_family = best.get(battery.families[concept], -np.inf)
    return (
        1 + sum(value > own for value in known.values()),
        len(known),
        1 + sum(value > own_family for value in best.values()),
    )


def dose_points(battery: Battery) -> list[DosePoint]:
    """Each claim at each dose, upwards and downwards, beside the controls at the same KL."""
    points = []
    for place, arm in enumerate(battery.arms):
        claim = arm.kind.removesuffix("_down")
        if claim not in CLAIMS:
            continue
        column = battery.column(arm.concept)
        judge, low, high = bootstrap_means(battery.effects.judge[place][:, [column]], battery.rule, battery.seed)
        kl = float(battery.kl[place])
        controls = battery.matched(battery.controls, kl, arm.concept).means
        band = [float(edge) for edge in np.quantile(controls, [0.05, 0.95])] if len(controls) else [None, None]
        points.append(
            DosePoint(
                concept=arm.concept, dose=arm.dose, judge=float(judge[0]), judge_low=float(low[0]),
                judge_high=float(high[0]), readout=float(battery.effects.readout[place][:, column].mean()), kl=kl,
                fluency=float(battery.fluency[place]), control_low=band[0], control_high=band[1],
                n_controls=len(controls), n_prompts=len(battery.prompts), claim=claim,
            )
        )  # fmt: skip
    return sorted(points, key=lambda one: (one.concept, one.claim, one.dose))


def concept_effects(battery: Battery) -> list[ConceptEffect]:
    """Claims at their chosen dose, the difference of means at the label's fluency cost and every control, on every concept."""
    sources = [
        (deed.arm, battery.chosen[deed.claim, deed.concept], deed.judge, deed.readout)
        for deed in battery.deeds
        if deed.arm.kind in CLAIMS
    ]
    sources += [
        (deed.arm, deed.push, deed.judge, deed.readout)
        for deed in battery.deeds
        if (deed.arm.kind, deed.claim) == ("diff_means", "label")
    ]
    sources += [
        (arm, arm.push, battery.effects.judge[place], battery.effects.readout[place])
        for place, arm in enumerate(battery.arms)
        if arm.kind in CONTROLS
    ]
    rows = []
    for arm, dose, judged, read in sources:
        judge, judge_low, judge_high = bootstrap_means(judged, battery.rule, battery.seed)
        readout, readout_low, readout_high = bootstrap_means(read, battery.rule, battery.seed)
        rows += [
            ConceptEffect(
                arm.kind, arm.id, dose, name, float(judge[at]), float(judge_low[at]), float(judge_high[at]),
                float(readout[at]), float(readout_low[at]), float(readout_high[at]), len(battery.prompts),
            )
            for at, name in enumerate(battery.judge.concepts)
        ]  # fmt: skip
    return rows


def trials(
    arms: Sequence[Arm],
    prompts: Sequence[Prompt],
    effects: Effects,
    baselines: Mapping[str, Baseline],
    concepts: Sequence[str],
    phase: str,
) -> list[Trial]:
    """A row for every prompt of every arm, seen by the arm's own concept."""
    rows = []
    for at, arm in enumerate(arms):
        column = concepts.index(arm.concept) if arm.concept else None
        for number, prompt in enumerate(prompts):
            own = None if column is None else (at, number, column)
            rows.append(
                Trial(
                    arm.concept, arm.kind, arm.id, arm.dose, prompt.id, prompt.text,
                    None if own is None else float(effects.judge[own]),
                    None if own is None else float(effects.readout[own]),
                    float(effects.kl[at, number]), float(effects.fluency[at, number]), effects.texts[at][number],
                    baselines[prompt.id].text, phase,
                )
            )  # fmt: skip
    return rows


def mean_cost(costs: Float[np.ndarray, " prompt"]) -> float:
    """Mean over the prompts at which something was written; NaN where nothing ever was."""
    known = costs[~np.isnan(costs)]
    return float(known.mean()) if len(known) else float("nan")


def _most(values: np.ndarray) -> float:
    return float(values.max()) if len(values) else float("-inf")
