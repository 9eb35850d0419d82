"""One feature: its labels and their evidence, firings, excerpts, tokens, neighbours, clamped texts and provenance."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from analysis.browser.queries.evidence import Evidence, evidence, not_chosen
from analysis.browser.queries.features import Wanted
from analysis.browser.queries.shown_table import ShownTable, shown_table
from analysis.browser.queries.store import DamagedTable, Store
from analysis.browser.queries.walk import Walk, walk
from analysis.records import Affect, BenchRun, Excerpt, Explanation, FeatureCard, Label, Writer
from analysis.report import svg, tables

RUNS = 6
"""Kept texts that a page shows."""
SHADES = 20
"""Steps of a token's colour, from nothing to the latent's peak."""
SHOWN_APART = ("in the labels of", "promotes", "suppresses", "nearest", "explained")
"""Facts that the page gives more room than a line."""
DRAWN_ABOUT = {
    "top": ("Strongest", "the texts in which it fires most, one excerpt each"),
    "middling": ("Middling", "texts around the middle of those in which it fires, drawn at random"),
    "chance": ("By chance", "texts drawn at random from all, whatever it does there"),
}


@dataclass(frozen=True)
class Token:
    text: str
    value: float
    shade: int
    """0 (silent) to 20 (the latent's peak)."""


@dataclass(frozen=True)
class ShownExcerpt:
    tokens: list[Token]
    concept: str
    """Whose text it is, or "neutral"."""
    split: str
    drawn: str
    peak: float

    @property
    def plain(self) -> str:
        """The stretch of text itself, for copying."""
        return "".join(token.text for token in self.tokens)


@dataclass(frozen=True)
class ExcerptGroup:
    name: str
    title: str
    about: str
    excerpts: list[ShownExcerpt]


@dataclass(frozen=True)
class Neighbour:
    """A latent whose direction is near."""

    latent: int
    cosine: float
    concepts: list[str]
    promoted: list[str]
    known: bool
    """Whether the study has a card for it."""


@dataclass(frozen=True)
class Feature:
    latent: int
    title: str
    """The concepts whose chosen label holds it, else the beginning of its explanation, else nothing."""
    status: str
    """That of the first chosen label that holds it; "" where none does."""
    evidence: list[Evidence]
    """For each concept whose chosen label holds this latent."""
    not_chosen: ShownTable | None
    """Labels with this latent that were not taken."""
    writes: list[Writer]
    """Sets of latents that write a concept, with this one among them."""
    card: FeatureCard | None
    affect: Affect | None
    explanation: Explanation | None
    facts: ShownTable
    groups: list[ExcerptGroup]
    grouped_by: str
    """"strength" or "concept"."""
    neighbours: list[Neighbour]
    runs: list[BenchRun]
    """Texts with this latent clamped that somebody kept on the bench, the newest first."""
    provenance: ShownTable
    walk: Walk

    @property
    def histogram(self) -> Markup:
        """How strong its firings are, drawn."""
        return Markup(svg.histogram(self.card) if self.card else "")


def feature(store: Store, latent: int, wanted: Wanted, grouped_by: str = "strength") -> Feature | None:
    """What the study holds about a latent, and its place in the table that `wanted` asks for. None where the study knows nothing of the latent."""
    card = _first(store.records("cards", "latent = ?", [latent]))
    rating = _first(store.records("affect", "latent = ?", [latent]))
    try:
        said = _first(store.records("explanations", "latent = ?", [latent]))
    except DamagedTable:  # the overview says so; the evidence needs none
        said = None
    labels: list[Label] = store.records("labels", "list_contains(latents, ?)", [latent])
    writes: list[Writer] = store.records("writers", "list_contains(latents, ?) ORDER BY concept", [latent])
    if card is None and rating is None and said is None and not labels and not writes:
        return None
    chosen = [one for one in labels if one.chosen]
    about = shown_table(tables.latent(latent, card, rating, said))
    return Feature(
        latent=latent,
        title=", ".join(one.concept for one in chosen) or _beginning(said),
        status=chosen[0].status if chosen else "",
        evidence=[evidence(store, one) for one in chosen],
        not_chosen=not_chosen(store, labels),
        writes=writes,
        card=card,
        affect=rating,
        explanation=said,
        facts=replace(about, rows=[row for row in about.rows if row[0].text not in SHOWN_APART]),
        groups=_groups(store.records("excerpts", "latent = ?", [latent]), card, grouped_by),
        grouped_by=grouped_by,
        neighbours=_neighbours(store, card),
        runs=store.records("bench", "list_contains(latents, ?) ORDER BY created DESC LIMIT ?", [latent, RUNS]),
        provenance=shown_table(tables.provenance(store.info)),
        walk=walk(store, latent, wanted),
    )


def known_latents(store: Store) -> int:
    """Latents with a card."""
    return store.value("SELECT count(*) FROM cards")


def _groups(excerpts: Sequence[Excerpt], card: FeatureCard | None, by: str) -> list[ExcerptGroup]:
    largest = max([card.peak if card else 0.0, *(one.peak for one in excerpts)], default=0.0)
    ordered = sorted(excerpts, key=lambda one: -one.peak)
    if by == "concept":
        found: dict[str, list[ShownExcerpt]] = defaultdict(list)
        for one in ordered:
            found[one.concept].append(_shown(one, largest))
        names = sorted(found, key=lambda name: (-len(found[name]), -found[name][0].peak, name))
        return [
            ExcerptGroup(name, name, f"excerpts of its texts, n = {len(found[name])}", found[name]) for name in names
        ]
    return [
        ExcerptGroup(drawn, title, about, [_shown(one, largest) for one in ordered if one.drawn == drawn])
        for drawn, (title, about) in DRAWN_ABOUT.items()
        if any(one.drawn == drawn for one in ordered)
    ]


def _shown(one: Excerpt, largest: float) -> ShownExcerpt:
    tokens = [Token(text, value, _shade(value, largest)) for text, value in zip(one.tokens, one.values, strict=True)]
    return ShownExcerpt(tokens, one.concept, one.split, one.drawn, one.peak)


def _shade(value: float, largest: float) -> int:
    """At least 1 where it fires at all."""
    return min(SHADES, max(1, round(SHADES * value / largest))) if value > 0 and largest > 0 else 0


def _neighbours(store: Store, card: FeatureCard | None) -> list[Neighbour]:
    if card is None or not card.nearest:
        return []
    marks = ", ".join("?" * len(card.nearest))
    rows = store.rows(
        f"SELECT latent, concepts, promoted[1:4] AS promoted FROM cards WHERE latent IN ({marks})", card.nearest
    )
    known = {row["latent"]: row for row in rows}
    nothing: dict[str, list[str]] = {"concepts": [], "promoted": []}
    return [
        Neighbour(
            latent,
            cosine,
            known.get(latent, nothing)["concepts"],
            known.get(latent, nothing)["promoted"],
            latent in known,
        )
        for latent, cosine in zip(card.nearest, card.nearest_cosine, strict=True)
    ]


def _beginning(said: Explanation | None) -> str:
    text = (said.text if said else None) or ""
    return text if len(text) <= 70 else text[:69].rsplit(" ", 1)[0] + "…"


def _first(found: list):
    return found[0] if found else None
