"""Traces of a study's labels over texts and chats, with alarms: a stream of events, whatever the length.

for event in monitor(study, read_documents("chat.jsonl"), rules=[parse_rule("desperate > p99 for 20")]):
    print(event.as_dict())
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.monitoring.alarms import Alarm, Rule, Watch
from analysis.monitoring.divergence import Divergence, Outside
from analysis.monitoring.reader import Block, LevelReader
from analysis.monitoring.reference import Reference, load_reference, reference_of
from analysis.monitoring.transcript import Document
from analysis.study import Study

REFERENCE = "reference.npz"
"""In the study's folder: the levels of its own concept texts."""
SPLITS = ("finding", "checking")


@dataclass(frozen=True)
class TokenRead:
    document: int
    token: int
    text: str
    turn: int
    """-1 for a template's marks."""
    speaker: str
    levels: dict[str, float]
    """Dose units."""
    percentiles: dict[str, float]
    """Of the reference's tokens, the share that lies lower."""

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "token", **asdict(self)}


@dataclass(frozen=True)
class AlarmRaised:
    document: int
    token: int
    turn: int
    rule: str
    mean: float
    threshold: float

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "alarm", **asdict(self)}


@dataclass(frozen=True)
class TurnRead:
    """A turn that has ended."""

    document: int
    turn: int
    speaker: str
    n_tokens: int
    mean: dict[str, float]
    peak: dict[str, float]
    peak_percentile: dict[str, float]
    diverges: list[Divergence] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "turn", **asdict(self)}


Event = TokenRead | AlarmRaised | TurnRead


def monitor(
    study: Study,
    documents: Iterable[Document | tuple[Document, Iterable[Block]]],
    rules: Sequence[Rule] = (),
    concepts: Sequence[str] | None = None,
    reference: Reference | None = None,
    reader: LevelReader | None = None,
    outside: Outside | None = None,
) -> Iterator[Event]:
    """Each token, each alarm where it is raised, and each turn when it has ended, in order; bounded memory.

    A document may come with its blocks, as one does that is just being written (`live.written_live`). `reference` is by default `reference_for(study, reader)`. `outside` adds to every turn where it parts from the words.
    """
    reader = reader or LevelReader.of_study(study, concepts)
    reference = reference or reference_for(study, reader)
    watch = Watch(rules, reference)
    for number, one in enumerate(documents):
        document, blocks = one if isinstance(one, tuple) else (one, reader.blocks(one))
        watch.begin()
        sums = _Turns(number, document, reader.concepts, reference, outside)
        for block in blocks:
            yield from _of_block(number, document, block, reader.concepts, reference, watch, sums)
        yield from sums.end()


def _of_block(
    number: int,
    document: Document,
    block: Block,
    concepts: tuple[str, ...],
    reference: Reference,
    watch: Watch,
    sums: "_Turns",
) -> Iterator[Event]:
    percentiles = reference.percentiles(block.levels)
    for at, text in enumerate(block.strings):
        turn = int(block.turns[at])
        yield from sums.next(turn, text, block.levels[at], percentiles[at])
        speaker = document.turns[turn].speaker if turn >= 0 else ""
        yield TokenRead(
            number,
            block.first + at,
            text,
            turn,
            speaker,
            _named(concepts, block.levels[at]),
            _named(concepts, percentiles[at]),
        )
        for alarm in watch.feed(block.levels[at : at + 1]):
            yield raised(number, block.first + at, turn, alarm)


def raised(document: int, token: int, turn: int, alarm: Alarm) -> AlarmRaised:
    return AlarmRaised(document, token, turn, str(alarm.rule), alarm.mean, alarm.threshold)


class _Turns:
    """Adds up the turn that is being read, and gives it when the next one begins."""

    def __init__(
        self, number: int, document: Document, concepts: tuple[str, ...], reference: Reference, outside: Outside | None
    ):
        self.number, self.document, self.concepts = number, document, concepts
        self.reference, self.outside = reference, outside
        self.turn, self.n_tokens = -1, 0
        self.words: list[str] = []
        self.total = self.peak = self.highest = np.zeros(len(concepts))

    def next(self, turn: int, text: str, levels: np.ndarray, percentiles: np.ndarray) -> Iterator[TurnRead]:
        if turn < 0:
            return
        if turn != self.turn:
            yield from self.end()
            self.turn, self.n_tokens, self.words = turn, 0, []
            self.total = self.peak = self.highest = np.zeros(len(self.concepts))
        self.n_tokens += 1
        self.words.append(text)
        self.total = self.total + levels
        self.peak, self.highest = np.maximum(self.peak, levels), np.maximum(self.highest, percentiles)

    def end(self) -> Iterator[TurnRead]:
        if self.turn < 0 or not self.n_tokens:
            return
        speaker, means = self.document.turns[self.turn].speaker, self.total / self.n_tokens
        parted = self.outside.of("".join(self.words), means, self.n_tokens) if self.outside else []
        yield TurnRead(
            self.number, self.turn, speaker, self.n_tokens, _named(self.concepts, means), _named(self.concepts, self.peak),
            _named(self.concepts, self.highest), parted,
        )  # fmt: skip


def _named(concepts: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return {concept: round(float(value), 4) for concept, value in zip(concepts, values, strict=True)}


# ---- what is usual


def reference_for(
    study: Study, reader: LevelReader, path: str | Path | None = None, told: Callable[[int], None] | None = None
) -> Reference:
    """The reference of the study's own concept texts, measured once and kept in its folder; or of a file's lines.

    The concept texts are full of emotion, so that their 99th percentile is a high bar. ``told`` hears after each of them how
    many were read, and ends the measuring by an error of its own. Raises ValueError where the study's
    concept set is not at hand and no file is given.
    """
    if path is not None:
        texts = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        return reference_of(reader.concepts, reader.texts(texts), f"{Path(path).name} {_hash(texts)}")
    source = own_source(study, reader.model.name)
    kept = study.folder / REFERENCE
    if kept.is_file():
        held = load_reference(kept)
        if held.source == source and set(reader.concepts) <= set(held.concepts):
            return of_concepts(held, reader.concepts)
    found = reference_of(reader.concepts, _counted(reader.texts(reference_texts(study)), told), source)
    if not kept.is_file() or load_reference(kept).source != source:
        with suppress(PermissionError):  # a study that cannot be written to is measured each time
            found.save(kept)
    return found


def own_source(study: Study, model: str) -> str:
    """What the reference of a study's own texts is of: the texts, the SAE, the model, and the labels chosen now."""
    labels = _hash([f"{one.concept} {one.latents} {one.scales}" for one in study.labels()])
    info = study.info
    return f"{info.concept_set} {info.concept_hash} by {info.sae_hash[:16]} in {model}, labels {labels}"


def _counted(levels: Iterable[np.ndarray], told: Callable[[int], None] | None) -> Iterator[np.ndarray]:
    for count, one in enumerate(levels, start=1):
        yield one
        if told is not None:
            told(count)


def reference_texts(study: Study) -> list[str]:
    """Finding and checking texts of all concepts, and neutral ones."""
    held = study.concepts_at_hand()
    if held is None:
        raise ValueError(
            f"the concept set of {study.folder} is not at hand, so nothing says what is usual: give --reference FILE"
        )
    sources = [concept.texts for concept in held.concepts.values()] + [held.neutral]
    return [text.text for texts in sources for split in SPLITS for text in texts.get(split, ())]


def of_concepts(reference: Reference, concepts: Sequence[str]) -> Reference:
    """The same, holding these labels in this order."""
    columns = [reference.column(concept) for concept in concepts]
    return Reference(tuple(concepts), reference.levels[:, columns].tocsc(), reference.starts, reference.source)


def outside_for(study: Study, reader: LevelReader, reference: Reference, seed: int = 0) -> Outside:
    """The judge of the study's concept set, with the reference texts as both sides see them."""
    from analysis.clamping.judge import judge_for

    held = study.concepts_at_hand()
    if held is None:
        raise ValueError(f"the concept set of {study.folder} is not at hand, so there is no judge of words")
    means = _means(reference)
    return Outside(judge_for([], held, seed=seed), reader.concepts, reference_texts(study), means)


def _means(reference: Reference) -> np.ndarray:
    total = np.concatenate([np.zeros((1, len(reference.concepts))), np.cumsum(reference.levels.toarray(), axis=0)])
    lengths = np.maximum(1, np.diff(reference.starts))[:, None]
    return (total[reference.starts[1:]] - total[reference.starts[:-1]]) / lengths


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
