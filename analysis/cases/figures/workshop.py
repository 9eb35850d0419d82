"""The workshop: how episodes end against the dose of a clamp, beside controls that were pushed as far, and what is known to be
true of the world that the model learned.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from typing import Any

from analysis.cases.figures.canvas import MARKERS, Theme, percent_axis, spread, storeys
from analysis.cases.figures.curves import Point, apart, controls, curve, dose_axis, room_at
from analysis.records import WorkshopArm
from analysis.study import Study

ABOUT = (
    "How episodes end against the dose of each clamp (below 0 it pushes downwards), 95 % Wilson intervals; the same tasks and the "
    "same luck at every dose. Grey: controls that were pushed as far, each a dot, the band their 5th to 95th percentile. Dashed "
    "lines: agents whose mood is told, played by the model or known of the world. The direct effect is what the clamp alone does "
    "to the cheat's own words in a plain context."
)


@dataclass(frozen=True)
class Part:
    """What an arm of the workshop is."""

    role: str
    """"none", "label", "rival", "control" or "told"."""
    name: str
    """The concept; of what is told, who it is."""


@dataclass(frozen=True)
class Measure:
    title: str
    axis: str
    value: Callable[[WorkshopArm], float]
    n: Callable[[WorkshopArm], int] | None
    """What the share is of; None for what is no share."""


MEASURES = (
    Measure("Cheating", "share of impossible tasks", lambda one: one.cheat_rate, lambda one: one.n_impossible),
    Measure("Broken texts left out", "cheating, of valid endings", lambda one: one.cheat_rate_valid, lambda one: one.n_valid),
    Measure("Honest stops", "of impossible tasks", lambda one: one.honest_rate, lambda one: one.n_impossible),
    Measure("Broken-off episodes", "of impossible tasks", lambda one: one.invalid_rate, lambda one: one.n_impossible),
    Measure("Solved", "of possible tasks", lambda one: one.solve_rate, lambda one: one.n_possible),
    Measure("Direct effect", "on the cheat's words (nats)", lambda one: one.direct_effect, None),
)  # fmt: skip


def paint(study: Study, theme: Theme) -> Any:
    return panels(study.read("workshop", WorkshopArm), theme, MEASURES)


def part_of(arm: str) -> Part:
    """What the arm's name says."""
    if arm == "none":
        return Part("none", "")
    if arm.startswith("control"):
        return Part("control", "")
    if found := re.match(r"(stated|world)_(.+)$", arm):
        who = "played" if found[1] == "stated" else "in the world"
        return Part("told", f"{found[2].replace('_', ' ')}, {who}")
    if found := re.match(r"diff_means_(.+?)_(?:up|down)", arm):
        return Part("rival", found[1])
    return Part("label", re.sub(r"_(?:up|down)(?:_[\d.]+)?$", "", arm))


def panels(arms: Sequence[WorkshopArm], theme: Theme, measures: Sequence[Measure], of: str = "tasks") -> Any:
    """A panel a measure, the first one large; every concept's curve goes through the point without a clamp."""
    figure, places = storeys(5.0, (1.9, 1.0), (1.0,) * (len(measures) - 2), heights=(1.35, 1.0))
    parts = [(part_of(one.arm), one) for one in arms]
    concepts = list(dict.fromkeys(part.name for part, _ in parts if part.role == "label"))
    doses = [one.dose for part, one in parts if part.role in ("none", "label", "rival", "control")]
    step = apart(doses)
    for panel, measure in zip(places, measures, strict=True):
        panel.set_title(measure.title)
        panel.set(xlabel="dose of the clamp (dose units)" if panel is places[0] else "dose units", ylabel=measure.axis)
        pushed = [(one.dose, measure.value(one)) for part, one in parts if part.role == "control"]
        controls(panel, theme, pushed, room_at(doses), "controls")
        base = next((point(one, measure) for part, one in parts if part.role == "none"), None)
        for place, concept in enumerate(concepts):
            colour, shift = theme.colour(place), 0.06 * step * (place - (len(concepts) - 1) / 2)
            mine = [point(one, measure) for part, one in parts if part == Part("label", concept)]
            curve(panel, mine, colour, MARKERS[place % len(MARKERS)], concept, shift, base=base)
            rivals = [point(one, measure) for part, one in parts if part == Part("rival", concept)]
            if rivals:
                curve(panel, rivals, colour, "x", f"{concept}, difference of means", shift, ":", base)
        if base is not None:
            curve(panel, [base], theme.ink, "o", "no clamp")
        dose_axis(panel, theme, doses)
        if measure.n is None:
            panel.axhline(0, color=theme.soft, linewidth=0.8)
            continue
        told = (
            {part.name: measure.value(one) for part, one in parts if part.role == "told"} if panel is places[0] else {}
        )
        told = {name: value for name, value in told.items() if isfinite(value)}
        _share_axis(panel, told)
        _told(panel, theme, told)
    _legend(figure, places[0], arms, of)
    return figure


def point(one: WorkshopArm, measure: Measure) -> Point:
    value = measure.value(one)
    if measure.n is None or not isfinite(value):
        return Point(one.dose, value, nan, nan)
    return Point(one.dose, value, *wilson(value, measure.n(one)))


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `n` (Wilson 1927)."""
    if not n:
        return nan, nan
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(max(0.0, share * (1 - share)) / n + weight / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _share_axis(panel: Any, told: dict[str, float]) -> None:
    top = max([panel.get_ylim()[1], *told.values(), 0.1])
    panel.set_ylim(-0.03 * min(1.0, top), min(1.03, top * 1.06))
    percent_axis(panel.yaxis)


def _told(panel: Any, theme: Theme, told: dict[str, float]) -> None:
    """Dashed lines with their names at the right end, names apart from each other."""
    if not told:
        return
    low, high = panel.get_ylim()
    left, right = panel.get_xlim()
    panel.set_xlim(left, right)
    for (name, value), at in zip(told.items(), spread(list(told.values()), 0.075 * (high - low)), strict=True):
        panel.axhline(value, color=theme.ink, linewidth=0.8, linestyle=(0, (4, 3)))
        panel.text(1.01, at, name, transform=panel.get_yaxis_transform(), va="center", fontsize=6.5, color=theme.soft)


def _legend(figure: Any, panel: Any, arms: Sequence[WorkshopArm], of: str) -> None:
    handles, names = panel.get_legend_handles_labels()
    handles, names = handles[-1:] + handles[:-1], names[-1:] + names[:-1]  # no clamp first
    n, m = arms[0].n_impossible, arms[0].n_possible
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(8, max(1, len(names))), columnspacing=1.2, handletextpad=0.5,
        title=f"n = {n} impossible and {m} possible {of} an arm", title_fontsize=7.5,
    )  # fmt: skip
