"""The table of features: what may be asked of it, which rows that leaves, and one page of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from analysis.browser.queries.concept_facts import concept_facts
from analysis.browser.queries.feature_index import STATUSES, FeatureIndex, feature_index
from analysis.browser.queries.store import DamagedTable, Store
from analysis.report.content import ConceptFacts

NO_LABEL = "no label"
RANGES = ("density", "auroc", "effect", "lexical")
"""Columns that may be asked to lie between two bounds."""
RATINGS = ("valence", "arousal")
"""The same for human ratings of the concepts of a latent's labels."""
SORTS = ("latent", "concept", "status", "auroc", "effect", "lexical", "density", "peak")
PER: Literal["50"] = "50"
"""Rows a page, unless others are asked for."""
KEPT_ORDERS = 16
BATCH = 4096
MOST_LETTERS = 200
DEEPEST = 1_000_000
"""Pages."""


def _blank(value: Any) -> Any:
    """An empty field of a form asks for nothing."""
    return None if value == "" else value


Number = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_blank)]
Name = Annotated[Annotated[str, Field(max_length=MOST_LETTERS)] | None, BeforeValidator(_blank)]


class Wanted(BaseModel):
    """What the address of the table asks for: the whole state of the view."""

    model_config = ConfigDict(frozen=True)

    q: Annotated[
        str, Field(max_length=MOST_LETTERS, description="in labels, explanations, tokens; or a latent's number")
    ] = ""
    concept: Name = None
    family: Name = None
    status: Annotated[
        list[str], Field(max_length=20, description="any of these; 'no label' for latents of no label")
    ] = []
    density_from: Number = None
    density_to: Number = None
    auroc_from: Number = None
    auroc_to: Number = None
    effect_from: Number = None
    effect_to: Number = None
    lexical_from: Number = None
    lexical_to: Number = None
    valence_from: Number = None
    valence_to: Number = None
    arousal_from: Number = None
    arousal_to: Number = None
    sort: Annotated[str, Field(pattern=f"^-?({'|'.join(SORTS)})$", description="a minus first: from high to low")] = (
        "-auroc"
    )
    page: Annotated[int, Field(ge=1, le=DEEPEST)] = 1
    per: Annotated[Literal["25", "50", "100", "200"], BeforeValidator(lambda value: value or PER)] = PER

    @property
    def address(self) -> dict[str, Any]:
        """The query string's values, without those that ask for nothing."""
        standard = {name: one.default for name, one in type(self).model_fields.items()}
        return {
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in self.model_dump().items()
            if value != standard[name] and value not in (None, "", [])
        }

    @property
    def narrows(self) -> dict[str, Any]:
        """Those of them that leave rows out."""
        return {name: value for name, value in self.address.items() if name not in ("sort", "page", "per")}


@dataclass(frozen=True)
class FeatureRow:
    """One latent. What is said of a label is said of its best one; None throughout where it is in none."""

    latent: int
    concepts: list[str]
    """The concepts whose chosen label holds it, the best label first."""
    kind: str | None
    """"single" or "recipe"."""
    status: str | None
    auroc: float | None
    """On checking texts."""
    auroc_low: float | None
    auroc_high: float | None
    n_texts: int | None
    """Checking texts, with and without the concept."""
    lexical: float | None
    effect: float | None
    """Of clamping the label, by the judge."""
    effect_low: float | None
    effect_high: float | None
    n_prompts: int | None
    density: float
    peak: float
    promoted: list[str]
    explanation: str | None
    histogram: list[float]
    doses: list[float]
    judged: list[float]
    """The judge's effect at those doses."""


@dataclass(frozen=True)
class Choice:
    name: str
    n: int
    """Latents."""


@dataclass(frozen=True)
class FeatureTable:
    rows: list[FeatureRow]
    total: int
    """Rows over all pages."""
    all: int
    """Latents with a card, whatever is asked for."""
    page: int
    pages: int
    first: int
    last: int
    """Which of the rows are shown, from 1."""
    wanted: dict[str, Any]
    """The address's values."""
    concepts: list[str]
    families: list[str]
    statuses: list[Choice]
    ranges: dict[str, tuple[float, float]]
    """Smallest and largest value of what can be filtered by; without those that no latent has."""
    has_curves: bool
    has_explanations: bool
    searches_excerpts: bool


def feature_table(store: Store, wanted: Wanted) -> FeatureTable:
    """One page of the table; a page beyond the last is the last."""
    index = feature_index(store)
    ordered = ordered_latents(store, wanted)
    per = int(wanted.per)
    pages = max(1, -(-len(ordered) // per))
    page = min(wanted.page, pages)
    shown = [int(latent) for latent in ordered[per * (page - 1) : per * page]]
    facts = concept_facts(store)
    concepts = sorted({one.concept for several in index.labels.values() for one in several})
    counted = Counter(status for latent in index.labels for status in {one.status for one in index.labels[latent]})
    unlabelled = len(index.latents) - int(index.among(index.labels).sum())
    return FeatureTable(
        rows=feature_rows(store, shown),
        total=len(ordered),
        all=len(index.latents),
        page=page,
        pages=pages,
        first=per * (page - 1) + 1 if shown else 0,
        last=per * (page - 1) + len(shown),
        wanted=wanted.address | ({"page": page} if page != wanted.page else {}),
        concepts=concepts,
        families=sorted({facts[name].family for name in concepts if name in facts and facts[name].family}),
        statuses=[
            *(Choice(name, counted[name]) for name in STATUSES if counted[name]),
            *([Choice(NO_LABEL, unlabelled)] if unlabelled else []),
        ],
        ranges=_ranges(index, [facts[name] for name in concepts if name in facts]),
        has_curves=store.made("curves"),
        has_explanations=store.made("explanations"),
        searches_excerpts=index.searches_excerpts,
    )


def ordered_latents(store: Store, wanted: Wanted) -> np.ndarray:
    """Every latent that is asked for, in the order asked for. What has no value stands last, whichever way."""
    index = feature_index(store)
    asked = wanted.model_copy(update={"page": 1, "per": PER}).model_dump_json()
    found = index.orders.get(asked)
    if found is None:
        found = index.orders[asked] = _ordered(index, wanted, concept_facts(store))
        while len(index.orders) > KEPT_ORDERS:
            index.orders.popitem(last=False)
    return found


def _ordered(index: FeatureIndex, wanted: Wanted, facts: dict[str, ConceptFacts]) -> np.ndarray:
    keep = np.ones(len(index.latents), dtype=bool)
    if wanted.q.strip():
        keep &= index.search(wanted.q)
    if wanted.concept is not None:
        keep &= index.of_labels(lambda one: one.concept == wanted.concept)
    if wanted.family is not None:
        keep &= index.of_labels(lambda one: one.concept in facts and facts[one.concept].family == wanted.family)
    if wanted.status:
        asked = index.of_labels(lambda one: one.status in wanted.status)
        keep &= asked | ~index.among(index.labels) if NO_LABEL in wanted.status else asked
    if any(getattr(wanted, f"{name}_{end}") is not None for name in RATINGS for end in ("from", "to")):
        keep &= index.of_labels(lambda one: one.concept in facts and _lies_within(facts[one.concept], wanted))
    for name in RANGES:
        low, high = _bounds(wanted, name)
        if low is not None:
            keep &= index.columns[name] >= low
        if high is not None:
            keep &= index.columns[name] <= high
    places = np.flatnonzero(keep)
    by, down = wanted.sort.removeprefix("-"), wanted.sort.startswith("-")
    if by == "latent":
        return index.latents[places[::-1] if down else places]
    if by == "concept":
        names = index.concept[places]
        ranked = np.unique(names, return_inverse=True)[1].astype(float)
        values = np.where(names == "", np.nan, ranked)
    else:
        values = index.columns[by][places]
    order = np.argsort(-values if down else values, kind="stable")  # NaN goes last either way
    return index.latents[places[order]]


def _bounds(wanted: Wanted, name: str) -> tuple[float | None, float | None]:
    return getattr(wanted, f"{name}_from"), getattr(wanted, f"{name}_to")


def _lies_within(facts: ConceptFacts, wanted: Wanted) -> bool:
    for name in RATINGS:
        value, (low, high) = getattr(facts, name), _bounds(wanted, name)
        if (low is not None or high is not None) and value is None:
            return False
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


def feature_rows(store: Store, latents: list[int]) -> list[FeatureRow]:
    """What the table says of these latents, in this order."""
    given = {"latents": latents}
    cards = store.rows(
        """SELECT latent, concepts, density, peak, promoted[:6] AS promoted, histogram_counts AS histogram
        FROM cards WHERE latent IN (SELECT unnest($latents::BIGINT[]))""",
        given,
    )
    known = {row["latent"]: row for row in cards}
    index = feature_index(store)
    first = {latent: index.labels[latent][0].concept for latent in latents if latent in index.labels}
    labels = {
        row["concept"]: row
        for row in store.rows(
            """SELECT one.concept, one.kind, one.status, one.auroc_checking AS auroc, one.auroc_checking_low AS auroc_low,
                one.auroc_checking_high AS auroc_high, one.n_positive + one.n_negative AS n_texts,
                one.lexical_share AS lexical, clamps.judge AS effect, clamps.judge_low AS effect_low,
                clamps.judge_high AS effect_high, clamps.n_prompts
            FROM labels AS one LEFT JOIN clamps ON clamps.concept = one.concept AND clamps.arm = 'label'
            WHERE one.chosen AND one.concept IN (SELECT unnest($concepts::VARCHAR[]))""",
            {"concepts": sorted(set(first.values()))},
        )
    }
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in store.rows(
        "SELECT concept, dose, judge FROM curves WHERE claim = 'label' AND concept IN (SELECT unnest($concepts::VARCHAR[])) "
        "ORDER BY dose",
        {"concepts": sorted(labels)},
    ):
        curves.setdefault(row["concept"], []).append((row["dose"], row["judge"]))
    said = _explanations(store, latents)
    nothing = dict.fromkeys(
        ("kind", "status", "auroc", "auroc_low", "auroc_high", "n_texts", "lexical", "effect", "effect_low",
         "effect_high", "n_prompts")
    )  # fmt: skip
    rows = []
    for latent in latents:
        if latent not in known:  # written anew since the order was made
            continue
        label = labels.get(first.get(latent, ""), nothing)
        curve = curves.get(first.get(latent, ""), [])
        rows.append(
            FeatureRow(
                **known[latent] | {"concepts": [one.concept for one in index.labels.get(latent, [])]},
                **{name: label[name] for name in nothing},
                explanation=said.get(latent),
                doses=[dose for dose, _ in curve],
                judged=[judged for _, judged in curve],
            )
        )
    return rows


def _explanations(store: Store, latents: list[int]) -> dict[int, str | None]:
    """By latent. None of them where their table cannot be read, which the overview says: the rest of the table needs it not."""
    try:
        found = store.rows(
            'SELECT latent, "text" AS said FROM explanations WHERE latent IN (SELECT unnest($latents::BIGINT[]))',
            {"latents": latents},
        )
    except DamagedTable:
        return {}
    return {row["latent"]: row["said"] for row in found}


def _ranges(index: FeatureIndex, facts: list[ConceptFacts]) -> dict[str, tuple[float, float]]:
    columns = {name: index.columns[name] for name in RANGES}
    columns |= {name: np.array([getattr(one, name) for one in facts], dtype=float) for name in RATINGS}
    known = {name: values[np.isfinite(values)] for name, values in columns.items()}
    return {name: (float(values.min()), float(values.max())) for name, values in known.items() if len(values)}


def all_rows(store: Store, wanted: Wanted) -> Iterator[list[FeatureRow]]:
    """Every row that is asked for, some at a time, for downloads."""
    latents = ordered_latents(store, wanted)
    for at in range(0, len(latents), BATCH):
        yield feature_rows(store, [int(latent) for latent in latents[at : at + BATCH]])
