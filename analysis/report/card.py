"""Everything that a study knows of one concept's label, or of one latent, rejected ones as fully."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.records import (
    Ablation,
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
    Writer,
)
from analysis.report import tables
from analysis.report.content import ConceptFacts, concept_facts, control_summaries, strongest
from analysis.report.reasons import why
from analysis.report.table import Cell, Chance, Estimate, Latents, Share, Status, Table, estimate_of, facts
from analysis.study import Study

SHOWN = ("label", "written", "diff_means", "ablate")
"""The arms that a card shows one by one, in this order; the others are controls."""
NAMED = 400
"""Latents that an error counts up."""


@dataclass(frozen=True)
class LatentCard:
    latent: int
    table: Table
    explanation: Explanation | None
    excerpts: list[Excerpt]
    """Strongest first."""


@dataclass(frozen=True)
class Card:
    """What is shown, and the same as data."""

    title: str
    tables: list[Table]
    latents: list[LatentCard]
    provenance: Table
    data: dict[str, Any]


def concept_card(study: Study, concept: str) -> Card:
    """The chosen label of a concept with every check, and its latents; ValueError lists the concepts that there are."""
    label = study.label(concept)
    cards = study.read("cards", FeatureCard, ("latent", label.latents))
    about = concept_facts(study, cards).get(concept, ConceptFacts())
    all_clamps = study.read("clamps", ClampResult)
    mine: dict[str, list[Any]] = {
        name: [one for one in study.read(name, object) if getattr(one, "concept", None) == concept]
        for name in (
            "labels",
            "baselines",
            "confounds",
            "probes",
            "writers",
            "curves",
            "necessity",
            "transfer",
            "agreements",
        )
    }
    mine["ablations"] = [
        one for one in study.read("ablations", Ablation) if one.name == concept and one.kind in ("each", "only")
    ]
    clamps = [one for one in all_clamps if one.concept == concept]
    moved = [one for one in study.read("effects", ConceptEffect) if one.arm == "label" and one.arm_id == concept]
    rules = study.info.settings.get("rules") or {}
    reason = why(label, clamps, rules)
    others = [(one, why(one, clamps, rules)) for one in mine["labels"] if not one.chosen]
    shown = [
        _head(label, about, reason),
        detection(label),
        beside(label, mine["baselines"], mine["probes"]),
        confounds(mine["confounds"]),
        _without_concept(tables.not_chosen(others)),
        *clamping(clamps, mine["curves"], moved, mine["necessity"]),
        *writing(clamps, mine["writers"], mine["curves"]),
        *tables.beside(lambda name: mine.get(name, [])).values(),
    ]
    latents = [latent_card(study, latent, cards) for latent in label.latents]
    data = {
        "concept": concept,
        "status": label.status,
        "why": reason,
        "about": asdict(about),
        "label": asdict(label),
        **{name: [asdict(one) for one in found] for name, found in mine.items()},
        "clamps": [asdict(one) for one in clamps if one.arm in SHOWN],
        "controls": [asdict(one) for one in clamps if one.arm not in SHOWN],
        "effects": [asdict(one) for one in moved],
    }
    return _card(study, f"{concept}: {label.status}", [one for one in shown if one.rows], latents, data)


def latents_card(study: Study, latent: int) -> Card:
    """One latent, with every label that holds it; ValueError where nothing is known of it."""
    labels, clamps = study.read("labels", Label), study.read("clamps", ClampResult)
    rules = study.info.settings.get("rules") or {}
    held_by = [one for one in labels if latent in one.latents]
    holding = Table(
        "Labels that hold it",
        ("concept", "kind", "chosen", "status", "checking [95 %]", "why"),
        [
            (one.concept, one.kind, "yes" if one.chosen else "no", Status(one.status),
             Estimate(one.auroc_checking, one.auroc_checking_low, one.auroc_checking_high), why(one, clamps, rules))
            for one in held_by
        ],
    )  # fmt: skip
    writes = [one for one in study.read("writers", Writer) if latent in one.latents]
    writing = tables.writers(writes)
    card = latent_card(study, latent, study.read("cards", FeatureCard, ("latent", [latent])))
    data = {
        "labels": [{**asdict(one), "why": why(one, clamps, rules)} for one in held_by],
        "writers": [asdict(one) for one in writes],
    }
    names = ", ".join(one.concept for one in held_by if one.chosen) or "in no chosen label"
    return _card(study, f"latent {latent}: {names}", [one for one in (holding, writing) if one.rows], [card], data)


def _card(study: Study, title: str, shown: list[Table], latents: list[LatentCard], data: dict[str, Any]) -> Card:
    here = [one.latent for one in latents]
    cards = {card.latent: asdict(card) for card in study.read("cards", FeatureCard, ("latent", here))}
    ratings = {one.latent: asdict(one) for one in study.read("affect", Affect)}
    found = [
        {
            **cards.get(one.latent, {"latent": one.latent}),
            "affect": ratings.get(one.latent),
            "explanation": one.explanation and asdict(one.explanation),
            "excerpts": [asdict(excerpt) for excerpt in one.excerpts],
        }
        for one in latents
    ]
    data = {"kind": "feature", "study": str(study.folder), **data, "latents": found, "info": study.info.as_dict()}
    return Card(title, shown, latents, tables.provenance(study.info), data)


def _head(label: Label, about: ConceptFacts, reason: str) -> Table:
    return facts(
        "",
        [
            ("why", reason),
            ("label", f"{label.kind}: {Latents(tuple(label.latents))} (pooled by {label.pooling})"),
            ("dose unit", ", ".join(f"{scale:.3g}" for scale in label.scales) + " (95th percentile of active values)"),
            ("family", about.family),
            ("definition", about.definition),
            ("human valence", Estimate(about.valence)),
            ("human arousal", Estimate(about.arousal)),
        ],
    )


def detection(label: Label) -> Table:
    """Every figure of the label as a detector."""
    rows: list[tuple[Cell, ...]] = [
        ("finding texts", Estimate(label.auroc_finding), "where it was chosen: too good by the search"),
        ("null of the search", Estimate(label.null_finding), "the same search on shuffled finding labels"),
        ("left-out folds", Estimate(label.auroc_folds), "the same search on topics that it was not shown"),
        ("checking texts", Estimate(label.auroc_checking, label.auroc_checking_low, label.auroc_checking_high),
         f"n = {label.n_positive} against {label.n_negative}: neutral and of other families; decides"),
        ("all negatives", Estimate(label.auroc_all), "siblings of the family among the negatives too"),
        ("within the family", Estimate(label.auroc_family), "against the siblings alone"),
        ("runner-up", Estimate(label.auroc_runner_up), f"against {label.runner_up}, whose texts wake it most"),
        ("implicit texts", Estimate(label.auroc_implicit, label.auroc_implicit_low, label.auroc_implicit_high),
         "the situation without the word"),
        ("contrast texts", Estimate(label.auroc_contrast), "own texts against texts in which only the word stands"),
        ("name masked", Estimate(label.auroc_masked), "checking texts with a neutral word for each name"),
        ("sealed texts", Estimate(label.auroc_sealed), "opened once, for a release"),
        ("average precision", Estimate(label.precision_checking),
         f"on checking texts; chance is {label.n_positive / max(1, label.n_positive + label.n_negative):.3f}"),
        ("lexical share", Share(label.lexical_share), "of the firing on checking texts, on words that name the concept"),
        ("output effect", Estimate(label.effect_finding, digits=3, sign=True),
         "nats a token that clamping adds to its finding texts beyond others"),
        ("p", Chance(label.p), "of the checking AUROC, by permutation"),
        ("q", Chance(label.q), "after Benjamini-Hochberg over the concepts"),
    ]  # fmt: skip
    known = [row for row in rows if not (isinstance(row[1], (Estimate, Share, Chance)) and row[1].value is None)]
    return Table("As a detector", ("check", "AUROC [95 %]", "of what"), known)


def beside(label: Label, baselines: Sequence[Baseline], probes: Sequence[Probe]) -> Table:
    """The label and its rivals on the same texts."""

    def row(name: str, unit: str, one: Any) -> tuple[Cell, ...]:
        return (name, unit, *(estimate_of(one, f"auroc_{split}") for split in ("checking", "all", "implicit")))

    order = list(tables.METHODS)
    rows = [row("this label", str(Latents(tuple(label.latents))), label)]
    rows += [
        row(tables.METHODS.get(one.method, one.method), one.unit, one)
        for one in sorted(baselines, key=lambda one: order.index(one.method) if one.method in order else len(order))
    ]
    rows += [row(f"sparse probe, k = {one.k}", "", one) for one in sorted(probes, key=lambda one: one.k)]
    if len(rows) == 1:
        return Table("Beside it on the same texts", ("what",), [])
    return Table(
        "Beside it on the same texts",
        ("what", "unit", "checking [95 %]", "all [95 %]", "implicit [95 %]"),
        rows,
    )


def confounds(found: Sequence[Confound]) -> Table:
    order = list(tables.CHECKS)
    return Table(
        "Confound panel",
        ("check", "AUROC [95 %]", "n+", "n\u2212", "what is compared"),
        [
            (one.check, Estimate(one.auroc, one.low, one.high), one.n_positive, one.n_negative, tables.CHECKS.get(one.check, ""))
            for one in sorted(found, key=lambda one: order.index(one.check) if one.check in order else len(order))
        ],
    )  # fmt: skip


def clamping(
    clamps: Sequence[ClampResult], points: Sequence[DosePoint], moved: Sequence[ConceptEffect], needed: Sequence[Necessity]
) -> list[Table]:  # fmt: skip
    """The label's clamp with its rivals, doses, controls, the concepts that it moves, and what its absence costs."""
    clamps = [one for one in clamps if one.claim == "label"]
    label = next((one for one in clamps if one.arm == "label"), None)
    if label is None:
        return [facts("As a clamp", [("", "not clamped")])]
    return [
        _clamp_facts(label),
        _arms("What the arms do", clamps),
        _without_concept(tables.doses([one for one in _ordered(points) if one.claim == "label"])),
        _without_concept(tables.controls(control_summaries(clamps))),
        _without_concept(tables.moved(moved)),
        *(_necessity(one) for one in needed),
    ]


def writing(clamps: Sequence[ClampResult], writers: Sequence[Writer], points: Sequence[DosePoint]) -> list[Table]:
    """The second claim: the latents that write the concept, with their clamp; nothing where the study has none."""
    clamps = [one for one in clamps if one.claim == "written"]
    own = next((one for one in clamps if one.arm == "written"), None)
    found = [_without_concept(tables.writers(writers))] if writers else []
    if own is None:
        return found
    return [
        *found,
        _clamp_facts(own),
        _arms("What those arms do", clamps),
        _without_concept(tables.doses([one for one in _ordered(points) if one.claim == "written"])),
        _without_concept(tables.controls(control_summaries(clamps))),
    ]


def _ordered(points: Sequence[DosePoint]) -> list[DosePoint]:
    return sorted(points, key=lambda one: one.dose)


def _arms(title: str, clamps: Sequence[ClampResult]) -> Table:
    shown = sorted((one for one in clamps if one.arm in SHOWN), key=lambda one: SHOWN.index(one.arm))
    return Table(
        title,
        ("arm", "judge [95 %]", "readout [95 %]", "KL", "fluency", "p", "status"),
        [
            (
                tables.ARMS.get(one.arm, one.arm), Estimate(one.judge, one.judge_low, one.judge_high, sign=True),
                Estimate(one.readout, one.readout_low, one.readout_high, sign=True), Estimate(one.kl),
                Estimate(one.fluency, sign=True), Chance(one.p), one.status,
            )
            for one in shown
        ],
        "The difference of means stands at the same fluency cost. n = "
        f"{shown[0].n_prompts} prompts; judge: share of the way to the concept's own texts.",
    )  # fmt: skip


def _clamp_facts(one: ClampResult) -> Table:
    safe = f"{Estimate(one.safe_low, digits=1, sign=True)} to {Estimate(one.safe_high, digits=1, sign=True)}"
    written = one.claim == "written"
    return facts(
        "As a clamp: the latents that write it" if written else "As a clamp",
        [
            ("verdict", f"{one.status}; in a clamp: {one.name}=+{one.dose:g}" if written else ""),
            ("dose judged", f"{one.dose:g} units, a push of {one.push:.2f} of the stream's mean length"),
            ("safe doses", safe if one.safe_low is not None else ""),
            ("against controls", f"{Chance(one.p).of('p')} among {one.n_controls} at the same KL, {Chance(one.q).of('q')} over the claims of its sort"),
            ("strongest control", f"judge {Estimate(one.control_judge_max, sign=True)}, readout {Estimate(one.control_readout_max, sign=True)}"),
            ("other families' claims", f"{Share(one.foreign_share)} of {one.n_foreign} do as much at the same KL"),
            ("own place", f"{one.own_rank} of {one.n_ranked} concepts; its family's {one.family_rank}" if one.own_rank else ""),
            ("the other way", str(Estimate(one.down_judge, one.down_judge_low, one.down_judge_high, sign=True)) if one.down_judge is not None else ""),
            ("detectable", f"{Estimate(one.detectable)} of the way with 80 % power" if one.detectable is not None else ""),
            ("its judge", f"AUROC {Estimate(one.judge_auroc)} on held-out texts, lower end {Estimate(one.judge_auroc_low)}"),
        ],
    )  # fmt: skip


def _necessity(one: Necessity) -> Table:
    return facts(
        "Necessity: its latents ablated on its own checking texts",
        [
            ("loss on bearing tokens", f"{Estimate(one.bearing, digits=3, sign=True)} nats a token (n = {one.n_bearing} tokens in {one.n_texts} texts)"),
            ("elsewhere", Estimate(one.elsewhere, digits=3, sign=True)),
            ("difference", Estimate(one.contrast, one.low, one.high, 3, True)),
            ("controls", f"mean {Estimate(one.control_mean, digits=3, sign=True)}, largest {Estimate(one.control_max, digits=3, sign=True)}, {Chance(one.p).of('p')} among {one.n_controls}"),
            ("words", ", ".join(one.words[:16])),
        ],
    )  # fmt: skip


def latent_card(study: Study, latent: int, cards: Sequence[FeatureCard]) -> LatentCard:
    """What is known of one latent; ValueError where the study knows nothing of it."""
    card = next((one for one in cards if one.latent == latent), None)
    rating = next((one for one in study.read("affect", Affect) if one.latent == latent), None)
    said = next((one for one in study.read("explanations", Explanation) if one.latent == latent), None)
    if card is None and rating is None and said is None:
        known = sorted(one.latent for one in study.read("cards", FeatureCard))
        some = ", ".join(map(str, known[:NAMED])) + (f" and {len(known) - NAMED} more" if len(known) > NAMED else "")
        raise ValueError(f"{study.folder} has no card for latent {latent}; it has: {some}")
    excerpts = strongest(study, [latent])
    return LatentCard(
        latent, tables.latent(latent, card, rating, said), said, sorted(excerpts, key=lambda one: -one.peak)
    )


def _without_concept(table: Table) -> Table:
    """The table of one concept alone, without the column that says so."""
    return Table(table.title, table.columns[1:], [row[1:] for row in table.rows], table.note)
