"""What the model prefers, which labels fire there, and what a clamp on an activity's mention does to its Elo."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.cases.figures.canvas import Theme, storeys
from analysis.cases.figures.curves import Point, apart, curve, dose_axis, room_at
from analysis.cases.figures.forest import Line, at_either_end, forest, height_of
from analysis.records import ActivityScore, PreferenceShift, PreferenceTest
from analysis.study import Study

ABOUT = (
    "Above, left: Elo of each activity (400 points are odds of ten to one), by category; the line is the mean. Right: correlation, over "
    "activities, of a label's level and Elo (95 % bootstrap interval over activities; filled: q \u2264 0.05 and at most 5 % of random groups "
    "correlate as much; grey: their 5th to 95th percentile). Below: shift of Elo where an activity's mention is clamped, with 95 % "
    "bootstrap intervals over activities; grey: 5th to 95th percentile of controls that push as far."
)
ACROSS = 4
"""Panels of clamps in a row."""


def paint(study: Study, theme: Theme) -> Any:
    scores, tests = study.read("activity_scores", ActivityScore), study.read("preference_tests", PreferenceTest)
    shifts = study.read("preference_shifts", PreferenceShift)
    lines, which = at_either_end([
        Line(one.concept, one.r, one.low, one.high, one.control_low, one.control_high, one.q <= 0.05 and not one.control_share > 0.05)
        for one in tests
    ])  # fmt: skip
    concepts = list(dict.fromkeys(one.concept for one in shifts))
    below = [concepts[start : start + ACROSS] for start in range(0, len(concepts), ACROSS)]
    above = max(2.4, 0.8 + height_of(len(lines)))
    figure, places = storeys(
        above + 1.9 * len(below), (1.0, 1.0), *((1.0,) * ACROSS if len(below) > 1 else (1.0,) * len(some) for some in below),
        heights=(above, *(1.9 for _ in below)),
    )  # fmt: skip
    _activities(places[0], theme, scores)
    forest(places[1], theme, lines)
    places[1].set_title("Labels at what is preferred" + (f": {which}" if which else ""))
    n = tests[0].n_activities if tests else 0
    places[1].set_xlabel(f"Pearson's r of level and Elo (n = {n} activities)")
    for panel, concept in zip(places[2:], concepts, strict=False):
        _clamped(panel, theme, concept, [one for one in shifts if one.concept == concept])
    for panel in places[2 + len(concepts) :]:
        panel.set_visible(False)
    if concepts:
        _one_scale(places[2 : 2 + len(concepts)])
        places[2].set_ylabel("shift of Elo (points)")
        handles, words = places[2].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside lower center", ncols=3)
    return figure


def _activities(panel: Any, theme: Theme, scores: Sequence[ActivityScore]) -> None:
    by_category: dict[str, list[float]] = {}
    for one in scores:
        by_category.setdefault(one.category, []).append(one.elo)
    ordered = sorted(by_category, key=lambda name: -np.mean(by_category[name]))
    panel.grid(axis="x")
    panel.axvline(0, color=theme.soft, linewidth=0.8)
    for place, name in enumerate(ordered):
        values = by_category[name]
        panel.plot(values, [place] * len(values), "o", color=theme.own, markersize=3.2, alpha=0.55, markeredgewidth=0)
        panel.plot([np.mean(values)] * 2, [place - 0.32, place + 0.32], color=theme.ink, linewidth=1.6)
    panel.set_yticks(range(len(ordered)), [name.replace("_", " ") for name in ordered])
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.set_ylim(len(ordered) - 0.4, -0.6)
    panel.set_title("What the model prefers")
    panel.set_xlabel(f"Elo (n = {len(scores)} activities)")


def _clamped(panel: Any, theme: Theme, concept: str, shifts: Sequence[PreferenceShift]) -> None:
    doses = sorted({one.dose for one in shifts})
    step = apart(doses)
    own = [one for one in shifts if one.arm == "label"]
    for place, one in enumerate(own):
        sides = [one.dose - room_at(doses) / 2, one.dose + room_at(doses) / 2]
        panel.fill_between(
            sides,
            one.control_low,
            one.control_high,
            color=theme.band,
            alpha=0.3,
            linewidth=0,
            label=None if place else "controls, 5 to 95 %",
        )
    for arm, words, colour, marker, line, shift in (
        ("label", "label", theme.own, "o", "-", -0.04), ("diff_means", "difference of means", theme.warm, "s", ":", 0.04),
    ):  # fmt: skip
        mine = [Point(one.dose, one.shift, one.low, one.high) for one in shifts if one.arm == arm]
        if mine:
            curve(panel, mine, colour, marker, words, shift * step, line, Point(0.0, 0.0, 0.0, 0.0))
    dose_axis(panel, theme, doses)
    panel.axhline(0, color=theme.soft, linewidth=0.8)
    panel.set_title(concept)
    n, k = (own[0].n_activities, own[0].n_controls) if own else (0, 0)
    panel.set_xlabel(f"dose units (n = {n}, {k} controls)", fontsize=7)


def _one_scale(panels: Sequence[Any]) -> None:
    low, high = min(panel.get_ylim()[0] for panel in panels), max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(low, high)
