"""A study becomes one page, with nothing from outside and no script, or one Markdown file."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from analysis.cases.figures import inline
from analysis.report import svg
from analysis.report.content import content
from analysis.report.markdown import markdown
from analysis.report.reasons import STATUS_ABOUT
from analysis.report.table import Cell, Chance, Estimate, Latents, Share, Status, Tokens, number, percent, plain, said
from analysis.study import Study

LONG = 90
SHORT = 22
"""Letters of a cell: shorter ones are not broken, longer ones than LONG are set small."""
WRITERS = {".html": "page", ".htm": "page", ".md": "Markdown", ".markdown": "Markdown"}


def write_report(study: Study, path: str | Path, extra: dict[str, Any] | None = None) -> None:
    """Writes a page to a `path` that ends in .html, Markdown to one in .md; what was there before stays until it is whole.

    ValueError for any other ending. `extra` may hold what a study does not: "quality" (quality.json of the SAE) and "seconds" ({stage: s}).
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"{path}: a report is a page (.html) or Markdown (.md): name a file with one of these endings")
    text = render(study, extra) if WRITERS[path.suffix.lower()] == "page" else markdown(content(study, extra))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def render(study: Study, extra: dict[str, Any] | None = None) -> str:
    """The page as a string. Everything that comes from a study is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    whole = content(study, extra)
    shown = {card.latent for card in whole.cards}
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def drawn(figure: str):
        """A figure as markup: `svg` escapes each text that it draws."""
        return lambda value: Markup(getattr(svg, figure)(value))

    jinja.filters |= {
        "number": number,
        "signed": lambda value, digits=2: number(value, digits, sign=True),
        "percent": percent,
        "strength": strength,
        "said": said,
        "css": css,
        "cell": lambda value: cell(value, shown),
        "kind": kind,
        "prose": prose,
        "case_figure": lambda case: Markup(inline(study, case)),
        **{name: drawn(name) for name in ("circumplex", "dose_plot", "heat_map", "histogram", "legend_mark")},
    }
    return jinja.get_template("report.html.j2").render(c=whole, t=whole.tables, info=study.info, statuses=STATUS_ABOUT)


def css(status: str) -> str:
    return "s-" + status.replace(" ", "-")


def cell(value: Cell, cards: Collection[int] = ()):
    """A table's cell as markup, escaped; latents that have a card on the page are links to it."""
    from markupsafe import Markup

    match value:
        case Estimate():
            beside = Markup(' <span class="ci">{}</span>').format(value.beside) if value.beside else ""
            return Markup("{}{}").format(value.number, beside)
        case Status():
            mark = Markup(svg.legend_mark(value.name))
            return Markup('<span class="status {}">{} {}</span>').format(css(value.name), mark, value.name)
        case Latents():
            link = Markup('<a href="#latent-{0}">{0}</a>')
            return Markup(", ").join(link.format(one) if one in cards else str(one) for one in value.ids)
        case Tokens():
            return Markup("").join(Markup("<code>{}</code>").format(token) for token in value.strings)
    return Markup("{}").format(plain(value))


def kind(value: Cell) -> str:
    """The class of a table's cell: figures stand flush right, long texts are set small."""
    match value:
        case Latents():
            return "latents"
        case int() | Estimate() | Share() | Chance():
            return "n"
    letters = len(plain(value))
    return "why" if letters > LONG else "short" if letters <= SHORT else "word"


def prose(text: str):
    """Our own words as markup: what stands in backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def strength(value: float, peak: float) -> int:
    """How strongly a token is coloured, in percent."""
    return round(100 * min(1.0, max(0.0, value / peak))) if peak > 0 else 0
