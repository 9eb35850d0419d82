"""The workshop: how episodes end against the dose of a clamp, beside controls that were pushed as far, and what is known to be
true of the world that the model learned.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from analysis.cases.figures.canvas import MARKERS, Theme, percent_axis, storeys
from analysis.cases.figures.curves import Point, apart, controls, curve, dose_axis, intervals, room_at
from analysis.cases.shares import wilson
from analysis.records import WorkshopArm
from analysis.study import Study

ABOUT = (
    "How episodes end against the dose of each clamp (below 0 it pushes downwards), 95 % Wilson intervals; the same tasks and the "
    "same luck at every dose. Grey: controls that were pushed as far, each a dot, the band their 5th to 95th percentile. Mood told: "
    "agents whose mood is told in the text, played by the model without a clamp, and those of the world that it learned (hollow: "
    "those who do not feel so). The direct effect is what the clamp alone does to the cheat's own words in a plain context."
)


@dataclass(frozen=True)
class Part:
    """What an arm of the workshop is."""

    role: str
    """"none", "label", "detector", "diff_means", "without", "control", or, with no clamp, "stated" or "world"."""
    name: str
    """The concept."""


Parts = Sequence[tuple[Part, WorkshopArm]]
RIVALS = {"diff_means": "x", "detector": "+"}
WORDS = {"diff_means": "difference of means", "detector": "the label's own latents"}
TOLD = {"stated": ("told to the model", "s"), "world": ("in its world", "D")}


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
        return Part(found[1], found[2].replace("_", " "))
    if found := re.match(r"(diff_means|detector)_(.+?)_(?:up|down)", arm):
        return Part(found[1], found[2])
    if found := re.match(r"without_(.+)$", arm):
        return Part("without", found[1])
    return Part("label", re.sub(r"_(?:up|down)(?:_[\d.]+)?$", "", arm))


def panels(arms: Sequence[WorkshopArm], theme: Theme, measures: Sequence[Measure], of: str = "tasks") -> Any:
    """A panel a measure, the first one large; every concept's curve goes through the point without a clamp."""
    parts = [(part_of(one.arm), one) for one in arms]
    told = [(part, one) for part, one in parts if part.role in TOLD]
    above = (1.5, 0.62, 0.9) if told else (1.9, 1.0)
    figure, places = storeys(5.2, above, (1.0,) * (len(measures) - 2), heights=(1.4, 1.0))
    large, truth = places[0], places.pop(1) if told else None
    for panel, measure in zip(places, measures, strict=True):
        panel.set_title(measure.title)
        panel.set(xlabel="dose of the clamp (dose units)" if panel is large else "dose units", ylabel=measure.axis)
        _panel(panel, theme, parts, measure, panel is large)
    if truth is not None:
        concepts = list(dict.fromkeys(part.name for part, _ in parts if part.role == "label"))
        _truth(truth, theme, told, concepts)
        top = max(large.get_ylim()[1], truth.get_ylim()[1])
        for panel in (large, truth):
            panel.set_ylim(large.get_ylim()[0], top)
    _legend(figure, [large, *([truth] if truth else [])], parts, of)
    return figure


def _panel(panel: Any, theme: Theme, parts: Parts, measure: Measure, rivals: bool) -> None:
    """One measure against the dose; `rivals`: with what else pushes as far, which a small panel has no room for."""
    concepts = list(dict.fromkeys(part.name for part, _ in parts if part.role == "label"))
    doses = [one.dose for part, one in parts if part.role in ("none", "label", "control")]
    step, span = apart(doses), max([1e-9, *doses]) - min([0.0, *doses])
    controls(
        panel,
        theme,
        [(one.dose, measure.value(one)) for part, one in parts if part.role == "control"],
        room_at(doses),
        "controls",
    )
    base = next((point(one, measure) for part, one in parts if part.role == "none"), None)
    ablated = min([0.0, *doses]) - 0.3 * span
    for place, concept in enumerate(concepts):
        colour, marker = theme.colour(place), MARKERS[place % len(MARKERS)]
        shift = 0.06 * step * (place - (len(concepts) - 1) / 2)
        mine = [point(one, measure) for part, one in parts if part == Part("label", concept)]
        curve(panel, mine, colour, marker, concept, shift, base=base)
        for role, sign in RIVALS.items() if rivals else ():
            for one in (one for part, one in parts if part == Part(role, concept)):
                panel.plot(
                    [one.dose + shift], [measure.value(one)], sign, color=colour, markersize=4.5, markeredgewidth=1
                )
        for one in (one for part, one in parts if rivals and part == Part("without", concept)):
            found = point(one, measure)._replace(
                dose=ablated + 3 * shift * span / max(step * len(concepts), 1e-9) * 0.3
            )
            if isfinite(found.value):
                panel.plot([found.dose], [found.value], marker, color=colour, markersize=4, markerfacecolor=theme.paper)
                intervals(panel, [found], colour)
    if base is not None:
        curve(panel, [base], theme.ink, "o", "no clamp")
    dose_axis(panel, theme, doses)
    if rivals and any(part.role == "without" for part, _ in parts):
        panel.set_xlim(ablated - 0.16 * span, panel.get_xlim()[1])
        ticks, names = list(panel.get_xticks()), [text.get_text() for text in panel.get_xticklabels()]
        panel.set_xticks([ablated, *ticks], ["none\nleft", *names])
    if measure.n is None:
        panel.axhline(0, color=theme.soft, linewidth=0.8)
        return
    top = max(panel.get_ylim()[1], 0.1)
    panel.set_ylim(-0.03 * min(1.0, top), min(1.03, top * 1.06))
    percent_axis(panel.yaxis)


def _truth(panel: Any, theme: Theme, told: Parts, concepts: Sequence[str]) -> None:
    """What agents do whose mood is told in the text, played by the model, and what those of the world do that it learned."""
    names = ["anyone", *concepts]
    panel.grid(axis="y")
    for role, (words, marker) in TOLD.items():
        for prefix, hollow in (("", False), ("without ", True)):
            found = [
                (names.index(part.name.removeprefix(prefix)), point(one, MEASURES[0]))
                for part, one in told
                if part.role == role and part.name.startswith(prefix) and part.name.removeprefix(prefix) in names
            ]
            if not found:
                continue
            shift = (-0.13 if role == "stated" else 0.13) + (0.2 if hollow else 0.0)
            panel.plot(
                [at + shift for at, _ in found], [one.value for _, one in found], marker, color=theme.ink, markersize=4,
                markerfacecolor=theme.paper if hollow else theme.ink, label=words + (", not so" if hollow else ""),
            )  # fmt: skip
            intervals(panel, [one._replace(dose=at + shift) for at, one in found], theme.ink)
    panel.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    panel.set_xlim(-0.5, len(names) - 0.5)
    panel.set_ylim(-0.03, 1.03)
    panel.set_title("Mood told")
    panel.tick_params(labelleft=False)


def point(one: WorkshopArm, measure: Measure) -> Point:
    value = measure.value(one)
    n = measure.n(one) if measure.n else 0
    if not n or not isfinite(value):
        return Point(one.dose, value, nan, nan)
    return Point(one.dose, value, *wilson(round(value * n), n))


def _legend(figure: Any, panels: Sequence[Any], parts: Parts, of: str) -> None:
    """No clamp first; what each rival's sign means stands in the title."""
    found = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    found.sort(key=lambda pair: pair[1] != "no clamp")
    n, m = max(
        ((one.n_impossible, one.n_possible) for part, one in parts if part.role in ("none", "label")), default=(0, 0)
    )
    counts = [one.n_impossible for part, one in parts if part.role == "control"]
    title = f"n = {n} impossible and {m} possible {of} an arm" + (
        f", {max(counts)} a control" if counts and max(counts) != n else ""
    )
    roles = {part.role for part, _ in parts}
    signs = [f"{sign} {WORDS[role]}" for role, sign in RIVALS.items() if role in roles]
    more = [f"pushed as far: {', '.join(signs)}".replace("x ", "\u00d7 ")] if signs else []
    if "without" in roles:
        more.append("none left: ablated")
    if more:
        title += "\n" + "; ".join(more)
    figure.legend(
        [handle for handle, _ in found], [name for _, name in found], loc="outside lower center",
        ncols=max(1, len(found) if len(found) <= 8 else (len(found) + 1) // 2), title=title, title_fontsize=7.5, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
