"""What a user writes beside features and concepts: a note and a thumb each, in a small SQLite file beside the study."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from analysis.browser.queries.store import DamagedTable

KINDS = ("feature", "concept")
THUMBS = {"up": 1, "down": -1, "none": 0}
MOST_LETTERS = 10_000
VERSION = 1
"""Of the file's layout, kept in its `user_version`."""
WAIT = 10.0
"""Seconds that a write waits for another program's."""
LAYOUT = """
CREATE TABLE IF NOT EXISTS notes (
    kind TEXT NOT NULL, name TEXT NOT NULL, thumb INTEGER NOT NULL, text TEXT NOT NULL,
    written TEXT NOT NULL, sae_hash TEXT NOT NULL, PRIMARY KEY (kind, name)
)
"""


@dataclass(frozen=True)
class Note:
    kind: str
    """"feature" or "concept"."""
    name: str
    """The latent's number, or the concept."""
    thumb: int = 0
    """1 up, -1 down, 0 neither."""
    text: str = ""
    written: str = ""
    """When it was changed last (UTC, ISO 8601); "" where there is no note."""
    sae_hash: str = ""
    """Of the SAE that the study was about then: latent 7 of another SAE is something else."""

    @property
    def is_empty(self) -> bool:
        return not self.thumb and not self.text


class Notes:
    """The notes of one study. Safe under several threads, and beside another program that has the file open.

    Reading makes no file; the first note does. Raises DamagedTable (a ValueError) where the file is none of notes, or cannot be
    written.
    """

    def __init__(self, path: str | Path, sae_hash: str = ""):
        self.path, self.sae_hash = Path(path), sae_hash
        self._writing = Lock()
        if self.path.exists():
            with self._open() as connection:
                connection.execute("SELECT kind, name, thumb, text, written, sae_hash FROM notes LIMIT 1").fetchall()

    def get(self, kind: str, name: str | int) -> Note:
        """The note on one thing; an empty one where there is none."""
        found = self._read("WHERE kind = ? AND name = ?", (_known(kind), str(name)))
        return found[0] if found else Note(kind, str(name))

    def all(self) -> list[Note]:
        """The latest first."""
        return self._read("ORDER BY written DESC, kind, name", ())

    def thumbs(self, kind: str) -> dict[str, int]:
        """name -> 1 or -1, of those with a thumb."""
        return {one.name: one.thumb for one in self._read("WHERE kind = ? AND thumb != 0", (_known(kind),))}

    def put(self, kind: str, name: str | int, text: str, thumb: int) -> Note:
        """Replaces the note on one thing; an empty one takes it away. Raises ValueError for a text that is too long."""
        if len(text) > MOST_LETTERS:
            raise ValueError(f"a note holds at most {MOST_LETTERS:,} letters, got {len(text):,}")
        if thumb not in THUMBS.values():
            raise ValueError(f"a thumb is 1 (up), -1 (down) or 0, got {thumb}")
        clean = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").strip()  # half a pair is no letter
        note = Note(_known(kind), str(name), thumb, clean, _now(), self.sae_hash)
        if note.is_empty:
            self.remove(kind, name)
            return Note(kind, str(name))
        with self._writing, self._open(create=True) as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?, ?)", tuple(asdict(note).values()))
        return note

    def remove(self, kind: str, name: str | int) -> None:
        """Takes the note on one thing away, if there is one."""
        if self.path.exists():
            with self._writing, self._open(create=True) as connection:
                connection.execute("DELETE FROM notes WHERE kind = ? AND name = ?", (_known(kind), str(name)))

    def _read(self, which: str, values: Sequence[str]) -> list[Note]:
        if not self.path.exists():
            return []
        columns = ", ".join(field.name for field in fields(Note))
        with self._open() as connection:
            return [Note(*row) for row in connection.execute(f"SELECT {columns} FROM notes {which}", values)]

    @contextmanager
    def _open(self, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own for one transaction: SQLite's are not to be shared."""
        try:
            connection = sqlite3.connect(self.path, timeout=WAIT)
            try:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > VERSION:
                    raise DamagedTable(
                        f"{self.path} was written by a later version (layout {version}, this one knows {VERSION}): "
                        "update this tool, or name another file with --notes"
                    )
                with connection:
                    if create:
                        connection.execute(LAYOUT)
                        connection.execute(f"PRAGMA user_version = {VERSION}")
                    yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise DamagedTable(
                f"{self.path} cannot be used for notes ({error}): name another file with --notes"
            ) from error


def as_csv(notes: Sequence[Note]) -> str:
    """A line each after the names of the columns. A text that a spreadsheet would take for a formula is quoted by a '."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(field.name for field in fields(Note))
    for one in notes:
        writer.writerow(as_cell(value) for value in asdict(one).values())
    return sink.getvalue()


def as_json(notes: Sequence[Note]) -> str:
    return json.dumps([asdict(one) for one in notes], indent=1, ensure_ascii=False) + "\n"


def as_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula has an apostrophe before it; other values are themselves."""
    return "'" + value if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"a note is about a {' or a '.join(KINDS)}, got {kind!r}")
    return kind


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
