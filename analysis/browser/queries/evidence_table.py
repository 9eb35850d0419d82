"""A table of the report as a page shows it and its JSON twin gives it: what each cell is, and its text."""

from dataclasses import dataclass

from analysis.report.table import Cell as ReportCell
from analysis.report.table import Chance, Estimate, Latents, Share, Status, Table, Tokens


@dataclass(frozen=True)
class EvidenceCell:
    kind: str
    """"text", "number", "status", "latents", "tokens" or "concept"."""
    text: str
    interval: str = ""
    items: list[str] | None = None
    """Latents or tokens, one by one."""


@dataclass(frozen=True)
class EvidenceTable:
    title: str
    columns: list[str]
    """Empty for a list of facts."""
    rows: list[list[EvidenceCell]]
    note: str


def evidence_tables(tables: list[Table]) -> list[EvidenceTable]:
    """Those that have rows."""
    return [evidence_table(one) for one in tables if one.rows]


def evidence_table(table: Table) -> EvidenceTable:
    heads = list(table.columns) if any(table.columns) else []
    rows = [[_cell(cell, head) for cell, head in zip(row, table.columns, strict=True)] for row in table.rows]
    return EvidenceTable(table.title, heads, rows, table.note)


def _cell(cell: ReportCell, head: str) -> EvidenceCell:
    match cell:
        case Estimate():
            return EvidenceCell("number", cell.number, cell.beside)
        case Status():
            return EvidenceCell("status", cell.name)
        case Latents():
            return EvidenceCell("latents", str(cell), items=[str(one) for one in cell.ids])
        case Tokens():
            return EvidenceCell("tokens", str(cell), items=list(cell.strings))
        case Share() | Chance() | int():
            return EvidenceCell("number", str(cell))
        case _:
            text = "" if cell is None else str(cell)
            return EvidenceCell("concept" if head == "concept" and text else "text", text)
