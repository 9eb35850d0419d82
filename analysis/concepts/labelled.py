"""Texts of a labelled data set, one by one, as its column map says what the columns mean."""

import hashlib
import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.concepts.column_map import SAME_SPLIT, ColumnMap
from saes.nearest import did_you_mean


@dataclass(frozen=True)
class LabelledText:
    text: str
    labels: tuple[str, ...]
    """Without the neutral ones."""
    neutral: bool
    """Whether it is known to carry no label. A text without labels that is not neutral was never labelled."""
    numbers: dict[str, float]
    """"valence", "arousal", "dominance" -> the rating; NaN where there is none."""
    topic: str


def labelled_texts(column_map: ColumnMap, split: str = "", file: str | Path | None = None) -> Iterator[LabelledText]:
    """The texts of one split ("" is all that a file holds, or `train` of a hub's data set), in order, read as they come.

    `file` stands in for the map's `data`. Raises FileNotFoundError; ValueError that names the row, the column and what was
    probably meant, or says that there is no such text.
    """
    from training.corpora.corpus import rows

    source = str(file or column_map.data)
    try:
        found = rows(source, split or None)
    except FileNotFoundError as error:
        where = f" ({column_map.source})" if column_map.source else ""
        raise FileNotFoundError(
            f"{error}: the data of {column_map.name}{where} do not come with this toolkit; get them, and give the file (`data:` in the map, or --file)"
        ) from None
    wanted = split if Path(source).exists() else ""
    return _read(found, column_map, wanted, source)


def _read(rows: Iterable[dict[str, Any]], column_map: ColumnMap, split: str, source: str) -> Iterator[LabelledText]:
    if split and not column_map.split:
        raise ValueError(f"the map {column_map.name} names no split column, so {source} has no split {split!r}")
    needed = _columns(column_map, split)
    seen, splits = 0, set()
    for number, row in enumerate(rows, 1):
        for column in needed:
            if column not in row:
                raise ValueError(
                    f"{source}, row {number}: no column {column!r}{did_you_mean(column, row)} (it has {', '.join(row)})"
                )
        if split:
            here = str(row[column_map.split])
            splits.add(here)
            if SAME_SPLIT.get(here, here) != SAME_SPLIT.get(split, split):
                continue
        text = row[column_map.text]
        if not isinstance(text, str):
            raise ValueError(f"{source}, row {number}: the column {column_map.text!r} holds no string: {text!r}")
        if text.strip():
            seen += 1
            yield _labelled(row, text, column_map, f"{source}, row {number}")
    if not seen:
        there_are = f": it has {', '.join(sorted(splits)[:10])}" if splits else ""
        raise ValueError(f"{source} holds no text{f' of the split {split!r}' if split else ''}{there_are}")


def _columns(column_map: ColumnMap, split: str) -> list[str]:
    labels = [column_map.labels] if isinstance(column_map.labels, str) else list(column_map.labels)
    more = [column_map.topic, column_map.split if split else ""]
    return [one for one in (column_map.text, *labels, *column_map.numbers.values(), *more) if one]


def _labelled(row: dict[str, Any], text: str, column_map: ColumnMap, where: str) -> LabelledText:
    names = _labels(row, column_map, where)
    labels = tuple(dict.fromkeys(name for name in names or () if name not in column_map.neutral))
    neutral = names is not None and not labels
    numbers = {what: _rating(row[column], column, where) for what, column in column_map.numbers.items()}
    return LabelledText(text, labels, neutral, numbers, str(row[column_map.topic]) if column_map.topic else "")


def _labels(row: dict[str, Any], column_map: ColumnMap, where: str) -> list[str] | None:
    """The names of a row's labels; None for one that was not labelled."""
    if not column_map.labels:
        return None
    if isinstance(column_map.labels, tuple):
        return [column for column in column_map.labels if _is_set(row[column], column, where)]
    value = row[column_map.labels]
    if value is None or value == "":
        return None
    if isinstance(value, str) and column_map.separator:
        value = [part.strip() for part in value.split(column_map.separator) if part.strip()]
    return [_named(one, column_map, where) for one in (value if isinstance(value, (list, tuple)) else [value])]


def _named(value: Any, column_map: ColumnMap, where: str) -> str:
    names = column_map.names
    if names and str(value) not in names and _whole(value) is not None:
        place = _whole(value)
        assert place is not None
        if place >= len(names):
            raise ValueError(f"{where}: label {place}, but the map {column_map.name} has {len(names)} names, from 0")
        return names[place]
    if names and str(value) not in names:
        raise ValueError(f"{where}: {value!r} is none of the map's names{did_you_mean(str(value), names)}")
    if not isinstance(value, str):
        raise ValueError(f"{where}: the label {value!r} needs `names` in the map, to say what numbers stand for")
    return value


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None


def _is_set(value: Any, column: str, where: str) -> bool:
    known = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False, "none": False}
    found = known.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"{where}: the column {column!r} must hold 0 or 1, got {value!r}")
    return found


def _rating(value: Any, column: str, where: str) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: the column {column!r} must hold a number, got {value!r}") from None


def lot(text: str, seed: int) -> int:
    """A number that a text draws: the same for the same text, whatever stands around it. From 0 to 2**64 - 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest())


def sample(texts: Iterable[LabelledText], limit: int, seed: int) -> Iterator[LabelledText]:
    """`limit` of the texts drawn at random, in their order; reads all of them, and holds no more than it keeps."""
    drawn = heapq.nsmallest(limit, enumerate(texts), key=lambda pair: (lot(pair[1].text, seed), pair[0]))
    return (text for _, text in sorted(drawn, key=lambda pair: pair[0]))
