"""A line a name: an estimate with its interval, beside the span of its controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from analysis.cases.figures.canvas import Theme

MOST = 30
"""Lines; of more, those at either end are shown."""


@dataclass(frozen=True)
class Line:
    name: str
    value: float
    low: float
    high: float
    control_low: float | None = None
    control_high: float | None = None
    strong: bool = True
    """Drawn filled; a hollow mark says that it could be chance."""
    note: str = ""
    """What stands at the right."""
    colour: str = ""
    """Default: the theme's own."""


def at_either_end(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """The lines from the highest down, the middle left out where there are more than MOST; and a word about that."""
    ordered = sorted(lines, key=lambda one: -one.value)
    if len(ordered) <= MOST:
        return ordered, ""
    half = MOST // 2
    return [*ordered[:half], *ordered[-half:]], f"the {half} highest and lowest of {len(ordered)}"


def height_of(n: int) -> float:
    """Inches for so many lines, without head and foot."""
    return 0.165 * n


def forest(axes: Any, theme: Theme, lines: Sequence[Line], zero: float | None = 0.0, notes: str = "") -> None:
    """Draws the lines from the top down; `notes` is the head of what stands at the right."""
    axes.grid(axis="x")
    if zero is not None:
        axes.axvline(zero, color=theme.soft, linewidth=0.8)
    for place, one in enumerate(lines):
        if one.control_low is not None and one.control_high is not None and isfinite(one.control_low):
            axes.fill_betweenx(
                [place - 0.36, place + 0.36],
                one.control_low,
                one.control_high,
                color=theme.band,
                alpha=0.3,
                linewidth=0,
            )
        if not isfinite(one.value):
            continue
        colour = one.colour or theme.own
        if isfinite(one.low) and isfinite(one.high):
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1.2, solid_capstyle="butt")
        face = colour if one.strong else theme.paper
        axes.plot([one.value], [place], "o", markersize=4.2, color=colour, markeredgewidth=1.1, markerfacecolor=face)
    axes.set_yticks(range(len(lines)), [one.name for one in lines])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    for place, one in enumerate(lines):
        if one.note:
            axes.text(
                1.02, place, one.note, transform=axes.get_yaxis_transform(), va="center", color=theme.soft, fontsize=7
            )
    if notes and any(one.note for one in lines):
        axes.text(1.02, 1.0, notes, transform=axes.transAxes, va="bottom", color=theme.soft, fontsize=7)
