"""Transcripts that cases left (a JSON object a line): where each line begins, and one line at a time."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from analysis.browser.queries.store import DamagedTable

Stamp = tuple[int, int, int]
KEPT = 8
"""Indexes of so many files are kept in memory."""


class Entry(NamedTuple):
    """One line: where it is, and what lists and filters need to know of it."""

    number: int
    """Its place among the readable lines, from 0."""
    start: int
    size: int
    arm: str
    task: str
    """What was to be done: the task's name, or the brief's beginning; of a written text the prompt's number."""
    outcome: str
    impossible: bool | None
    seed: int
    """The same task with the same luck has the same one in every arm; of a written text the roll-out."""
    attempts: int


@dataclass(frozen=True)
class Index:
    entries: tuple[Entry, ...]
    unreadable: int
    """Lines that hold no such record: a run that was stopped in the middle of a line leaves one."""
    stamp: Stamp


Facts = Callable[[dict[str, Any]], tuple[str, str, str, bool | None, int, int]]
"""A line's object -> arm, task, outcome, impossible, seed, attempts. KeyError, TypeError or ValueError where it is none."""


def index(path: Path, facts: Facts) -> Index | None:
    """What the file holds, read once for every version of it; None where there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedTable(f"{path.name} cannot be read ({error.strerror})") from error
    return _indexed(path, (found.st_mtime_ns, found.st_size, found.st_ino), facts)


@lru_cache(maxsize=KEPT)
def _indexed(path: Path, stamp: Stamp, facts: Facts) -> Index:
    entries: list[Entry] = []
    unreadable = start = 0
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    held = json.loads(line)
                    if not (isinstance(held, dict) and held.keys() == {"settings"}):  # a run's first line
                        entries.append(Entry(len(entries), start, len(line), *facts(held)))
                except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                    unreadable += bool(line.strip())
                start += len(line)
    except OSError as error:
        raise DamagedTable(f"{path.name} cannot be read ({error.strerror})") from error
    return Index(tuple(entries), unreadable, stamp)


def read(path: Path, *entries: Entry) -> list[dict[str, Any]]:
    """The objects of these lines alone. DamagedTable where the file was written anew meanwhile."""
    found = []
    try:
        with path.open("rb") as file:
            for one in entries:
                file.seek(one.start)
                found.append(json.loads(file.read(one.size)))
    except (OSError, ValueError) as error:
        raise DamagedTable(f"{path.name} is being written anew: load the page again") from error
    return found


def workshop_facts(held: dict[str, Any]) -> tuple[str, str, str, bool | None, int, int]:
    """Of a line of workshop_transcripts.jsonl."""
    shown = ", ".join(f"{int(given)} → {int(wanted)}" for given, wanted in held["task"]["shown"])
    _texts(held, "arm", "outcome", "text", "name", "why")
    if not isinstance(held["tried"], list):
        raise TypeError("tried is no list")
    return held["arm"], shown, held["outcome"], bool(held["impossible"]), int(held["seed"]), int(held["tries"])


def coding_facts(held: dict[str, Any]) -> tuple[str, str, str, bool | None, int, int]:
    """Of a line of coding_transcripts.jsonl."""
    _texts(held, "arm", "task", "outcome", "why")
    for one in held["attempts"]:
        _texts(one, "said")
    for role, said in held["messages"]:
        _texts({"role": role, "said": said}, "role", "said")
    return (
        held["arm"], held["task"], held["outcome"], bool(held["impossible"]), int(held["seed"]), len(held["attempts"])
    )  # fmt: skip


def written_facts(held: dict[str, Any]) -> tuple[str, str, str, bool | None, int, int]:
    """Of a line of case_NAME.jsonl."""
    _texts(held, "arm", "text")
    for score in held["scores"].values():
        float(score)
    return held["arm"], str(int(held["prompt"])), "", None, int(held["rollout"]), 0


def _texts(held: dict[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(held[name], str):
            raise TypeError(f"{name} is no text")
