"""What all figures of cases are drawn on: colours by theme, a sheet of axes, and the sheet as SVG or PNG. The only importer of
matplotlib among them, and it imports it only when a figure is drawn.
"""

import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

WIDTH = 7.4
"""Inches: two columns of a paper."""
FONTS = ("DejaVu Sans", "Verdana", "sans-serif")
"""The first one is measured; it comes with matplotlib and is the widest, so that no other one runs over."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_ONE_AT_A_TIME = threading.Lock()
"""matplotlib's settings are of the whole process."""


@dataclass(frozen=True)
class Theme:
    name: str
    paper: str
    """What the figure stands on, for what is hollow."""
    ink: str
    soft: str
    grid: str
    band: str
    own: str
    warm: str
    cycle: tuple[str, ...]
    """Of concepts; they are told apart by markers, too."""

    def colour(self, place: int) -> str:
        return self.cycle[place % len(self.cycle)]


THEMES = {
    "light": Theme(
        "light", "#ffffff", "#23262b", "#666c75", "#ece9e2", "#8a8f98", "#0b62a8", "#c05a00",
        ("#0b62a8", "#c05a00", "#0a7a5c", "#8a4a86", "#8a6d00", "#4a4f57"),
    ),
    "dark": Theme(
        "dark", "#1d2024", "#e4e2dc", "#9aa0a9", "#2a2d32", "#8a8f98", "#6cb4ee", "#f0a05a",
        ("#6cb4ee", "#f0a05a", "#4cc3a0", "#d59ad0", "#d9c04a", "#c3c7cd"),
    ),
}  # fmt: skip
"""The colours of the report's page."""


@contextmanager
def styled(theme: Theme) -> Iterator[None]:
    """Figures that are made and written inside look alike, and are the same bytes each time."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("matplotlib is not installed: pip install matplotlib") from error
    rules: Any = {
        "font.family": "sans-serif", "font.sans-serif": list(FONTS), "font.size": 8, "axes.titlesize": 8.5,
        "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.labelsize": 8, "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5, "legend.fontsize": 7.5, "legend.frameon": False, "axes.spines.top": False,
        "axes.spines.right": False, "axes.axisbelow": True, "axes.linewidth": 0.7, "xtick.major.width": 0.7,
        "ytick.major.width": 0.7, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "axes.edgecolor": theme.soft,
        "axes.labelcolor": theme.ink, "axes.titlecolor": theme.ink, "xtick.color": theme.soft, "ytick.color": theme.soft,
        "xtick.labelcolor": theme.ink, "ytick.labelcolor": theme.ink, "text.color": theme.ink, "grid.color": theme.grid,
        "grid.linewidth": 0.8, "axes.facecolor": "none", "figure.facecolor": "none", "savefig.facecolor": "none",
        "text.parse_math": False,  # a concept's name may hold dollar signs
        "svg.fonttype": "none", "svg.hashsalt": "emotion-saes",
    }  # fmt: skip
    with _ONE_AT_A_TIME, matplotlib.rc_context(rules):
        yield


def sheet(height: float, rows: int = 1, columns: int = 1, **subplots: Any) -> tuple[Any, Any]:
    """A figure so many inches high, and its axes `[row, column]`; nothing is kept by matplotlib."""
    figure = _empty(height)
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def storeys(height: float, *ratios: Sequence[float], heights: Sequence[float]) -> tuple[Any, list[Any]]:
    """A figure of rows of so many axes each, of these widths; the axes from left to right and from the top down."""
    figure = _empty(height)
    found: list[Any] = []
    parts = figure.subfigures(len(ratios), 1, height_ratios=list(heights), squeeze=False)[:, 0]
    for part, widths in zip(parts, ratios, strict=True):
        found += list(part.subplots(1, len(widths), width_ratios=list(widths), squeeze=False)[0])
    return figure, found


def _empty(height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure((WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Any, paper: str) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=200, facecolor=paper, metadata={"Software": None})
    return content.getvalue()


def as_svg(figure: Any, title: str, prefix: str) -> bytes:
    """SVG that can stand in a page of a strict policy: text is text, and there is no style, neither element nor attribute.

    What is pointed at has ids that begin with `prefix`, so that several figures can stand in one page.
    """
    from html import escape

    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = content.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.S)
    text = re.sub(r'style="([^"]*)"', lambda found: _attributes(found[1]), text)
    pointed = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in pointed else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}-", text)
    fonts = ", ".join(FONTS)
    head = f'<svg role="img" aria-label="{escape(title)}" font-family="{fonts}" stroke-linejoin="round" '
    text = text.replace("<svg ", head, 1).replace(">", f">\n <title>{escape(title)}</title>", 1)
    return text.encode()


def _attributes(style: str) -> str:
    """The same as attributes; fonts are those of the whole figure."""
    found = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":  # older matplotlibs' shorthand
            words = value.split(" ")
            size = next(at for at, word in enumerate(words) if word.endswith("px"))
            found += [f'font-weight="{word}"' for word in words[:size] if word in ("bold", "700")]
            found.append(f'font-size="{words[size]}"')
        elif name and name != "font-family":
            found.append(f'{name}="{value}"')
    return " ".join(found)


def percent_axis(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
