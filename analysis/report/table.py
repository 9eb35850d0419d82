"""A table as a plain value: what stands in it, not how it is drawn. Terminal, Markdown and HTML draw the same ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

MARK = re.compile(r"<\|[^|<>]*\|>|</?s>|<(bos|eos|pad|unk|start_of_turn|end_of_turn)>|\[(CLS|SEP|PAD|UNK)\]")
"""Tokens of the usual tokenizers that are no text."""


class Estimate(NamedTuple):
    """A number, with its interval where it has one; None (or NaN) where there is nothing to say."""

    value: float | None
    low: float | None = None
    high: float | None = None
    digits: int = 2
    sign: bool = False
    n: str = ""
    """What it is of, where that stands in no column."""

    def __str__(self) -> str:
        return f"{self.number} {self.beside}".rstrip()

    @property
    def beside(self) -> str:
        return " ".join(part for part in (self.interval, f"({self.n})" if self.n else "") if part)

    @property
    def number(self) -> str:
        return number(self.value, self.digits, self.sign)

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None or self.value is None:
            return ""
        return f"[{number(self.low, self.digits, self.sign)}, {number(self.high, self.digits, self.sign)}]"


class Share(NamedTuple):
    """A share of something, said in percent."""

    value: float | None
    digits: int = 0

    def __str__(self) -> str:
        return percent(self.value, self.digits)


class Chance(NamedTuple):
    """A p or q value; never said to be nothing."""

    value: float | None

    def __str__(self) -> str:
        return "< 0.001" if self.value is not None and self.value < 0.0005 else number(self.value, 3)

    def of(self, name: str) -> str:
        """ "q = 0.016", "q < 0.001"."""
        return f"{name} {self}" if str(self).startswith("<") else f"{name} = {self}"


class Status(NamedTuple):
    """A label's status, which a page draws with its mark."""

    name: str

    def __str__(self) -> str:
        return self.name


class Latents(NamedTuple):
    """Latents, which a page links to their cards."""

    ids: tuple[int, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.ids))


class Tokens(NamedTuple):
    """Tokens, which a page draws each by itself."""

    strings: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(repr(token).replace(" ", "\u2423") for token in self.strings)


Cell = str | int | None | Estimate | Share | Chance | Status | Latents | Tokens


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str = ""
    """What the columns mean and what the figures are of."""

    def __post_init__(self):
        assert all(len(row) == len(self.columns) for row in self.rows), self.title

    def is_number(self, column: int) -> bool:
        """Whether a column holds figures, which are set flush right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(isinstance(cell, (int, Estimate, Share, Chance)) for cell in cells)

    def filled(self) -> "Table":
        """Without the columns in which no row has anything."""
        kept = [at for at in range(len(self.columns)) if any(not _is_empty(row[at]) for row in self.rows)]
        rows = [tuple(row[at] for at in kept) for row in self.rows]
        return Table(self.title, tuple(self.columns[at] for at in kept), rows, self.note)


def facts(title: str, pairs: Sequence[tuple[str, Cell]], note: str = "") -> Table:
    """A table of names and what is known of each, without a head; what is not known is left out."""
    return Table(title, ("", ""), [pair for pair in pairs if not _is_empty(pair[1])], note)


def estimate_of(record: Any, name: str, interval: str | None = None, sign: bool = False) -> Estimate:
    """A record's field, with its interval from the fields `{interval}_low` and `{interval}_high` (default: the field's own
    name) where the record has them."""
    low, high = (getattr(record, f"{name if interval is None else interval}_{end}", None) for end in ("low", "high"))
    return Estimate(getattr(record, name, None), low, high, sign=sign)


def plain(cell: Cell) -> str:
    """A cell as text."""
    return "" if cell is None else str(cell)


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number with so many digits; a dash where there is none."""
    if value is None or not isfinite(value):
        return "\u2013"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "\u2212")


def percent(value: float | None, digits: int = 0) -> str:
    return "\u2013" if value is None or not isfinite(value) else f"{value:.{digits}%}"


def _is_empty(cell: Cell) -> bool:
    if isinstance(cell, (Estimate, Share, Chance)):
        return cell.value is None
    return cell is None or cell == "" or (isinstance(cell, Latents) and not cell.ids)


def said(token: str) -> str:
    """A token as it is shown in an excerpt: nothing where it only tells the model that a text begins or ends."""
    return "" if MARK.fullmatch(token.strip()) else token
