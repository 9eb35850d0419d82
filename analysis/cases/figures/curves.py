"""Curves over the dose of a clamp: a label's with its interval, its rival's, and the controls that were pushed as far."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from analysis.cases.figures.canvas import Theme


class Point(NamedTuple):
    dose: float
    value: float
    low: float
    high: float


def curve(
    axes: Any, points: Sequence[Point], colour: str, marker: str, name: str, shift: float = 0.0, line: str = "-",
    base: Point | None = None,
) -> None:  # fmt: skip
    """The points in the order of their doses, the line through `base` (no clamp), which is drawn by itself.

    `shift` moves the points to the side, so that intervals do not cover each other.
    """
    some = sorted((one for one in points if isfinite(one.value)), key=lambda one: one.dose)
    way = [(one.dose + shift, one.value) for one in some if base is None or one.dose < base.dose]
    if base is not None and isfinite(base.value) and some:
        way.append((base.dose, base.value))
        way += [(one.dose + shift, one.value) for one in some if one.dose > base.dose]
    axes.plot([x for x, _ in way], [y for _, y in way], line, color=colour, linewidth=1.2)
    axes.plot(
        [one.dose + shift for one in some], [one.value for one in some], marker, color=colour, markersize=4, label=name
    )
    intervals(axes, some, colour, shift)


def intervals(axes: Any, points: Sequence[Point], colour: str, shift: float = 0.0) -> None:
    known = [one for one in points if isfinite(one.low) and isfinite(one.high)]
    places = [one.dose + shift for one in known]
    axes.vlines(places, [one.low for one in known], [one.high for one in known], color=colour, linewidth=1)


def controls(axes: Any, theme: Theme, found: Sequence[tuple[float, float]], width: float, name: str) -> None:
    """Each control's (dose, value) as a dot, strewn over `width` at its dose, and their 5th to 95th percentile as a band."""
    by_dose: dict[float, list[float]] = {}
    for dose, value in found:
        if isfinite(value):
            by_dose.setdefault(dose, []).append(value)
    for place, (dose, values) in enumerate(sorted(by_dose.items())):
        shown = f"{name}, 5 to 95 %" if not place else None
        low, high = np.quantile(values, [0.05, 0.95])
        sides = [dose - width / 2, dose + width / 2]
        axes.fill_between(sides, low, high, color=theme.band, alpha=0.3, linewidth=0, label=shown)
        strewn = dose + width * 0.8 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)  # evenly, and the same each time
        axes.plot(strewn, values, ".", color=theme.band, markersize=3, alpha=0.8, markeredgewidth=0)


def apart(doses: Sequence[float]) -> float:
    """The least distance of two doses; 1 where there is one dose."""
    return min((later - earlier for earlier, later in pairwise(sorted(set(doses)))), default=1.0)


def room_at(doses: Sequence[float]) -> float:
    """How wide what stands at a dose may be, so that it reaches into no other one's room and not out of the panel."""
    span = max([0.0, *doses]) - min([0.0, *doses]) or 1.0
    return min(0.8 * apart([0.0, *doses]), 0.25 * span)


def dose_axis(axes: Any, theme: Theme, doses: Sequence[float]) -> None:
    """Ticks at the doses that were given, as far as their names have room."""
    ticks = sorted({0.0, *doses})
    span = ticks[-1] - ticks[0] or 1.0
    named = {0.0}
    for one in sorted(ticks, key=abs, reverse=True):
        if min(abs(one - other) for other in named) > 0.26 * span:
            named.add(one)
    axes.set_xticks(
        ticks, [f"{one:+g}".replace("-", "\u2212") if one and one in named else "0" if not one else "" for one in ticks]
    )
    axes.axvline(0, color=theme.grid, linewidth=0.8)
    axes.grid(axis="y")
    axes.set_xlim(ticks[0] - 0.16 * span, ticks[-1] + 0.16 * span)
