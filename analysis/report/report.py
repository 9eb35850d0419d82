"""A study becomes one page: report.html, with nothing from outside and no script."""

import os
from math import isfinite
from pathlib import Path
from typing import Any

from analysis.report import svg
from analysis.report.content import ARMS, STATUS_ABOUT, content
from analysis.study import Study


def write_report(study: Study, path: str | Path, extra: dict[str, Any] | None = None) -> None:
    """Writes the page to `path`; whatever was there before stays until the new one is whole.

    `extra` may hold what a study does not: "quality" (quality.json of the SAE) and "seconds" ({stage: s}).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(render(study, extra), encoding="utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def render(study: Study, extra: dict[str, Any] | None = None) -> str:
    """The page as a string. Everything that comes from a study is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

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
        "css": lambda status: "s-" + status.replace(" ", "-"),
        **{
            name: drawn(name)
            for name in ("circumplex", "dose_plot", "heat_map", "workshop_bars", "histogram", "legend_mark")
        },
    }
    whole = content(study, extra)
    return jinja.get_template("report.html.j2").render(
        c=whole, info=study.info, arms=ARMS, statuses=STATUS_ABOUT, workshop_names=svg.WORKSHOP_ARMS
    )


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number with so many digits; a dash where there is none."""
    if value is None or not isfinite(value):
        return "\u2013"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "\u2212")


def percent(value: float | None, digits: int = 0) -> str:
    return "\u2013" if value is None or not isfinite(value) else f"{value:.{digits}%}"


def strength(value: float, peak: float) -> int:
    """How strongly a token is coloured, in percent."""
    return round(100 * min(1.0, max(0.0, value / peak))) if peak > 0 else 0
