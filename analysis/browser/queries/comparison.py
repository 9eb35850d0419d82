"""Two studies side by side: what differs in their facts, and their features matched by concept and by direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.browser.queries.directions import Decoder, NoDirections, decoder_of, nearest, unit
from analysis.browser.queries.store import Store
from analysis.records import Agreement, Label, StudyInfo

FREE = 500
"""Latents of no label whose nearest cosines make the null."""


@dataclass(frozen=True)
class Side:
    name: str
    """Of the study's folder, with as much of its path as tells the two apart."""
    model: str
    site: str
    labels: int
    held: int
    validated: int


@dataclass(frozen=True)
class Fact:
    name: str
    own: str
    other: str


@dataclass(frozen=True)
class Matched:
    """One concept; None on the side that has no label of it."""

    concept: str
    status: str | None
    other_status: str | None
    latents: list[int]
    other_latents: list[int]
    auroc: float | None
    low: float | None
    high: float | None
    n: int | None
    """Checking texts."""
    other_auroc: float | None
    other_low: float | None
    other_high: float | None
    other_n: int | None
    cosine: float | None
    """Between what the two labels write; None where that cannot be told."""
    r: float | None
    """Spearman's, of the two labels' values over checking texts (`saes stability`); None where that was not run."""
    r_low: float | None
    r_high: float | None


@dataclass(frozen=True)
class NearestLatent:
    """A latent of a chosen label here, and the latent of the other SAE whose direction is nearest."""

    latent: int
    concepts: list[str]
    other_latent: int
    other_concepts: list[str]
    cosine: float
    mutual: bool
    """Whether the other's nearest latent here is this one."""
    has_page: bool
    """Whether the other study has a card of its latent."""


@dataclass(frozen=True)
class Comparison:
    own: Side
    other: Side | None
    """None where the app was started with one study."""
    command: str
    facts: list[Fact]
    """Those that differ."""
    same: list[str]
    """The names of those that do not."""
    matched: list[Matched]
    nearest: list[NearestLatent]
    why_no_directions: str
    cosine_null: float | None
    """The 95th percentile of the cosine between labels of different concepts."""
    nearest_null: float | None
    """The 95th percentile, over latents of no label, of the cosine with the nearest latent of the other SAE."""
    r_null: float | None
    n_free: int

    @property
    def nearest_above(self) -> int:
        """Latents whose nearest one is nearer than those of no label mostly are."""
        return sum(self.nearest_null is not None and one.cosine > self.nearest_null for one in self.nearest)


def comparison(own: Store, other: Store | None) -> Comparison:
    """Everything that the page shows."""
    if other is None:
        command = f"saes browse {own.folder} --compare OTHER_STUDY"
        return Comparison(_side(own, own.folder.name), None, command, [], [], [], [], "", None, None, None, 0)
    names = _told_apart(own.folder, other.folder)
    mine, theirs = (_labels(store) for store in (own, other))
    agreements, r_null = _agreements(own, other)
    found, why = _directions(own, other, mine, theirs)
    facts, same = _facts(own.info, other.info)
    concepts = sorted(mine.keys() | theirs.keys())
    rows = []
    for concept in concepts:
        one, two, known = mine.get(concept), theirs.get(concept), agreements.get(concept)
        rows.append(
            Matched(
                concept, one.status if one else None, two.status if two else None, one.latents if one else [],
                two.latents if two else [], *_auroc(one), *_auroc(two),
                found.cosines.get(concept) if found else known.cosine if known else None,
                known.r if known else None, known.r_low if known else None, known.r_high if known else None,
            )
        )  # fmt: skip
    return Comparison(
        _side(own, names[0]), _side(other, names[1]), "", facts, same, rows, found.latents if found else [], why,
        found.cosine_null if found else None, found.nearest_null if found else None, r_null, found.n_free if found else 0,
    )  # fmt: skip


@dataclass(frozen=True)
class Directions:
    """What the two decoders say."""

    cosines: dict[str, float]
    """concept -> the cosine of the two labels' directions."""
    cosine_null: float | None
    nearest_null: float | None
    n_free: int
    latents: list[NearestLatent]


def _directions(
    own: Store, other: Store, mine: dict[str, Label], theirs: dict[str, Label]
) -> tuple[Directions | None, str]:
    """None, and the reason, where the two SAEs' directions cannot be compared."""
    if own.info.site != other.info.site:
        return None, f"the two SAEs write different places ({own.info.site}, {other.info.site})"
    try:
        decoders = decoder_of(own.study), decoder_of(other.study)
    except NoDirections as error:
        return None, str(error)
    if decoders[0].d_in != decoders[1].d_in:
        return None, f"the two SAEs write vectors of {decoders[0].d_in} and {decoders[1].d_in} numbers"
    stamps = tuple((one.path.stat().st_mtime_ns, one.path.stat().st_size) for one in decoders)
    key = (stamps, own.stamp("labels", "cards"), other.stamp("labels", "cards"))
    try:
        return _compared(own.folder, other.folder, *decoders, key), ""
    except (OSError, IndexError) as error:
        return None, f"the labels are not of the SAE that lies there ({error})"


@lru_cache(maxsize=4)
def _compared(own: Path, other: Path, decoder: Decoder, other_decoder: Decoder, stamps: Any) -> Directions:
    stores = Store(own), Store(other)
    try:
        mine, theirs = (_labels(store) for store in stores)
        shared = sorted(mine.keys() & theirs.keys())
        ours, others = (
            unit(np.array([written(labels[concept], decoder_) for concept in shared]).reshape(len(shared), decoder_.d_in))
            for labels, decoder_ in ((mine, decoder), (theirs, other_decoder))
        )  # fmt: skip
        cosines = ours @ others.T
        foreign = cosines[~np.eye(len(shared), dtype=bool)]
        holders, other_holders = _holders(mine), _holders(theirs)
        latents = sorted(holders)
        where, near = (
            nearest(unit(decoder.rows(latents)), other_decoder) if latents else (np.array([], int), np.array([]))
        )
        back = nearest(unit(other_decoder.rows(where)), decoder)[0] if latents else where
        free = np.setdiff1d(np.arange(decoder.d_sae), latents)
        drawn = np.sort(np.random.default_rng(0).permutation(free)[:FREE])
        null = nearest(unit(decoder.rows(drawn)), other_decoder)[1] if len(drawn) else np.array([])
        carded = {row["latent"] for row in stores[1].rows("SELECT latent FROM cards")}
        return Directions(
            {concept: float(cosines[at, at]) for at, concept in enumerate(shared)},
            float(np.quantile(foreign, 0.95)) if foreign.size else None,
            float(np.quantile(null, 0.95)) if null.size else None,
            len(drawn),
            [
                NearestLatent(
                    latent, holders[latent], int(place), other_holders.get(int(place), []), float(cosine), bool(mutual == latent),
                    int(place) in carded,
                )
                for latent, place, cosine, mutual in zip(latents, where, near, back, strict=True)
            ],
        )  # fmt: skip
    finally:
        for store in stores:
            store.close()


def written(label: Label, decoder: Decoder) -> Float[np.ndarray, " d_in"]:
    """What one dose unit of a label writes, as `analysis.geometry.label_directions` has it."""
    return np.multiply(label.weights, label.scales) @ decoder.rows(label.latents)


def _labels(store: Store) -> dict[str, Label]:
    return {row["concept"]: Label(**row) for row in store.rows("SELECT * FROM labels WHERE chosen ORDER BY concept")}


def _holders(labels: dict[str, Label]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for concept, label in labels.items():
        for latent in label.latents:
            found.setdefault(latent, []).append(concept)
    return found


def _auroc(label: Label | None) -> tuple[float | None, float | None, float | None, int | None]:
    if label is None:
        return None, None, None, None
    return (
        label.auroc_checking,
        label.auroc_checking_low,
        label.auroc_checking_high,
        label.n_positive + label.n_negative,
    )


def _agreements(own: Store, other: Store) -> tuple[dict[str, Agreement], float | None]:
    """What `saes stability` found of the two, whichever study it wrote into; and the null of its r."""
    pair = {own.folder, other.folder}
    for store in (own, other):
        rows = [Agreement(**row) for row in store.rows("SELECT * FROM agreements")]
        found = [one for one in rows if {_place(one.study), _place(one.other)} == pair]
        if found:
            nulls = [one.r_null for one in found if one.r_null is not None]
            return {one.concept: one for one in found}, max(nulls, default=None)
    return {}, None


def _place(folder: str) -> Path:
    return Path(folder).resolve()


def _side(store: Store, name: str) -> Side:
    info, labels = store.info, _labels(store).values()
    return Side(
        name, info.model, info.site, len(labels), sum(one.is_held for one in labels), sum(one.status == "validated" for one in labels)
    )  # fmt: skip


def _told_apart(own: Path, other: Path) -> tuple[str, str]:
    """The shortest ends of the two paths that differ."""
    for length in range(1, max(len(own.parts), len(other.parts)) + 1):
        names = tuple("/".join(path.parts[-length:]).lstrip("/") for path in (own, other))
        if names[0] != names[1]:
            return names[0], names[1]
    return own.name, other.name


def _facts(own: StudyInfo, other: StudyInfo) -> tuple[list[Fact], list[str]]:
    """Everything that study.json says, nested settings by dotted name."""
    sides = [dict(_flat("", one.as_dict())) for one in (own, other)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    facts = [Fact(name.removeprefix("settings."), sides[0].get(name, "–"), sides[1].get(name, "–")) for name in names]
    return [one for one in facts if one.own != one.other], [one.name for one in facts if one.own == one.other]


def _flat(prefix: str, value: Any) -> Sequence[tuple[str, str]]:
    if isinstance(value, dict):
        return [
            pair for name, inner in value.items() for pair in _flat(f"{prefix}.{name}" if prefix else str(name), inner)
        ]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]
