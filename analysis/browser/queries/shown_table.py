"""A table of the report as every page shows it and its JSON twin gives it: what each cell is, and its text."""

import re
from dataclasses import dataclass

from analysis.report.table import Cell, Chance, Estimate, Latents, Share, Status, Table, Tokens, plain

CONCEPTS = ("concept", "expected")
"""Heads over names of concepts, which have pages."""
FIGURE = re.compile(r"[+\u2212]?\d[\d.,]*\s?%?$|\u2013?$")
"""What is set flush right though the report writes it as text."""
SHARE = re.compile(r"(\d+%) (\[\d+%, \d+%\])$")
"""A share with its interval, as the report writes it."""


@dataclass(frozen=True)
class ShownCell:
    kind: str
    """"text", "number", "status", "latents", "tokens" or "concept"."""
    text: str
    interval: str = ""
    items: list[str] | None = None
    """Latents or tokens, one by one."""


@dataclass(frozen=True)
class ShownTable:
    title: str
    columns: list[str]
    """Empty for a list of facts."""
    numeric: list[bool]
    """Which columns hold figures."""
    rows: list[list[ShownCell]]
    note: str
    name: str = ""
    """Tells it from the others where a page has a list of them."""
    folded: bool = False
    """Whether a page shows it on demand only."""


def shown_table(table: Table, name: str = "", folded: bool = False) -> ShownTable:
    heads = list(table.columns) if any(table.columns) else []
    numeric = [_holds_figures(table, at) for at in range(len(heads))]
    named = [at for at, head in enumerate(heads) if head in CONCEPTS and not numeric[at]]
    rows = [[_cell(cell, at in named) for at, cell in enumerate(row)] for row in table.rows]
    return ShownTable(table.title, heads, numeric, rows, table.note, name, folded)


def with_rows(tables: list[Table]) -> list[ShownTable]:
    """Those that have rows."""
    return [shown_table(one) for one in tables if one.rows]


def _holds_figures(table: Table, at: int) -> bool:
    cells = [row[at] for row in table.rows]
    return table.is_number(at) or all(isinstance(cell, str | None) and FIGURE.match(plain(cell)) for cell in cells)


def _cell(cell: Cell, concept: bool) -> ShownCell:
    match cell:
        case Estimate():
            return ShownCell("number", cell.number, cell.beside)
        case Status():
            return ShownCell("status", cell.name)
        case Latents():
            return ShownCell("latents", str(cell), items=[str(one) for one in cell.ids])
        case Tokens():
            return ShownCell("tokens", str(cell), items=list(cell.strings))
        case Share() | Chance() | int():
            return ShownCell("number", str(cell))
        case str() if share := SHARE.match(cell):
            return ShownCell("number", share[1], share[2])
    text = plain(cell)
    return ShownCell("concept" if concept and text else "text", text)
