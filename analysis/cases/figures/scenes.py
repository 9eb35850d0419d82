"""Scenes beside their twins: how much each expected label rises, beside the other labels in the same scene."""

from typing import Any

import numpy as np

from analysis.cases.figures.canvas import Theme, storeys
from analysis.cases.figures.forest import Line, forest, height_of
from analysis.records import SceneRead, SceneTest
from analysis.study import Study

ABOUT = (
    "Rise of a label's mean level from a twin to its scene, in which the one fact that matters is another; each in the spread of its "
    "own rises over all scenes. Blue: labels that the scene should wake; grey dots: the other labels in the same scene. Below: means, with "
    "95 % bootstrap intervals over scenes; p by shuffling which labels are expected."
)


def paint(study: Study, theme: Theme) -> Any:
    rows, tests = study.read("scenes", SceneRead), study.read("scene_tests", SceneTest)
    rises = {
        name: np.array([one.rise for one in rows if one.concept == name]) for name in {one.concept for one in rows}
    }
    spread = {name: float(found.std()) for name, found in rises.items()}
    scaled = {
        (one.name, one.concept): one.rise / spread[one.concept] if spread[one.concept] > 0 else 0.0 for one in rows
    }
    expected = [one for one in rows if one.expected]
    lines = [
        Line(f"{_words(one.name)}: {one.concept}", scaled[one.name, one.concept], np.nan, np.nan) for one in expected
    ]
    parts = [0.45 + height_of(len(lines)), *(0.65 + height_of(2 * len(tests)) for _ in tests[:1])]
    figure, places = storeys(sum(parts), *((1,) for _ in parts), heights=parts)
    forest(places[0], theme, lines)
    for place, line in enumerate(expected):
        others = [scaled[one.name, one.concept] for one in rows if one.name == line.name and not one.expected]
        places[0].plot(others, [place] * len(others), ".", color=theme.band, markersize=4, markeredgewidth=0, zorder=1)
    last = ""
    for place, one in enumerate(expected):
        if one.kind != last and last:
            places[0].axhline(place - 0.5, color=theme.grid, linewidth=0.8)
        if one.kind != last:
            places[0].text(
                1.02,
                place,
                _words(one.kind),
                transform=places[0].get_yaxis_transform(),
                va="center",
                color=theme.soft,
                fontsize=7,
            )
        last = one.kind
    places[0].set_title("Scene less its twin")
    means = [
        line
        for one in tests
        for line in (
            Line("expected labels", one.expected, one.expected_low, one.expected_high, strong=one.p <= 0.05, note=f"p = {one.p:.3f}, {one.n} pairs"),
            Line("other labels", one.others, one.others_low, one.others_high, note=f"{one.n_scenes} scenes", colour=theme.soft),
        )
    ]  # fmt: skip
    if tests:
        forest(places[1], theme, means)
        places[1].set_xlim(places[0].get_xlim())
    places[-1].set_xlabel("rise (standard deviations of the label's rises)")
    return figure


def _words(name: str) -> str:
    return name.replace("_", " ")
