"""The method report as Markdown: the same words and tables as the page."""

import re

from analysis.report.content import Content
from analysis.report.table import Table, plain

PARTS = {
    "What was found": ("statuses", "rejected", "rivals", "quadrants", "head_to_head", "claims"),
    "Labels": ("labels", "reasons", "not_chosen"),
    "Rivals on the same texts": ("rivals_checking", "rivals_implicit"),
    "Confounds": ("confounds", "confounds_by_concept"),
    "Valence and arousal": ("valence", "arousal", "geometry_tests"),
    "Clamps": ("writers", "clamps", "doses", "controls", "moved", "necessity"),
    "Ablations": ("ablations",),
    "Other texts and other SAEs": ("transfer", "transfer_ratings", "agreements"),
    "Explanations": ("explanations",),
    "How this was made": ("settings", "provenance"),
}
"""The report's sections, and the tables that stand in each, as far as the study has them."""


def markdown(content: Content) -> str:
    """The whole report."""
    counts = content.facts["clamps"]
    written = (
        f", {counts['written_validated']} of {counts['written_tested']} sets of latents that write a concept, "
        f"{counts['concepts_validated']} of {counts['concepts']} concepts by either ({counts['pairs_validated']} of "
        f"{counts['pairs_tested']} controls of a concept beside either)"
        if counts["written_tested"]
        else ""
    )
    lines = [
        f"# Emotion concepts in {escaped(content.study.info.model)}",
        "",
        f"{content.facts['labels']['concepts']} concepts; {sum(row.label.is_held for row in content.rows)} labels held on checking "
        f"texts; {counts['validated']} of {counts['tested']} clamped labels validated{written}; {counts['control_validated']} of "
        f"{counts['control_tested']} controls, {counts['diff_means_validated']} of {counts['diff_means_tested']} differences of means.",
        "",
        "## Method",
    ]
    for passage in content.method:
        lines += ["", f"### {passage.title}"]
        for paragraph in passage.paragraphs:
            lines += ["", prose(paragraph)]
    for title, names in PARTS.items():
        if shown := [content.tables[name] for name in names if name in content.tables]:
            lines += ["", f"## {title}"]
            for table in shown:
                lines += ["", *drawn(table)]
    if content.cases:
        lines += ["", "## Case studies"]
    for case in content.cases:
        drawing = content.study.folder / "figures" / f"{case.name}.svg"
        where = (
            f"figures/{case.name}.svg in the study"
            if drawing.exists()
            else "in the page that `saes report --out FILE.html` writes"
        )
        lines += ["", prose(f"{case.title}. Figure ({where}): {case.about}")]
        for table in case.tables:
            lines += ["", *drawn(table)]
    if "clamps" not in content.tables:
        lines += ["", "Nothing was clamped yet: a label that is held is a detector, and no more than that is known."]
    return "\n".join(lines) + "\n"


def drawn(table: Table) -> list[str]:
    """A table with its title and its note."""
    aligned = ["---:" if table.is_number(at) else "---" for at in range(len(table.columns))]
    lines = [f"### {escaped(table.title)}", "", _row(table.columns), _row(aligned, escape=False)]
    lines += [_row([plain(cell) for cell in row]) for row in table.rows]
    return [*lines, "", escaped(table.note)] if table.note else lines


def _row(cells: list[str] | tuple[str, ...], escape: bool = True) -> str:
    return "| " + " | ".join(escaped(cell) if escape else cell for cell in cells) + " |"


def escaped(text: str) -> str:
    """The text as itself in Markdown: in one line, with nothing that would be read as markup or as HTML."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*|~]|(?<!\w)_|_(?!\w)|(?<=\])\(", r"\\\g<0>", text)


def prose(text: str) -> str:
    """A paragraph, or a numbered list as the docstrings write one."""
    if re.match(r"\d+\. ", text):
        items = re.split(r"\n(?=\d+\. )", text)
        return "\n".join(_own(" ".join(item.split())) for item in items)
    return _own(" ".join(text.split()))


def _own(text: str) -> str:
    """Our own words, in which backticks mean code."""
    return escaped(text).replace("\\`", "`")
