"""What a case has already done, a line each in a JSONL file that is at once its transcript, so that a stopped run goes on."""

import json
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from analysis.clamping.finished import digest_of
from analysis.study import write_whole


def write_lines(path: Path, pieces: Iterable[dict[str, Any]]) -> None:
    """A transcript that is written at once, whole."""
    write_whole(path, "".join(json.dumps(piece) + "\n" for piece in pieces).encode())


class Kept:
    """The pieces that were done under the same settings, by their keys; opened with `with`, and appended to.

    The file begins with a line that holds a digest of the settings; pieces of others are thrown away. A line that a kill broke
    off is done again.
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
        whole = [head, *(json.dumps(piece) for piece in self.pieces.values())]
        write_whole(path, "".join(f"{line}\n" for line in whole).encode())

    def __enter__(self) -> "Kept":
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def __contains__(self, key: Hashable) -> bool:
        return key in self.pieces

    def __getitem__(self, key: Hashable) -> dict[str, Any]:
        return self.pieces[key]

    def add(self, pieces: Iterable[dict[str, Any]]) -> None:
        """Notes pieces, which are on the disk afterwards."""
        for piece in pieces:
            self.pieces[self.key(piece)] = piece
            self.file.write(json.dumps(piece) + "\n")
        self.file.flush()
