"""The concepts, and one concept: its features, scores, rivals, clamps, and what its label does to every concept."""

from dataclasses import dataclass
from typing import Any, Literal

from analysis.browser.queries.concept_facts import concept_facts
from analysis.browser.queries.effect_matrix import EffectMatrix, effect_matrix
from analysis.browser.queries.evidence import Evidence, evidence, not_chosen
from analysis.browser.queries.shown_table import ShownTable, shown_table
from analysis.browser.queries.store import Store
from analysis.records import STATUSES, Label, Probe, Writer
from analysis.report import tables
from analysis.report.content import ConceptFacts

ConceptSort = Literal["family", "concept", "status", "auroc", "implicit", "diff_means", "effect"]
PROBED = 10
"""Latents of the probes that a concept's page lists."""


@dataclass(frozen=True)
class ConceptRow:
    concept: str
    family: str
    status: str
    kind: str
    latents: list[int]
    auroc: float
    auroc_low: float
    auroc_high: float
    n_positive: int
    n_negative: int
    implicit: float | None
    implicit_low: float | None
    implicit_high: float | None
    diff_means: float | None
    """AUROC on the same checking texts of the difference of means."""
    diff_means_low: float | None
    diff_means_high: float | None
    effect: float | None
    """Of its clamp, by the judge."""
    effect_low: float | None
    effect_high: float | None
    n_prompts: int | None


@dataclass(frozen=True)
class ConceptList:
    rows: list[ConceptRow]
    sort: str
    matrix: EffectMatrix


@dataclass(frozen=True)
class BestFeature:
    """A latent that goes with the concept."""

    latent: int
    role: str
    """Where it comes from: the chosen label, another label, or its place among the best detectors on finding texts."""
    concepts: list[str]
    """All concepts whose chosen label holds it."""
    density: float | None
    promoted: list[str]


@dataclass(frozen=True)
class MovedConcept:
    """What a label does to a concept."""

    name: str
    """The concept, or, where one concept is looked at, the label."""
    judge: float
    low: float
    high: float
    own: bool
    family: bool
    """Whether it is of the same family."""
    n: int
    """Prompts."""

    @property
    def bar(self) -> tuple[float, float, float, float, bool]:
        """Left edge, width, and both ends of the interval, in percent of a line from -1 to 1; whether it points right."""

        def at(value: float) -> float:
            return 50 * (1 + max(-1.0, min(1.0, value)))

        left, right = sorted((50.0, at(self.judge)))
        return left, right - left, at(self.low), at(self.high), self.judge >= 0


@dataclass(frozen=True)
class Concept:
    concept: str
    family: str
    siblings: list[str]
    valence: float | None
    arousal: float | None
    definition: str
    evidence: Evidence
    not_chosen: ShownTable | None
    features: list[BestFeature]
    together: list[Probe]
    """A logistic probe on the k best latents."""
    moves: list[MovedConcept]
    """What its label does to each concept, the largest first."""
    moved_by: list[MovedConcept]
    """Which labels move the text towards it, or away."""
    matrix: EffectMatrix
    arms: ShownTable | None
    """Every arm with its verdict."""
    before: str | None
    after: str | None


def concept_list(store: Store, sort: ConceptSort = "family") -> ConceptList:
    """Every concept with a chosen label."""
    about = concept_facts(store)
    found = store.rows(
        """
        SELECT one.concept, one.status, one.kind, one.latents, one.auroc_checking AS auroc, one.auroc_checking_low AS auroc_low,
               one.auroc_checking_high AS auroc_high, one.n_positive, one.n_negative, one.auroc_implicit AS implicit,
               one.auroc_implicit_low AS implicit_low, one.auroc_implicit_high AS implicit_high,
               means.auroc_checking AS diff_means, means.auroc_checking_low AS diff_means_low,
               means.auroc_checking_high AS diff_means_high, clamps.judge AS effect, clamps.judge_low AS effect_low,
               clamps.judge_high AS effect_high, clamps.n_prompts
        FROM labels AS one
        LEFT JOIN baselines AS means ON means.concept = one.concept AND means.method = 'diff_means'
        LEFT JOIN clamps ON clamps.concept = one.concept AND clamps.arm = 'label'
        WHERE one.chosen
        """
    )
    rows = [ConceptRow(family=about.get(row["concept"], ConceptFacts()).family, **row) for row in found]
    return ConceptList(sorted(rows, key=lambda one: _place(one, sort)), sort, effect_matrix(store))


def _place(one: ConceptRow, sort: ConceptSort) -> tuple[Any, ...]:
    """Names rise, figures fall, what is not known comes last."""
    value = getattr(one, sort)
    if sort == "status":
        return (-STATUSES.index(value) if value in STATUSES else 0, one.concept)
    if sort in ("family", "concept"):
        return (value, one.concept)
    return (value is None or value != value, -(value or 0.0), one.concept)


def concept(store: Store, name: str) -> Concept | None:
    """None where no chosen label is of this concept."""
    labels: list[Label] = store.records("labels", "concept = ?", [name])
    chosen = next((one for one in labels if one.chosen), None)
    if chosen is None:
        return None
    about = concept_facts(store)
    mine = about.get(name, ConceptFacts())
    probes: list[Probe] = sorted(store.records("probes", "concept = ?", [name]), key=lambda one: one.k)
    names = [row["concept"] for row in store.rows("SELECT concept FROM labels WHERE chosen")]
    order = sorted(names, key=lambda one: (about.get(one, ConceptFacts()).family, one))
    at = order.index(name)
    shown = evidence(store, chosen)
    claims = store.records("clamps", "concept = ? AND arm IN ('label', 'written', 'diff_means', 'ablate')", [name])
    return Concept(
        concept=name,
        family=mine.family,
        siblings=[
            one for one in order if mine.family and about.get(one, ConceptFacts()).family == mine.family and one != name
        ],
        valence=mine.valence,
        arousal=mine.arousal,
        definition=mine.definition,
        evidence=shown,
        not_chosen=not_chosen(store, labels),
        features=_features(store, labels, shown.writer, probes),
        together=probes,
        moves=_moves(store, "arm_id", "concept", name, about),
        moved_by=_moves(store, "concept", "arm_id", name, about),
        matrix=effect_matrix(store),
        arms=shown_table(tables.clamps(claims)) if claims else None,
        before=order[at - 1] if at else None,
        after=order[at + 1] if at + 1 < len(order) else None,
    )


def _features(store: Store, labels: list[Label], writer: Writer | None, probes: list[Probe]) -> list[BestFeature]:
    roles: dict[int, str] = {}
    for one in sorted(labels, key=lambda one: not one.chosen):
        for latent in one.latents:
            roles.setdefault(latent, f"{'the label' if one.chosen else 'another label'} ({one.kind})")
    for latent in writer.latents if writer else ():
        roles[latent] = f"{roles[latent]}, and writes it" if latent in roles else "writes it"
    largest = max(probes, key=lambda one: one.k, default=None)
    for place, latent in enumerate((largest.latents if largest else [])[:PROBED], start=1):
        roles.setdefault(latent, f"detector {place} on finding texts")
    if not roles:
        return []
    marks = ", ".join("?" * len(roles))
    rows = store.rows(
        f"SELECT latent, concepts, density, promoted[1:5] AS promoted FROM cards WHERE latent IN ({marks})", list(roles)
    )
    known = {row["latent"]: row for row in rows}
    nothing: dict[str, Any] = {"concepts": [], "density": None, "promoted": []}
    return [
        BestFeature(latent, role, **{key: known.get(latent, nothing)[key] for key in nothing})
        for latent, role in roles.items()
    ]


def _moves(store: Store, fixed: str, free: str, name: str, about: dict[str, ConceptFacts]) -> list[MovedConcept]:
    assert {fixed, free} == {"arm_id", "concept"}
    rows = store.rows(
        f"SELECT {free} AS name, judge, judge_low AS low, judge_high AS high, n_prompts AS n FROM effects "
        f"WHERE arm = 'label' AND {fixed} = ? AND isfinite(judge) ORDER BY judge DESC, name",
        [name],
    )
    family = about.get(name, ConceptFacts()).family
    return [
        MovedConcept(
            own=row["name"] == name,
            family=bool(family) and about.get(row["name"], ConceptFacts()).family == family,
            **row,
        )
        for row in rows
    ]
