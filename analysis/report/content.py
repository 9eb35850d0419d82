"""What the reports say, as plain values: every number with its n and interval where there is one. No drawing."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from analysis.records import (
    CLAIMS,
    CONTROLS,
    WRITTEN,
    Affect,
    Baseline,
    ClampResult,
    ConceptEffect,
    Confound,
    DosePoint,
    Excerpt,
    Explanation,
    FeatureCard,
    Label,
    Necessity,
    Probe,
    Trial,
    WorkshopArm,
    Writer,
    clamp_counts,
)
from analysis.report import tables
from analysis.report.cases import CaseShown, cases
from analysis.report.method import Passage, method, power
from analysis.report.reasons import why
from analysis.report.table import Table
from analysis.report.tables import ARMS, METHODS
from analysis.study import Study


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
    why: str
    """Why the status is what it is, in words."""


@dataclass(frozen=True)
class DoseCurve:
    """The judge's effect against the dose: the label, what writes the concept, the rival, and the span of the label's controls
    at the same KL."""

    concept: str
    points: list[DosePoint]
    chosen: ClampResult | None
    rival: ClampResult | None
    """The difference of means at the label's fluency cost."""
    written_points: list[DosePoint]
    written: ClampResult | None
    """The latents that write the concept; None where the study has none."""


@dataclass(frozen=True)
class ControlSummary:
    """What the shared controls did to one concept, where they move the output as far as a claim about it."""

    concept: str
    claim: str
    n: int
    middle: float
    high: float
    """Median and 95th percentile of their judge effects."""
    strongest: ClampResult
    validated: list[ClampResult]


@dataclass(frozen=True)
class Matrix:
    """The judge's effect of each label at its chosen dose on each concept, families side by side."""

    labels: list[str]
    concepts: list[str]
    effects: list[list[float]]
    """[label][concept]"""


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
    """Both claims about each concept, their rivals and the labels' ablations."""
    matrix: Matrix
    texts: dict[str, list[Trial]]
    """By a claim's name."""
    workshop: list[WorkshopArm]
    cases: list[CaseShown]
    cards: list[FeatureCard]
    excerpts: dict[int, list[Excerpt]]
    latents: dict[int, Table]
    """What is known of each latent that has a card."""
    facts: dict[str, Any]
    tables: dict[str, Table]
    """Every table that has rows, by name."""
    method: list[Passage]
    power: str
    """What effect the clamps could have seen."""
    extra: dict[str, Any] = field(default_factory=dict)


def content(
    study: Study, extra: dict[str, Any] | None = None, texts_per_concept: int = 3, excerpts_per_card: int = 8
) -> Content:
    """Everything that a report shows, read from the study's tables."""
    extra = dict(extra or {})
    labels, baselines = study.read("labels", Label), study.read("baselines", Baseline)
    of_labels = sorted({latent for label in labels for latent in label.latents})
    cards, clamps, trials = (
        study.read("cards", FeatureCard, ("latent", of_labels)),
        study.read("clamps", ClampResult),
        study.read("trials", Trial),
    )
    excerpts = by(strongest(study, of_labels), "latent")
    about = concept_facts(study, cards)
    rules = study.info.settings.get("rules") or {}
    rows = [LabelRow(label, about.get(label.concept, ConceptFacts()), why(label, clamps, rules)) for label in labels]
    rows.sort(key=lambda row: (row.facts.family, row.label.concept, row.label.kind))
    chosen = [row for row in rows if row.label.chosen]
    marks = [mark for row in chosen if (mark := _mark(row, excerpts, about))]
    points = by(study.read("curves", DosePoint), "concept")
    curves = [
        dose_curve(row.label.concept, points[row.label.concept], clamps)
        for row in chosen
        if row.label.concept in points
    ]
    ratings = {one.latent: one for one in study.read("affect", Affect)}
    said = {one.latent: one for one in study.read("explanations", Explanation)}
    claims = sorted(
        (one for one in clamps if one.arm not in CONTROLS),
        key=lambda one: (one.concept, CLAIMS.index(one.claim), list(ARMS).index(one.arm)),
    )
    return Content(
        study=study,
        rows=chosen,
        others=[row for row in rows if not row.label.chosen],
        marks=marks,
        unrated=sorted({row.label.concept for row in chosen} - {mark.concept for mark in marks}),
        curves=curves,
        clamps=claims,
        matrix=matrix(study.read("effects", ConceptEffect), about),
        texts={
            name: found
            for row in chosen
            for name, claim in ((row.label.concept, "label"), (row.label.concept + WRITTEN, "written"))
            if (found := shown_texts(row.label.concept, claim, trials, clamps, texts_per_concept))
        },
        workshop=study.read("workshop", WorkshopArm),
        cases=cases(study),
        cards=sorted(cards, key=lambda card: (not card.concepts, card.latent)),
        excerpts={
            latent: sorted(found, key=lambda one: -one.peak)[:excerpts_per_card] for latent, found in excerpts.items()
        },
        latents={
            card.latent: tables.latent(card.latent, card, ratings.get(card.latent), said.get(card.latent))
            for card in cards
        },
        facts=headline(labels, baselines, clamps),
        method=method(study.info, clamps),
        power=power(clamps),
        tables=all_tables(study, rows, marks, claims, control_summaries(clamps)),
        extra=extra,
    )


def all_tables(
    study: Study, rows: Sequence[LabelRow], marks: Sequence["Mark"], claims: Sequence[ClampResult],
    controls: Sequence[ControlSummary],
) -> dict[str, Table]:  # fmt: skip
    """Those that have rows, by name."""
    chosen = [row.label for row in rows if row.label.chosen]
    others = [(row.label, row.why) for row in rows if not row.label.chosen]
    baselines, probes = study.read("baselines", Baseline), study.read("probes", Probe)
    panel, info = study.read("confounds", Confound), study.info
    validated = {one.concept for one in claims if one.arm in CLAIMS and one.status == "validated"}
    affected = study.read("affect", Affect)
    holds = {
        card.latent: card.concepts
        for card in study.read("cards", FeatureCard, ("latent", [one.latent for one in affected]))
    }
    valence, arousal = tables.affect(affected, holds)
    found = {
        "statuses": tables.statuses(chosen),
        "rejected": tables.rejected(chosen, info.settings.get("rules") or {}),
        "rivals": tables.rivals(chosen, baselines, probes),
        "labels": tables.labels(chosen, {row.label.concept: row.facts.family for row in rows}),
        "reasons": tables.reasons([(row.label, row.why) for row in rows if row.label.chosen]),
        "not_chosen": tables.not_chosen(others),
        **{
            f"rivals_{name}": tables.rivals_by_concept(chosen, baselines, probes, f"auroc_{name}", words)
            for name, words in (("checking", "checking texts"), ("implicit", "implicit texts"))
            if baselines or probes
        },
        "confounds": tables.confounds(panel),
        "valence": valence,
        "arousal": arousal,
        "quadrants": tables.quadrants(
            (mark.concept, "validated" if mark.concept in validated else mark.status, mark.valence, mark.arousal)
            for mark in marks
        ),
        "claims": tables.claims(claims),
        "head_to_head": tables.head_to_head(claims),
        "writers": tables.writers(study.read("writers", Writer)),
        "clamps": tables.clamps(claims),
        "doses": tables.doses(
            sorted(study.read("curves", DosePoint), key=lambda one: (one.concept, one.claim, one.dose))
        ),
        "controls": tables.controls(controls),
        "moved": tables.moved(study.read("effects", ConceptEffect)),
        "necessity": tables.necessity(study.read("necessity", Necessity)),
        "explanations": tables.explanations(study.read("explanations", Explanation)),
        **tables.beside(study.read),
        "settings": tables.settings(info),
        "provenance": tables.provenance(info),
    }
    if panel:
        found["confounds_by_concept"] = tables.confounds_by_concept(panel, chosen)
    return {name: table for name, table in found.items() if table.rows}


def concept_facts(study: Study, cards: Sequence[FeatureCard]) -> dict[str, ConceptFacts]:
    """Family and human ratings of each concept: from the concept set, or, where it is not at hand, from the cards."""
    facts = {
        card.concepts[0]: ConceptFacts(valence=card.valence, arousal=card.arousal) for card in cards if card.concepts
    }
    found = study.concepts_at_hand()
    if found is None:
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

    def middle(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if known else None

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
            "sealed_auroc_median": middle(label.auroc_sealed for label in chosen),
            "single_auroc_median": middle(label.auroc_checking for label in labels if label.kind == "single"),
            **{
                f"{method}_{name}_median": middle(getattr(one, score) for one in baselines if one.method == method)
                for method in METHODS
                for name, score in (("auroc", "auroc_checking"), ("all", "auroc_all"), ("implicit", "auroc_implicit"))
            },
        },
        "clamps": clamp_counts(clamps),
    }


def dose_curve(concept: str, points: Sequence[DosePoint], clamps: Sequence[ClampResult]) -> DoseCurve:
    """Both claims on reporting prompts, with what is said of them and of the label's rival."""
    own = {(one.claim, one.arm): one for one in clamps if one.concept == concept and one.arm not in CONTROLS}
    label, written = (
        sorted((one for one in points if one.claim == claim), key=lambda one: one.dose) for claim in CLAIMS
    )
    return DoseCurve(
        concept, label, own.get(("label", "label")), own.get(("label", "diff_means")), written,
        own.get(("written", "written")),
    )  # fmt: skip


def control_summaries(clamps: Sequence[ClampResult]) -> list[ControlSummary]:
    """A line for each claim."""
    found: dict[tuple[str, str], list[ClampResult]] = defaultdict(list)
    for one in clamps:
        if one.arm in CONTROLS:
            found[one.concept, one.claim].append(one)
    summaries = []
    for (concept, claim), controls in sorted(found.items()):
        middle, high = (float(one) for one in np.quantile([one.judge for one in controls], [0.5, 0.95]))
        validated = [one for one in controls if one.status == "validated"]
        strongest = max(controls, key=lambda one: one.judge)
        summaries.append(ControlSummary(concept, claim, len(controls), middle, high, strongest, validated))
    return summaries


def matrix(effects: Sequence[ConceptEffect], about: dict[str, ConceptFacts]) -> Matrix:
    """The label rows of the effects."""
    known = {(one.arm_id, one.concept): one.judge for one in effects if one.arm == "label"}

    def ordered(names: set[str]) -> list[str]:
        return sorted(names, key=lambda name: (about.get(name, ConceptFacts()).family, name))

    labels, concepts = ordered({name for name, _ in known}), ordered({name for _, name in known})
    return Matrix(labels, concepts, [[known[label, concept] for concept in concepts] for label in labels])


def shown_texts(
    concept: str, claim: str, trials: Sequence[Trial], clamps: Sequence[ClampResult], count: int
) -> list[Trial]:
    """A text for each of the first prompts in order, not the best ones, under a claim's clamp at the dose that is reported."""
    own = [trial for trial in trials if trial.concept == concept and trial.arm == claim]
    reported = [trial for trial in own if trial.phase == "report"] or own
    chosen = next((one for one in clamps if (one.arm, one.concept) == (claim, concept)), None)
    at_dose = [trial for trial in reported if chosen and trial.dose == chosen.dose] or reported
    first: dict[str, Trial] = {}
    for trial in sorted(at_dose, key=lambda one: one.prompt_id):
        first.setdefault(trial.prompt, trial)
    return list(first.values())[:count]


def strongest(study: Study, latents: Iterable[int]) -> list[Excerpt]:
    """Excerpts of the strongest firings of some latents."""
    return [one for one in study.read("excerpts", Excerpt, ("latent", latents)) if one.drawn == "top"]


def by(records: Iterable[Any], name: str) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for record in records:
        found[getattr(record, name)].append(record)
    return dict(found)


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
