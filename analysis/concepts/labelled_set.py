"""A labelled data set as a concept set: every label a concept, its own splits in place of ours.

Only texts of one concept are taken, as many as the map's limits allow, drawn by lot; a text that is nearly the same as
one of an earlier split is left out, and so is one that holds a readout word of its concept. There are no contrast texts,
and implicit ones only where the map names a split for them. A data set without splits is dealt out by lot: half finding, a
quarter checking, a quarter sealed. Openings to clamp at are those of the bundled set.
"""

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.concepts.column_map import ColumnMap, read_map
from analysis.concepts.concept import (
    NEUTRAL,
    Concept,
    ConceptSet,
    Text,
    bundled,
    bundled_head,
    bundled_openings,
    ratings_in,
    shingles,
    words_of,
)
from analysis.concepts.labelled import LabelledText, labelled_texts, lot

LEAST = 2
"""Finding, and checking, texts without which a label is no concept."""
SPARE = 2
"""How many times the limit is drawn, so that near copies can be left out."""
DEALT = ("finding", "finding", "checking", "sealed")


def labelled_set(source: str | Path, open_sealed: bool = False) -> ConceptSet:
    """The concept set of a column map. Raises ValueError where fewer than two labels have texts enough."""
    column_map = read_map(source)
    if not column_map.labels:
        raise ValueError(f"{source} has no labels: a concept set needs some (ratings alone are for `saes transfer`)")
    drawn = _drawn(column_map, open_sealed)
    texts = _kept(drawn.texts, column_map)
    ratings, ratings_source = ratings_in(bundled() / "ratings.tsv")
    concepts = {
        name: _concept(name, label, texts[name], ratings, column_map)
        for name, label in drawn.labels.items()
        if all(len(texts[name].get(split, ())) >= LEAST for split in ("finding", "checking"))
    }
    if len(concepts) < 2:
        raise ValueError(
            f"{source}: {len(concepts)} of its labels have {LEAST} finding and {LEAST} checking texts, two are needed"
        )
    families: dict[str, list[str]] = {}
    for concept in concepts.values():
        families.setdefault(concept.family, []).append(concept.name)
    neutral = texts[NEUTRAL] | {"prompt": bundled_openings()}
    return ConceptSet(column_map.name, concepts, neutral, _digest(texts), ratings_source, open_sealed, families)


Lots = dict[str, dict[str, list[tuple[int, str, str]]]]
"""concept -> split -> (lot, text, topic)."""
Texts = dict[str, dict[str, tuple[Text, ...]]]
"""concept -> split -> texts."""


@dataclass(frozen=True)
class Drawn:
    texts: Lots
    """Those with the lowest lots, in their order."""
    labels: dict[str, str]
    """concept -> its label in the data set; the first where several labels are one concept."""


def _drawn(column_map: ColumnMap, open_sealed: bool) -> Drawn:
    heaps: Lots = defaultdict(lambda: defaultdict(list))
    labels: set[str] = set()
    taboo: dict[str, set[str]] = {}
    for split, text in _in_splits(column_map, open_sealed):
        labels.update(text.labels)
        names = {_name(label, column_map) for label in text.labels} or ({NEUTRAL} if text.neutral else set())
        if len(names) != 1:
            continue
        name = names.pop()
        if name not in taboo:
            taboo[name] = set(_readout_words(name, column_map))
        if taboo[name] & set(words_of(text.text)):
            continue
        heap = heaps[name][split]
        entry = (-lot(text.text, column_map.seed), text.text, text.topic)
        if entry in heap:
            continue
        if len(heap) < SPARE * _limit(name, split, column_map):
            heapq.heappush(heap, entry)
        elif heap and entry > heap[0]:
            heapq.heapreplace(heap, entry)
    texts = {
        name: {split: sorted((-draw, text, topic) for draw, text, topic in heap) for split, heap in splits.items()}
        for name, splits in heaps.items()
    }
    order = column_map.known_labels() or tuple(sorted(labels))
    first = {_name(label, column_map): label for label in reversed(order) if label in labels}
    return Drawn(texts, dict(reversed(first.items())))


def _in_splits(column_map: ColumnMap, open_sealed: bool) -> Iterator[tuple[str, LabelledText]]:
    if column_map.splits:
        for ours, theirs in column_map.splits.items():
            if open_sealed or ours != "sealed":
                yield from ((ours, text) for text in labelled_texts(column_map, theirs))
        return
    for text in labelled_texts(column_map):
        split = DEALT[lot(text.text, column_map.seed + 1) % len(DEALT)]
        if open_sealed or split != "sealed":
            yield split, text


def _kept(drawn: Lots, column_map: ColumnMap) -> Texts:
    """The drawn texts without near copies; finding texts are looked at first, sealed ones last."""
    seen: set[str] = set()
    kept: Texts = defaultdict(dict)
    for split in ("finding", "checking", "implicit", "sealed"):
        for name, splits in sorted(drawn.items()):
            texts: list[Text] = []
            for number, (_, text, topic) in enumerate(splits.get(split, ())):
                own = set(shingles(text))
                if len(texts) < _limit(name, split, column_map) and not own & seen:
                    seen |= own
                    texts.append(Text(text, topic or f"{name} {split} {number}"))
            if texts:
                kept[name][split] = tuple(texts)
    return kept


def _limit(name: str, split: str, column_map: ColumnMap) -> int:
    return column_map.limits[NEUTRAL if name == NEUTRAL else split]


def _name(label: str, column_map: ColumnMap) -> str:
    return next(iter(column_map.named(label)), label)


def _readout_words(name: str, column_map: ColumnMap) -> tuple[str, ...]:
    own = next((some for label, some in column_map.readout_words.items() if _name(label, column_map) == name), None)
    return tuple(word.lower() for word in own or bundled_head(name).get("readout_words", ()))


def _digest(texts: Texts) -> str:
    """Of all texts that are not sealed."""
    digest = hashlib.sha256()
    for name, splits in sorted(texts.items()):
        for split, some in sorted(splits.items()):
            if split != "sealed":
                digest.update(repr((name, split, [text.text for text in some])).encode())
    return digest.hexdigest()[:16]


def _concept(
    name: str, label: str, texts: dict[str, tuple[Text, ...]], ratings: dict, column_map: ColumnMap
) -> Concept:
    head = bundled_head(name)
    valence, arousal = ratings.get(name, (None, None))
    return Concept(
        name, column_map.family_of(label), head.get("definition", f"what {column_map.name} calls {label}"),
        tuple(head.get("names") or (name,)), _readout_words(name, column_map), texts, valence, arousal,
    )  # fmt: skip
