"""Pictures as files: the only importer of matplotlib."""

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
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), width_ratios=(1.55, 1), layout="constrained")
        _circumplex(left, marks)
        _workshop(right, arms)
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
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
            for point in mine:
                axes.annotate(
                    point.concept, (point.pc1, point.pc2), (3, 3), textcoords="offset points", fontsize=6.5,
                    color="#44484f",
                )  # fmt: skip
            names = {"labels": "labels", "diff_means": "differences of means"}
            axes.set(xlabel="first principal component", ylabel="second principal component")
            axes.set_title(f"Directions of {names[source]} (n = {len(mine)})", fontsize=10, loc="left")
        figure.colorbar(shown, ax=panels[0, -1], label="valence (human ratings, 1 to 9; grey: unrated)", shrink=0.7)
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
        size = 25 + 500 * max(0.0, mark.size - 0.5) ** 1.5
        named = mark.status if mark.status not in shown else None
        shown.add(mark.status)
        axes.scatter(
            mark.valence, mark.arousal, s=size, marker=SHAPES.get(mark.status, "o"), label=named, linewidth=1.4, **style
        )
    _names(axes, marks)
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
    axes.margins(0.14)


def _names(axes, marks: Sequence[Mark]) -> None:
    """Each name beside its mark, where the fewest marks and names stand; arousal counts double, names being wide."""
    taken = [(mark.valence, 2 * mark.arousal) for mark in marks]
    sides = {(9, 0): (0.7, 0.0), (-9, 0): (-0.7, 0.0), (0, 11): (0.0, 0.4), (0, -11): (0.0, -0.4),
             (8, 10): (0.6, 0.35), (8, -10): (0.6, -0.35), (-8, 10): (-0.6, 0.35), (-8, -10): (-0.6, -0.35)}  # fmt: skip
    for mark in marks:

        def crowd(side: tuple[int, int], mark: Mark = mark) -> float:
            x, y = mark.valence + sides[side][0], 2 * mark.arousal + sides[side][1]
            return sum(1 / (0.02 + (0.5 * (other_x - x)) ** 2 + (other_y - y) ** 2) for other_x, other_y in taken)

        dx, dy = min(sides, key=crowd)
        taken.append((mark.valence + sides[dx, dy][0], 2 * mark.arousal + sides[dx, dy][1]))
        axes.annotate(
            mark.concept,
            (mark.valence, mark.arousal),
            (dx, dy),
            textcoords="offset points",
            fontsize=8,
            ha="center" if dx == 0 else "left" if dx > 0 else "right",
            va="center",
        )


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
    axes.set_xticks(range(len(arms)), [ARMS[arm.arm] for arm in arms], fontsize=7.5)
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
