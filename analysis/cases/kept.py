"""What a case has already done, a line each in a JSONL file that is at once its transcript, so that a stopped run goes on."""

import json
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from analysis.clamping.finished import digest_of
from analysis.study import write_whole
from saes.intervention import DirectionPush, Intervention


def write_lines(path: Path, pieces: Iterable[dict[str, Any]]) -> None:
    """A transcript that is written at once, whole."""
    write_whole(path, "".join(json.dumps(piece) + "\n" for piece in pieces).encode())


def digest_of_clamp(clamp: Intervention | DirectionPush) -> str:
    """What tells clamps of one name from others: a label that was chosen anew, or another random direction."""
    if isinstance(clamp, DirectionPush):
        held: Any = [[round(float(value), 6) for value in clamp.direction], clamp.amount]
    else:
        held = [[edit.latents, edit.value, edit.mode, edit.weights] for edit in clamp.edits]
    return digest_of({"clamp": held})[:12]


class Kept:
    """The pieces that were done under the same settings, by their keys; opened with `with`, and appended to.

    The file begins with a line that holds a digest of the settings; pieces of others are thrown away when the first new one is
    kept, so that a run that fails before it did anything costs nothing. A line that a kill broke off is done again.
    """

    def __init__(self, path: Path, settings: dict[str, Any], key: Callable[[dict[str, Any]], Hashable]):
        self.path, self.key = path, key
        head = json.dumps({"settings": digest_of(settings)})
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.pieces: dict[Hashable, dict[str, Any]] = {}
        if lines and lines[0] == head:
            for line in lines[1:]:
                try:
                    piece = json.loads(line)
                except json.JSONDecodeError:
                    break  # the line at which it was stopped
                self.pieces[key(piece)] = piece
        self.head = head
        self.file: TextIO | None = None  # nothing is written before there is something new

    def __enter__(self) -> "Kept":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.file is not None:
            self.file.close()

    def __contains__(self, key: Hashable) -> bool:
        return key in self.pieces

    def __getitem__(self, key: Hashable) -> dict[str, Any]:
        return self.pieces[key]

    def add(self, pieces: Iterable[dict[str, Any]]) -> None:
        """Notes pieces, which are on the disk afterwards."""
        pieces = list(pieces)
        if self.file is None:
            whole = [self.head, *(json.dumps(piece) for piece in self.pieces.values())]
            write_whole(self.path, "".join(f"{line}\n" for line in whole).encode())
            self.file = self.path.open("a", encoding="utf-8")
        for piece in pieces:
            self.pieces[self.key(piece)] = piece
            self.file.write(json.dumps(piece) + "\n")
        self.file.flush()
