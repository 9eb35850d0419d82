"""What the report says, as plain values: every number with its n and interval where there is one. No drawing."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from analysis.records import (
    CONTROLS,
    Baseline,
    ClampResult,
    Excerpt,
    FeatureCard,
    Label,
    Trial,
    WorkshopArm,
    clamp_counts,
)
from analysis.study import Study

ARMS = {
    "label": "label",
    "diff_means": "difference of means",
    "random_latent": "random latents",
    "random_direction": "random directions",
    "other_family": "features of other families",
    "ablate": "ablation",
}
STATUS_ABOUT = {
    "candidate": "found, not yet checked",
    "held": "holds on checking texts; clamping not yet tested",
    "rejected": "did not hold on checking texts",
    "validated": "clamping moves the text towards the concept, more than the controls do",
    "no effect": "holds as a detector, but clamping does not move the text",
    "unspecific": "clamping moves the text, but controls do so as well",
    "breaks fluency": "clamping moves the text only where it also breaks it",
}
METHODS = ("sae", "random_sae", "residual_basis", "neurons", "diff_means", "diff_means_denoised", "probe")
"""The rivals on the same splits; "sae" is the one latent that detects best, as the other single units are chosen."""


@dataclass(frozen=True)
class ConceptFacts:
    family: str = ""
    valence: float | None = None
    arousal: float | None = None
    definition: str = ""


@dataclass(frozen=True)
class LabelRow:
    label: Label
    facts: ConceptFacts
    baselines: dict[str, Baseline]
    why: str
    """Why the status is what it is, in words."""


@dataclass(frozen=True)
class CurvePoint:
    dose: float
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class DoseCurve:
    """The judge's effect against the dose: the label, its rival, and the span of its controls."""

    concept: str
    points: list[CurvePoint]
    rival: list[CurvePoint]
    controls: list[tuple[float, float, float]]
    """dose, smallest and largest control mean."""
    n_controls: int
    chosen: ClampResult | None


@dataclass(frozen=True)
class Mark:
    """One labelled concept on the circumplex."""

    concept: str
    valence: float
    arousal: float
    size: float
    """AUROC on checking texts."""
    status: str
    found: tuple[float, float] | None
    """Mean rating of the concepts on whose texts (none of them a finding text) the label's latents fire most."""


@dataclass(frozen=True)
class Content:
    study: Study
    rows: list[LabelRow]
    others: list[LabelRow]
    """The labels that were kept but not chosen."""
    marks: list[Mark]
    unrated: list[str]
    curves: list[DoseCurve]
    clamps: list[ClampResult]
    texts: dict[str, list[Trial]]
    workshop: list[WorkshopArm]
    cards: list[FeatureCard]
    excerpts: dict[int, list[Excerpt]]
    facts: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)


def content(
    study: Study, extra: dict[str, Any] | None = None, texts_per_concept: int = 3, excerpts_per_card: int = 8
) -> Content:
    """Everything that the page shows, read from the study's tables."""
    extra = dict(extra or {})
    labels, baselines = study.read("labels", Label), study.read("baselines", Baseline)
    cards, clamps, trials = (
        study.read("cards", FeatureCard),
        study.read("clamps", ClampResult),
        study.read("trials", Trial),
    )
    excerpts = by(study.read("excerpts", Excerpt), "latent")
    about = concept_facts(study, cards)
    beside: dict[str, dict[str, Baseline]] = defaultdict(dict)
    for one in baselines:
        beside[one.concept][one.method] = one
    rules = study.info.settings.get("rules") or {}
    rows = [
        LabelRow(label, about.get(label.concept, ConceptFacts()), beside[label.concept], why(label, clamps, rules))
        for label in labels
    ]
    rows.sort(key=lambda row: (row.facts.family, row.label.concept, row.label.kind))
    chosen = [row for row in rows if row.label.chosen]
    marks = [mark for row in chosen if (mark := _mark(row, excerpts, about))]
    curves = [curve for row in chosen if (curve := dose_curve(row.label.concept, trials, clamps))]
    return Content(
        study=study,
        rows=chosen,
        others=[row for row in rows if not row.label.chosen],
        marks=marks,
        unrated=sorted({row.label.concept for row in chosen} - {mark.concept for mark in marks}),
        curves=curves,
        clamps=sorted(
            clamps, key=lambda one: (one.concept, list(ARMS).index(one.arm) if one.arm in ARMS else 99, one.arm_id)
        ),
        texts={
            row.label.concept: found
            for row in chosen
            if (found := shown_texts(row.label.concept, trials, clamps, texts_per_concept))
        },
        workshop=study.read("workshop", WorkshopArm),
        cards=sorted(cards, key=lambda card: (not card.concepts, card.latent)),
        excerpts={
            latent: sorted(found, key=lambda one: -one.peak)[:excerpts_per_card] for latent, found in excerpts.items()
        },
        facts=headline(labels, baselines, clamps),
        extra=extra,
    )


def concept_facts(study: Study, cards: Sequence[FeatureCard]) -> dict[str, ConceptFacts]:
    """Family and human ratings of each concept: from the concept set, or, where it is not at hand, from the cards."""
    from analysis.concepts.concept import load_concepts

    facts = {
        card.concepts[0]: ConceptFacts(valence=card.valence, arousal=card.arousal) for card in cards if card.concepts
    }
    try:
        found = load_concepts(study.info.settings.get("concepts", study.info.concept_set), strict=False)
    except (ValueError, FileNotFoundError):
        return facts
    return facts | {
        name: ConceptFacts(one.family, one.valence, one.arousal, one.definition) for name, one in found.concepts.items()
    }


def headline(labels: Sequence[Label], baselines: Sequence[Baseline], clamps: Sequence[ClampResult]) -> dict[str, Any]:
    """The counts and medians that a summary begins with; medians are over all concepts, failures included.

    A label counts as held as long as it was not rejected, whatever clamping said later. `candidates` counts every label
    that was put forward (a single latent and a recipe for each concept).
    """
    chosen = [label for label in labels if label.chosen]

    def held(kind: str) -> set[str]:
        return {label.concept for label in labels if label.kind == kind and label.is_held}

    def middle(values: Iterable[float]) -> float | None:
        values = list(values)
        return median(values) if values else None

    return {
        "labels": {
            "concepts": len({label.concept for label in labels}),
            "candidates": len(labels),
            "held_single": len(held("single")),
            "held_recipe": len(held("recipe")),
            "distinct_latents": len({latent for label in chosen if label.is_held for latent in label.latents}),
            "auroc_checking_median": middle(label.auroc_checking for label in chosen),
            "implicit_auroc_median": middle(label.auroc_implicit for label in chosen),
            "auroc_all_median": middle(label.auroc_all for label in chosen),
            "sealed_auroc_median": middle(label.auroc_sealed for label in chosen if label.auroc_sealed is not None),
            "single_auroc_median": middle(label.auroc_checking for label in labels if label.kind == "single"),
            **{
                f"{method}_{name}_median": middle(getattr(one, score) for one in baselines if one.method == method)
                for method in METHODS
                for name, score in (("auroc", "auroc_checking"), ("all", "auroc_all"), ("implicit", "auroc_implicit"))
            },
        },
        "clamps": clamp_counts(clamps),
    }


def why(label: Label, clamps: Sequence[ClampResult], rules: dict[str, Any]) -> str:
    """The reason behind a status, with its numbers."""
    if label.status == "rejected":
        least, most = rules.get("least_auroc", 0.80), rules.get("most_q", 0.05)
        reasons = []
        if label.auroc_checking < least:
            reasons.append(f"AUROC on checking texts {label.auroc_checking:.2f} is below {least:.2f}")
        if label.lexical:
            reasons.append(
                f"it detects the concept's name: {label.lexical_share:.0%} of its firing falls on it, and without it the AUROC is "
                f"{label.auroc_masked:.2f} instead of {label.auroc_checking:.2f}"
            )
        if label.q > most:
            reasons.append(f"q = {label.q:.3f} is above {most:.2f}")
        return "; ".join(reasons) or STATUS_ABOUT["rejected"]
    result = next((one for one in clamps if one.arm == "label" and one.concept == label.concept), None)
    if result is None or not label.chosen:
        return STATUS_ABOUT.get(label.status, "")
    return (
        f"{STATUS_ABOUT.get(label.status, '')}: judge {result.judge:+.2f} [{result.judge_low:+.2f}, {result.judge_high:+.2f}] "
        f"at dose {result.dose:g}, strongest control {result.control_judge_max:+.2f}, n = {result.n_prompts} prompts"
    )


def dose_curve(concept: str, trials: Sequence[Trial], clamps: Sequence[ClampResult]) -> DoseCurve | None:
    """The label on the prompts where its dose was chosen; rival and controls wherever they were run beside it."""
    own = [trial for trial in trials if trial.concept == concept]
    label = [trial for trial in own if trial.arm == "label"]
    points = _points([trial for trial in label if trial.phase == "dose"] or label)
    if not points:
        return None
    spans: dict[float, list[float]] = defaultdict(list)
    controls = by((trial for trial in own if trial.arm in CONTROLS), "arm_id")
    for found in controls.values():
        for point in _points(found):
            spans[point.dose].append(point.mean)
    chosen = next((one for one in clamps if one.arm == "label" and one.concept == concept), None)
    return DoseCurve(
        concept,
        points,
        _points(trial for trial in own if trial.arm == "diff_means"),
        [(dose, min(found), max(found)) for dose, found in sorted(spans.items())],
        len(controls),
        chosen,
    )


def shown_texts(concept: str, trials: Sequence[Trial], clamps: Sequence[ClampResult], count: int) -> list[Trial]:
    """The first prompts in order, not the best ones, under the label's clamp at the dose that is reported."""
    own = [trial for trial in trials if trial.concept == concept and trial.arm == "label"]
    reported = [trial for trial in own if trial.phase == "report"] or own
    chosen = next((one for one in clamps if one.arm == "label" and one.concept == concept), None)
    at_dose = [trial for trial in reported if chosen and trial.dose == chosen.dose] or reported
    first: dict[str, Trial] = {}
    for trial in sorted(at_dose, key=lambda one: one.prompt_id):
        first.setdefault(trial.prompt_id, trial)
    return list(first.values())[:count]


def by(records: Iterable[Any], name: str) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for record in records:
        found[getattr(record, name)].append(record)
    return dict(found)


def _points(trials: Iterable[Trial]) -> list[CurvePoint]:
    """Mean judge effect at each dose with a 95 % bootstrap interval over prompts."""
    at: dict[float, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        at[trial.dose][trial.prompt_id].append(trial.judge)
    points = []
    for dose, prompts in sorted(at.items()):
        values = np.array([np.mean(found) for found in prompts.values()])
        draws = np.random.default_rng(0).integers(len(values), size=(1000, len(values)))
        low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
        points.append(CurvePoint(dose, float(values.mean()), float(low), float(high), len(values)))
    return points


def _mark(row: LabelRow, excerpts: dict[int, list[Excerpt]], about: dict[str, ConceptFacts]) -> Mark | None:
    if row.facts.valence is None or row.facts.arousal is None:
        return None
    rated = [
        (one.peak, facts.valence, facts.arousal)
        for latent in row.label.latents
        for one in excerpts.get(latent, [])
        if one.split != "finding"  # on those the latent was chosen for its concept
        and (facts := about.get(one.concept))
        and facts.valence is not None
        and facts.arousal is not None
        and one.peak > 0
    ]
    weights = np.array([peak for peak, _, _ in rated])
    centre = [float(np.average([one[at] for one in rated], weights=weights)) for at in (1, 2)] if rated else []
    found = (centre[0], centre[1]) if centre else None
    return Mark(
        row.label.concept, row.facts.valence, row.facts.arousal, row.label.auroc_checking, row.label.status, found
    )  # type: ignore[arg-type]
