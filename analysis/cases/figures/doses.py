"""Does a label follow the danger, or the number? Contrasts beside random groups, and levels as the number is turned up."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.cases.figures.canvas import Theme, storeys
from analysis.cases.figures.forest import Line, forest, height_of
from analysis.records import DoseTest, DoseTrend
from analysis.study import Study

ABOUT = (
    "Left: how much more a label's level goes with the number where the number means danger than where the same number is harmless "
    "(mean over families, 95 % bootstrap interval over them; filled: q \u2264 0.05 and at most 5 % of random groups do as much; grey: "
    "5th to 95th percentile of random groups). Right: the labels that most families expect to rise, mean level over these families "
    "as the number is turned up, less its mean, with standard errors over families."
)
MOST = 2
"""Labels whose levels are drawn."""
STEPS = 7


def paint(study: Study, theme: Theme) -> Any:
    tests, trends = study.read("dose_tests", DoseTest), study.read("dose_trends", DoseTrend)
    lines = [
        Line(one.concept, one.contrast, one.low, one.high, one.control_low, one.control_high,
             one.q <= 0.05 and not one.control_share > 0.05, f"{one.n_families}")
        for one in sorted(tests, key=lambda one: -one.contrast)
    ]  # fmt: skip
    risen = _most_expected(trends)
    figure, places = storeys(max(2.6, 1.3 + height_of(len(lines))), (1.25, *(1.0 for _ in risen)), heights=(1,))
    forest(places[0], theme, lines, notes="families")
    places[0].set_title("Follows the danger")
    places[0].set_xlabel("contrast of trends (Spearman's r, \u22122 to 2)")
    for panel, concept in zip(places[1:], risen, strict=True):
        _levels(panel, theme, concept, [one for one in trends if one.concept == concept and one.sign > 0])
    if risen:
        places[1].set_ylabel("level less its mean (dose units)")
        handles, words = places[1].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside lower right", ncols=2)
    return figure


def _most_expected(trends: Sequence[DoseTrend]) -> list[str]:
    counts: dict[str, int] = {}
    for one in trends:
        if one.sign > 0:
            counts[one.concept] = counts.get(one.concept, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))[:MOST]


def _levels(panel: Any, theme: Theme, concept: str, trends: Sequence[DoseTrend]) -> None:
    """From the least number of each family to its largest, families of other lengths in between."""
    steps = np.linspace(0, 1, STEPS)
    panel.grid(axis="y")
    panel.set_title(concept)
    for side, (name, words, colour, marker) in enumerate(
        (("levels", "the number means danger", theme.warm, "o"), ("levels_control", "it is harmless", theme.soft, "s"))
    ):
        found = np.array([np.interp(steps, np.linspace(0, 1, len(one.values)), getattr(one, name)) for one in trends])
        found -= found.mean(axis=1, keepdims=True)
        mean = found.mean(axis=0)
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.full(STEPS, np.nan)
        places = steps + 0.012 * (2 * side - 1)
        panel.plot(places, mean, marker=marker, color=colour, markersize=4, linewidth=1.2, label=words)
        panel.vlines(places, mean - error, mean + error, color=colour, linewidth=1)
    panel.set_xticks([0, 1], ["least", "largest"])
    panel.set_xlabel(f"number (n = {len(trends)} families)")
