"""Levels before the ending by how episodes end, their slopes within episodes, and whether they foretell the cheat."""

from collections.abc import Sequence
from typing import Any

from analysis.cases.figures.canvas import Theme, storeys
from analysis.cases.figures.forest import Line, forest, height_of
from analysis.records import AttemptSlope, AttemptTrace, Foretelling
from analysis.study import Study

ABOUT = (
    "Impossible tasks, nothing clamped. Above: each label's mean level after the last failed attempts before the ending, in the "
    "same episodes at each attempt, by how they end. Below, left: slope from attempt to attempt within episodes of two or more; "
    "right: AUROC of the level after the last attempt, cheating against honest stops (dashed: a bag of words of the same text). "
    "Intervals are 95 % bootstraps over episodes. Grey: 5th to 95th percentile of random groups of latents that fire as often."
)
ENDS = (("cheated", "ends in cheating", "o"), ("stopped", "ends in an honest stop", "s"))
MOST = 6
"""Concepts that have a panel."""


def paint(study: Study, theme: Theme) -> Any:
    traces = study.read("attempt_traces", AttemptTrace)
    slopes = study.read("attempt_slopes", AttemptSlope)
    scores = study.read("foretellings", Foretelling)
    names = [one.concept for one in scores] or list(dict.fromkeys(one.concept for one in traces))
    shown = names[:MOST]
    rows = height_of(2 * len(names) + 1)
    figure, places = storeys(2.8 + rows, (1.0,) * max(1, len(shown)), (1.0, 1.0), heights=(1.9, 0.7 + rows))
    for at, (panel, name) in enumerate(zip(places, shown, strict=False)):
        _trace(panel, theme, name, [one for one in traces if one.concept == name])
        if not at:
            panel.set_ylabel("level (dose units)")
    _together(places[: len(shown)])
    places[0].get_figure().supxlabel("failed attempts before the ending (n: cheating + honest stops)", fontsize=8)
    handles, words = places[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=3)
    _slopes(places[-2], theme, names, slopes)
    _scores(places[-1], theme, scores)
    return figure


def _trace(panel: Any, theme: Theme, name: str, traces: Sequence[AttemptTrace]) -> None:
    """The longest stretch before the ending that enough episodes of both kinds have."""
    some = [one for one in traces if one.aligned == "end" and one.outcome != "both"]
    both = [
        least
        for least in {one.least for one in some}
        if len({one.outcome for one in some if one.least == least}) == len(ENDS)
    ]
    least = max(both, default=max((one.least for one in some), default=0))
    panel.set_title(name)
    panel.grid(axis="y")
    _controls(panel, theme, [one for one in some if one.least == least])
    counts = []
    for side, (outcome, words, marker) in enumerate(ENDS):
        mine = sorted(
            (one for one in some if (one.outcome, one.least) == (outcome, least)), key=lambda one: one.attempt
        )
        if not mine:
            continue
        colour, places = (theme.warm, theme.own)[side], [one.attempt + 0.06 * (2 * side - 1) for one in mine]
        panel.plot(
            places, [one.mean for one in mine], color=colour, marker=marker, markersize=4, linewidth=1.2, label=words
        )
        panel.vlines(places, [one.low for one in mine], [one.high for one in mine], color=colour, linewidth=1)
        counts.append(f"{mine[0].n}")
    panel.set_xticks(range(-least, 0), [f"\u2212{-at}" for at in range(-least, 0)])
    panel.set_xlim(-least - 0.35, -0.65)
    panel.set_xlabel(f"n = {' + '.join(counts)}" if counts else "too few episodes", fontsize=7)


def _controls(panel: Any, theme: Theme, traces: Sequence[AttemptTrace]) -> None:
    """From the lower to the higher end of what random groups do in episodes of either ending."""
    by_attempt: dict[int, list[tuple[float, float]]] = {}
    for one in traces:
        if one.control_low is not None and one.control_high is not None:
            by_attempt.setdefault(one.attempt, []).append((one.control_low, one.control_high))
    places = sorted(by_attempt)
    if places:
        low, high = (
            [min(by_attempt[at])[0] for at in places],
            [max(high for _, high in by_attempt[at]) for at in places],
        )
        words = "random groups, 5 to 95 %"
        panel.fill_between(places, low, high, color=theme.band, alpha=0.3, linewidth=0, label=words)


def _together(panels: Sequence[Any]) -> None:
    """One scale from 0 for all of them."""
    top = max((panel.get_ylim()[1] for panel in panels), default=1.0)
    low = min(0.0, min((panel.get_ylim()[0] for panel in panels), default=0.0))
    for at, panel in enumerate(panels):
        panel.set_ylim(low, top)
        if at:
            panel.tick_params(labelleft=False)


def _slopes(panel: Any, theme: Theme, names: Sequence[str], slopes: Sequence[AttemptSlope]) -> None:
    lines = []
    for name in names:
        for outcome, _, _ in ENDS:
            for one in slopes:
                if (one.concept, one.outcome) == (name, outcome):
                    lines.append(
                        Line(
                            f"{name}, {'cheats' if outcome == 'cheated' else 'stops'}", one.slope, one.low, one.high, one.control_low,
                            one.control_high, _beyond(one.low, one.high, one.control_share), f"{one.n}",
                            (theme.warm, theme.own)[outcome == "stopped"],
                        )
                    )  # fmt: skip
    forest(panel, theme, lines, notes="n")
    panel.set_title("Slope within episodes")
    panel.set_xlabel("dose units an attempt")


def _scores(panel: Any, theme: Theme, scores: Sequence[Foretelling]) -> None:
    ordered = sorted(scores, key=lambda one: -one.auroc)
    lines = [
        Line(one.concept, one.auroc, one.low, one.high, one.control_low, one.control_high, _beyond(one.low, one.high, one.control_share, 0.5),
             f"{one.n_cheated} + {one.n_stopped}")
        for one in ordered
    ]  # fmt: skip
    if ordered:
        one = ordered[0]
        lines.append(
            Line(
                "bag of words",
                one.words,
                one.words_low,
                one.words_high,
                note=f"{one.n_cheated} + {one.n_stopped}",
                colour=theme.soft,
            )
        )
        panel.axvline(one.words, color=theme.soft, linewidth=0.9, linestyle=(0, (4, 3)))
    forest(panel, theme, lines, zero=0.5, notes="n")
    panel.set_title("Foretelling the cheat")
    panel.set_xlabel("AUROC")


def _beyond(low: float, high: float, share: float, zero: float = 0.0) -> bool:
    """Whether the interval leaves out `zero`, and few controls lie as far from it."""
    return (low > zero or high < zero) and not share > 0.05
