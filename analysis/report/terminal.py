"""Tables as text of a fixed width, for the terminal."""

import textwrap

from analysis.report.table import Table, plain

WIDTH = 100
GAP = 2
LEAST = 12
"""A column of words is not made narrower than this."""


def drawn(table: Table, width: int = WIDTH) -> str:
    """The table in lines of at most `width` letters, as far as its figures allow: words and heads are wrapped, figures are not."""
    cells = [[_one_line(plain(cell)) for cell in row] for row in table.rows]
    columns = [name.replace("95 %", "95\u00a0%") for name in table.columns]  # which is not broken
    head = [columns] if any(columns) else []
    if not cells:
        return "\n".join([*([table.title] if table.title else []), "  none"])
    right = [table.is_number(at) and bool(name) for at, name in enumerate(columns)]
    widths = [
        max(1, *(len(word) for word in name.split(" ")), *(len(row[at]) for row in cells))
        for at, name in enumerate(columns)
    ]
    words = [at for at in range(len(widths)) if not table.is_number(at)]
    while sum(widths) + GAP * len(widths) > width and words:
        widest = max(words, key=lambda at: widths[at])
        if widths[widest] <= LEAST:
            break
        widths[widest] -= 1
    lines = [table.title] if table.title else []
    for row in [*head, *cells]:
        parts = [textwrap.wrap(text, widths[at]) or [""] for at, text in enumerate(row)]
        for number in range(max(map(len, parts))):
            shown = [part[number] if number < len(part) else "" for part in parts]
            placed = [text.rjust(widths[at]) if right[at] else text.ljust(widths[at]) for at, text in enumerate(shown)]
            lines.append((" " * GAP + (" " * GAP).join(placed)).rstrip().replace("\u00a0", " "))
    if table.note:
        lines += wrapped(table.note, width, indent=2)
    return "\n".join(lines)


def wrapped(text: str, width: int = WIDTH, indent: int = 0) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _one_line(text: str) -> str:
    """Without line breaks and control characters, which would break the columns (or worse)."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
