"""Pictures as files: the only importer of matplotlib."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.records import GeometryPoint, WorkshopArm
from analysis.report.content import Mark

COLOURS = {
    "validated": "#0a7a5c",
    "held": "#0b62a8",
    "no effect": "#0b62a8",
    "unspecific": "#c05a00",
    "breaks fluency": "#8a4a86",
    "rejected": "#c05a00",
    "candidate": "#666c75",
}
SHAPES = {
    "validated": "o",
    "held": "o",
    "no effect": "s",
    "unspecific": "^",
    "breaks fluency": "D",
    "rejected": "x",
    "candidate": "o",
}
NAME_GAPS = (2, 5, 10, 16, 24, 34, 46)
"""Typographic points between a mark and its name that are tried, the nearest first; from the third on a line joins them."""
NAME_ANGLES = (0, 180, 90, 270, 45, -45, 135, 225, 22, -22, 158, 202, 68, -68, 112, 248)
"""Degrees, to the right first."""
ARMS = {
    "none": "no\nclamp",
    "desperate_down": "desperate\ndown",
    "desperate_up": "desperate\nup",
    "calm_down": "calm\ndown",
    "calm_up": "calm\nup",
    "control_0_down": "random\ndown",
    "control_0_up": "random\nup",
}


def picture(path: str | Path, marks: Sequence[Mark], arms: Sequence[WorkshopArm], title: str = "") -> None:
    """The README's picture: the circumplex beside the workshop's cheating shares, as a PNG."""
    plt = _pyplot()
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), width_ratios=(1.4, 1), layout="constrained")
        _circumplex(left, marks)
        _workshop(right, arms)
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
        figure.draw_without_rendering()
        _names(left, [(one.concept, one.valence, one.arousal, math.sqrt(_area(one)) / 2 + 1) for one in marks], 8)
        _save(plt, figure, path)


def frontier(path: str | Path, points: Mapping[str, tuple[float, float]]) -> None:
    """Explained variance against L0 (latents that fire a token), a named point a checkpoint, as a PNG."""
    plt = _pyplot()
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
        ordered = sorted(points.items(), key=lambda item: item[1])
        l0s = [l0 for _, (l0, _) in ordered]
        axes.plot(l0s, [variance for _, (_, variance) in ordered], "o", color="#0b62a8")
        best: list[tuple[float, float]] = []  # points that no sparser one equals
        for _, (l0, variance) in ordered:
            if not best or variance > best[-1][1]:
                best.append((l0, variance))
        axes.plot(*zip(*best, strict=True), color="#0b62a8", linewidth=1, alpha=0.5)
        for name, point in ordered:
            axes.annotate(name, point, (5, -9), textcoords="offset points", fontsize=7)
        if l0s[0] > 0 and l0s[-1] > 4 * l0s[0]:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="L0: latents that fire a token", ylabel="explained variance on held-out text")
        axes.grid(color="#ecebe6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(0.12)
        _save(plt, figure, path)


def calibration(
    path: str | Path, sizes: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    bars: Mapping[str, float],
) -> None:  # fmt: skip
    """Curves over the number of finding texts, as a PNG: panel -> curve -> (rate, low, high) at each size; `bars` are the
    rates that a panel asks for."""
    plt = _pyplot()
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(5.2 * len(panels), 4.2), layout="constrained", squeeze=False
        )
        for panel, (title, curves) in zip(axes[0], panels.items(), strict=True):
            places = range(len(sizes))
            colours = ["#0b62a8", "#0a7a5c", "#c05a00", "#8a4a86"]
            for number, (name, points) in enumerate(curves.items()):
                shift = 0.05 * (number - (len(curves) - 1) / 2)  # intervals side by side
                rate, low, high = zip(*points, strict=True)
                at = [place + shift for place in places]
                panel.plot(at, rate, "o-", color=colours[number], label=name, markersize=4, clip_on=False)
                panel.vlines(at, low, high, color=colours[number], linewidth=1.2)
            panel.axhline(bars[title], color="#666c75", linewidth=0.9, linestyle="--")
            panel.text(1.01, bars[title], "bar", color="#666c75", va="center", transform=panel.get_yaxis_transform())
            panel.set_xticks(places, [str(size) for size in sizes])
            panel.set(xlabel="finding texts a concept", ylabel="share (95 % Clopper-Pearson interval)", ylim=(0, None))
            panel.set_title(title, fontsize=10, loc="left")
            panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            panel.grid(color="#ecebe6", linewidth=0.8)
            panel.set_axisbelow(True)
            panel.legend(frameon=False, fontsize=8)
        _save(plt, figure, path)


def directions(path: str | Path, points: Sequence[GeometryPoint]) -> None:
    """Concepts on the first two principal components of their directions, labels beside differences of means, as a PNG;
    colour is human valence."""
    plt = _pyplot()
    sources = list(dict.fromkeys(point.source for point in points))
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, panels = plt.subplots(
            1, len(sources), figsize=(6.4 * len(sources), 5.6), layout="constrained", squeeze=False
        )
        for axes, source in zip(panels[0], sources, strict=True):
            mine = [point for point in points if point.source == source]
            rated = [point for point in mine if point.valence is not None]
            axes.plot(
                [point.pc1 for point in mine if point.valence is None],
                [point.pc2 for point in mine if point.valence is None],
                "o", color="#c9ccd1", markersize=5,
            )  # fmt: skip
            shown = axes.scatter(
                [point.pc1 for point in rated], [point.pc2 for point in rated], s=30, vmin=1, vmax=9, cmap="cividis",
                c=[point.valence for point in rated],
            )  # fmt: skip
            names = {"labels": "labels", "diff_means": "differences of means"}
            axes.set(xlabel="first principal component", ylabel="second principal component")
            axes.set_title(f"Directions of {names[source]} (n = {len(mine)})", fontsize=10, loc="left")
        figure.colorbar(shown, ax=panels[0, -1], label="valence (human ratings, 1 to 9; grey: unrated)", shrink=0.7)
        figure.draw_without_rendering()
        for axes, source in zip(panels[0], sources, strict=True):
            named = [(one.concept, one.pc1, one.pc2, 3.0) for one in points if one.source == source]
            _names(axes, named, 6.5, "#44484f")
        _save(plt, figure, path)


def _save(plt, figure, path: str | Path) -> None:
    """Whole or not at all."""
    part = Path(path).with_name(Path(path).name + ".part")
    figure.savefig(part, format="png", dpi=150, facecolor="white")
    plt.close(figure)
    part.replace(path)


def _circumplex(axes, marks: Sequence[Mark]) -> None:
    axes.set(xlabel="valence (human ratings, 1 to 9)", ylabel="arousal (human ratings, 1 to 9)")
    axes.set_title("Where the labelled concepts stand", fontsize=10, loc="left")
    axes.grid(color="#ecebe6", linewidth=0.8)
    axes.set_axisbelow(True)
    shown = set()
    for mark in marks:
        hollow = mark.status not in ("validated", "rejected")
        colour = COLOURS.get(mark.status, "#666c75")
        style = (
            {"color": colour}
            if mark.status == "rejected"
            else {"facecolor": "white" if hollow else colour, "edgecolor": colour}
        )
        named = mark.status if mark.status not in shown else None
        shown.add(mark.status)
        axes.scatter(
            mark.valence,
            mark.arousal,
            s=_area(mark),
            marker=SHAPES.get(mark.status, "o"),
            label=named,
            linewidth=1.4,
            **style,
        )
    if marks:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.13),
            ncols=5,
            fontsize=8,
            frameon=False,
            markerscale=0.7,
            title="size: AUROC on checking texts",
            title_fontsize=8,
        )
    axes.margins(x=0.18, y=0.14)  # room for names


def _names(axes, points: Sequence[tuple[str, float, float, float]], size: float, colour: str = "black") -> None:
    """Names beside their points (name, x, y, the mark's radius in typographic points), none over another or over a mark.

    Each takes the nearest free place, further ones with a line to their point; where none is free within the axes it is
    left out. Those with the most neighbours choose first. The layout must be final: it is measured here.
    """
    figure = axes.figure
    scale = figure.dpi / 72  # pixels in a typographic point
    frame = axes.get_window_extent()
    centres = axes.transData.transform([(x, y) for _, x, y, _ in points]) if points else []
    radii = [radius * scale for *_, radius in points]
    marks = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    texts = [axes.text(0, 0, name, fontsize=size, color=colour) for name, *_ in points]
    sizes = [text.get_window_extent() for text in texts]
    for text in texts:
        text.remove()
    crowds = [sum(math.dist(one, other) < 60 * scale for other in centres) for one in centres]
    names: list[tuple[float, float, float, float]] = []
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for at in sorted(range(len(points)), key=lambda at: -crowds[at]):
        (x, y), width, height = centres[at], sizes[at].width, sizes[at].height
        for gap, angle in itertools.product(NAME_GAPS, NAME_ANGLES):
            reach = radii[at] + gap * scale
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            left = x + reach * across + (across - 1) / 2 * width
            low = y + reach * up + (up - 1) / 2 * height
            box = (left, low, left + width, low + height)
            edge = 3 * scale
            inside = (
                frame.x0 + edge < box[0]
                and box[2] < frame.x1 - edge
                and frame.y0 + edge < box[1]
                and box[3] < frame.y1 - edge
            )
            line = ((x + radii[at] * across, y + radii[at] * up), (x + reach * across, y + reach * up))
            far = gap > NAME_GAPS[1]
            others = [
                mark
                for mark, centre, radius in zip(marks, centres, radii, strict=True)
                if math.dist(centre, (x, y)) >= max(radius, radii[at])  # a line cannot but touch what lies on its mark
            ]
            if not inside or any(_meet(box, other, 1.5 * scale) for other in (*marks, *names)):
                continue
            if any(_crosses(one, box) for one in lines):
                continue
            if far and any(_crosses(line, other) for other in (*names, *others)):
                continue
            names.append(box)
            name, place = points[at][0], points[at][1:3]
            axes.annotate(
                name, place, ((left - x) / scale, (low - y) / scale), textcoords="offset points", fontsize=size,
                color=colour, ha="left", va="bottom", annotation_clip=False,
            ).set_in_layout(False)  # fmt: skip
            if far:
                lines.append(line)
                ends = axes.transData.inverted().transform(line)
                axes.plot(*ends.T, color="#8a8f98", linewidth=0.6, zorder=0.5, scalex=False, scaley=False)
            break


def _area(mark: Mark) -> float:
    """Of a concept's mark, in square typographic points."""
    return 25 + 500 * max(0.0, mark.size - 0.5) ** 1.5


def _meet(one: Sequence[float], other: Sequence[float], margin: float) -> bool:
    """Whether two boxes (left, low, right, high) come nearer than the margin."""
    return (
        one[0] < other[2] + margin
        and other[0] < one[2] + margin
        and one[1] < other[3] + margin
        and other[1] < one[3] + margin
    )


def _crosses(line: Sequence[Sequence[float]], box: Sequence[float]) -> bool:
    """Whether a short line passes a box, looked at in twenty places."""
    (x0, y0), (x1, y1) = line
    places = [(x0 + (x1 - x0) * part / 20, y0 + (y1 - y0) * part / 20) for part in range(21)]
    return any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for x, y in places)


def _workshop(axes, arms: Sequence[WorkshopArm]) -> None:
    arms = [arm for name in ARMS for arm in arms if arm.arm == name]
    axes.set_title("Cheating on impossible tasks, by clamp", fontsize=10, loc="left")
    axes.set(ylabel="share of endings (95 % Wilson interval)")
    for place, arm in enumerate(arms):
        axes.bar(
            place,
            arm.cheat_rate,
            color="#8a8f98" if arm.arm == "none" else "#c9ccd1" if arm.arm.startswith("control") else "#5f98c6",
            width=0.65,
        )
        axes.vlines(place, arm.cheat_low, arm.cheat_high, color="#23262b", linewidth=1.3)
        axes.text(
            place, arm.cheat_high, f"{arm.cheat_rate:.0%}\nn={arm.n_impossible}", ha="center", va="bottom", fontsize=8
        )
    axes.set_xticks(range(len(arms)), [ARMS[arm.arm] for arm in arms], fontsize=7)
    axes.set_ylim(0, min(1.15, 1.35 * max([arm.cheat_high for arm in arms], default=1.0) + 0.05))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("matplotlib is not installed: pip install matplotlib") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
