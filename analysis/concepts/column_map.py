"""What the columns of a labelled data set mean, as a few lines of YAML: a text, its labels, its ratings.

    name: goemotions
    data: google-research-datasets/go_emotions:simplified  # for `datasets`; or a csv, tsv, jsonl, parquet file or folder
    source: who made it, where it is, its licence
    text: text                         # the column of the text
    labels: labels                     # of one label or a list of them; or a list of columns that hold 0 or 1 each
    names: [admiration, amusement]     # all labels; where the column holds integers, they count from 0 in this list
    separator: ","                     # where one string holds several labels
    neutral: neutral                   # the label, or labels, of texts without any concept; "neutral" where not said
    concepts: {fear: afraid, nervousness: [nervous, anxious]}  # our names; of several, the first that a study has
    families: {fear: [fear, nervousness]}  # labels that are too near to be each other's negatives
    numbers: {valence: V, arousal: A}  # columns of human ratings
    topic: genre                       # texts that share this column's value share a topic
    split: split                       # in files, the column that says train, validation or test
    splits: {finding: train, checking: validation, sealed: test}   # as a concept set
    transfer: test                     # the split that `saes transfer` reads, where not all
    limits: {finding: 100, checking: 100, sealed: 100, neutral: 300}   # texts a concept, in a concept set
    readout_words: {fear: [terrified]} # where no bundled concept has any
    seed: 0

Only `data` and `text` are always needed, and `labels` or `numbers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from saes.nearest import did_you_mean
from saes.plain_file import read_plain

NEUTRAL = "neutral"
RATINGS = ("valence", "arousal", "dominance")
AS_SET = ("finding", "checking", "implicit", "sealed")
"""Splits of a concept set that a data set's own can become."""
LIMITS = {"finding": 100, "checking": 100, "implicit": 100, "sealed": 100, "neutral": 300}
SAME_SPLIT = {"dev": "validation", "valid": "validation", "val": "validation", "training": "train", "testing": "test"}
"""Other names of the usual splits."""


@dataclass(frozen=True)
class ColumnMap:
    """See the top of this file for what each field is."""

    name: str
    data: str
    text: str
    source: str = ""
    labels: str | tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    separator: str = ""
    neutral: tuple[str, ...] = (NEUTRAL,)
    concepts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    topic: str = ""
    split: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    transfer: str = ""
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    readout_words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0

    def named(self, label: str) -> tuple[str, ...]:
        """What a label may be called in a concept set, the best name first; its own where the map says nothing."""
        return self.concepts.get(label, (label,))

    def known_labels(self) -> tuple[str, ...]:
        """All labels, in order; empty where the map leaves them to the data."""
        return self.names or (self.labels if isinstance(self.labels, tuple) else ())

    def family_of(self, label: str) -> str:
        """The family of a label; one of its own where the map says nothing."""
        return next((family for family, labels in self.families.items() if label in labels), label)


def bundled_maps() -> dict[str, Path]:
    """The maps that come with the toolkit, by name."""
    folder = Path(str(files("analysis.concepts"))) / "datasets"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def is_map(source: str | Path) -> bool:
    """Whether this names a column map: a bundled one, or a YAML file."""
    return str(source) in bundled_maps() or Path(source).suffix in (".yaml", ".yml")


def read_map(source: str | Path) -> ColumnMap:
    """A bundled map, by name, or a YAML file. Raises FileNotFoundError, or ValueError that names the field."""
    path = bundled_maps().get(str(source), Path(source))
    if not path.is_file():
        known = ", ".join(bundled_maps())
        raise FileNotFoundError(f"there is no column map {source}: give a YAML file, or one that is bundled: {known}")
    raw = read_plain(path)
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold fields, as in `text: text`")
    fitting = [one.name for one in fields(ColumnMap)]
    for name in raw:
        if name not in fitting:
            raise ValueError(f"{path}: there is no field {name!r}{did_you_mean(name, fitting)}")
    return _checked(_from_fields(raw, path), path)


def _from_fields(raw: dict[str, Any], path: Path) -> ColumnMap:
    for name in ("data", "text"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            raise ValueError(f"{path}: {name!r} is needed, one string")
    labels = raw.get("labels") or None
    beside = path.parent / raw["data"]
    return ColumnMap(
        name=str(raw.get("name") or path.stem),
        data=str(beside) if beside.exists() else raw["data"],
        text=raw["text"],
        source=str(raw.get("source") or ""),
        labels=labels if isinstance(labels, str) else _several(labels, "labels", path),
        names=_several(raw.get("names"), "names", path),
        separator=str(raw.get("separator") or ""),
        neutral=_several(raw.get("neutral"), "neutral", path) or (NEUTRAL,),
        concepts={
            label: _several(some, f"concepts.{label}", path) for label, some in _mapping(raw, "concepts", path).items()
        },
        families={
            family: _several(some, f"families.{family}", path)
            for family, some in _mapping(raw, "families", path).items()
        },
        numbers={what: str(column) for what, column in _mapping(raw, "numbers", path).items()},
        topic=str(raw.get("topic") or ""),
        split=str(raw.get("split") or ""),
        splits={ours: str(theirs) for ours, theirs in _mapping(raw, "splits", path).items()},
        transfer=str(raw.get("transfer") or ""),
        limits=LIMITS | {what: _whole(most, what, path) for what, most in _mapping(raw, "limits", path).items()},
        readout_words={
            label: _several(some, f"readout_words.{label}", path)
            for label, some in _mapping(raw, "readout_words", path).items()
        },
        seed=_whole(raw.get("seed") or 0, "seed", path),
    )


def _checked(one: ColumnMap, path: Path) -> ColumnMap:
    if not one.labels and not one.numbers:
        raise ValueError(f"{path}: 'labels' or 'numbers' is needed: which column, or columns, say what a text shows")
    for where, keys, known in (
        ("numbers", one.numbers, RATINGS),
        ("splits", one.splits, AS_SET),
        ("limits", one.limits, tuple(LIMITS)),
    ):
        for key in keys:
            if key not in known:
                raise ValueError(
                    f"{path}: {where} has no {key!r}{did_you_mean(key, known)} (one of {', '.join(known)})"
                )
    known = one.known_labels()
    neutral = [label for label in one.neutral if label != NEUTRAL]
    mentioned = [*neutral, *one.concepts, *one.readout_words, *(x for some in one.families.values() for x in some)]
    for label in mentioned if known else ():
        if label not in known:
            raise ValueError(f"{path}: {label!r} is none of the labels{did_you_mean(label, known)}")
    if len(one.splits) > len(set(one.splits.values())):
        raise ValueError(f"{path}: splits must differ, or a label is checked on what it was found on")
    return one


def _several(value: Any, where: str, path: Path) -> tuple[str, ...]:
    """A string, or a list of strings."""
    if value is None:
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise ValueError(f"{path}: {where} must be a string or a list of strings, got {value!r}")
    return tuple(found)


def _mapping(raw: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = raw.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{path}: {name} must map names to values, got {value!r}")
    return value


def _whole(value: Any, where: str, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{path}: {where} must be a whole number, 0 or more, got {value!r}")
    return value
