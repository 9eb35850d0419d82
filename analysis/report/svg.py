"""The report's figures as inline SVG, drawn by hand so that they follow the page's colours, light or dark.

Every text goes through `escape`; colours are the page's CSS variables. Shapes carry the status as well as colour does.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from analysis.records import FeatureCard
from analysis.report.content import DoseCurve, Mark, Matrix

CROWD = 60
"""Among more marks than these, rejected ones have no name, and none has a line."""


def circumplex(marks: Sequence[Mark]) -> str:
    """Valence against arousal by human ratings, from 1 to 9; a mark per concept."""
    if not marks:
        return ""
    crowded = len(marks) > CROWD
    if crowded:
        marks = [replace(mark, found=None) for mark in marks]
    width, height, left, right, top, bottom = 720, 560, 46, 14, 14, 44
    xs = [value for mark in marks for value in (mark.valence, mark.found[0] if mark.found else mark.valence)]
    ys = [value for mark in marks for value in (mark.arousal, mark.found[1] if mark.found else mark.arousal)]
    x0, x1, y0, y1 = math.floor(min(xs)), math.ceil(max(xs)), math.floor(min(ys)), math.ceil(max(ys))
    x0, x1, y0, y1 = min(x0, 4), max(x1, 6), min(y0, 4), max(y1, 6)

    def at(valence: float, arousal: float) -> tuple[float, float]:
        return (
            left + (valence - x0) / (x1 - x0) * (width - left - right),
            height - bottom - (arousal - y0) / (y1 - y0) * (height - top - bottom),
        )

    parts = [_frame(width, height, "Concepts by human-rated valence and arousal")]
    for valence in range(x0, x1 + 1):
        x, _ = at(valence, y0)
        parts += [
            _line(x, top, x, height - bottom, "grid"),
            _text(x, height - bottom + 16, str(valence), "tick", "middle"),
        ]
    for arousal in range(y0, y1 + 1):
        _, y = at(x0, arousal)
        parts += [_line(left, y, width - right, y, "grid"), _text(left - 8, y + 4, str(arousal), "tick", "end")]
    parts += [_text(width - right, height - 8, "pleasant (valence) \u2192", "axis", "end")]
    parts += [_text(left + 8, top + 14, "\u2191 aroused (arousal)", "axis", "start")]
    taken: list[tuple[float, float, float, float]] = []
    for mark in marks:
        if mark.found:
            parts.append(_line(*at(mark.valence, mark.arousal), *at(*mark.found), "tether"))
            x, y = at(*mark.found)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="found"/>')
    for mark in marks:
        x, y = at(mark.valence, mark.arousal)
        radius = (2 if crowded else 4) + (8 if crowded else 14) * max(0.0, mark.size - 0.5)
        taken.append((x - radius, y - radius, x + radius, y + radius))
        about = f"{mark.concept}: {mark.status}, AUROC on checking texts {mark.size:.2f}"
        parts.append(f"<g><title>{escape(about)}</title>{shape(x, y, radius, mark.status)}</g>")
    named = [mark for mark in marks if not crowded or mark.status not in ("rejected", "candidate")]
    for mark in sorted(named, key=lambda one: -one.size):
        x, y = at(mark.valence, mark.arousal)
        radius = (2 if crowded else 4) + (8 if crowded else 14) * max(0.0, mark.size - 0.5)
        long = 6.6 * len(mark.concept)
        places = [
            (x + radius + 3, y + 4, "start"),
            (x - radius - 3, y + 4, "end"),
            (x, y - radius - 5, "middle"),
            (x, y + radius + 13, "middle"),
            (x + radius + 1, y - radius, "start"),
            (x - radius - 1, y + radius + 10, "end"),
        ]

        def box(place: tuple[float, float, str], long: float = long) -> tuple[float, float, float, float]:
            start = place[0] - {"start": 0, "end": long, "middle": long / 2}[place[2]]
            return start, place[1] - 11, start + long, place[1] + 2

        def cost(place: tuple[float, float, str]) -> float:
            a = box(place)
            outside = max(0, left - a[0]) + max(0, a[2] - (width - right))
            return outside + sum(
                max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1])) for b in taken
            )

        best = min(places, key=cost)
        taken.append(box(best))
        parts.append(_text(best[0], best[1], mark.concept, "name halo", best[2]))
    return "".join([*parts, "</svg>"])


def shape(x: float, y: float, radius: float, status: str) -> str:
    """One mark: its shape says the status."""
    kind = "s-" + status.replace(" ", "-")
    r = radius
    match status:
        case "rejected":
            d = f"M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}"
        case "no effect":
            d = f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z"
        case "unspecific":
            d = f"M{x:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}L{x - r:.1f} {y + r:.1f}z"
        case "breaks fluency":
            d = f"M{x:.1f} {y - r:.1f}L{x + r:.1f} {y:.1f}L{x:.1f} {y + r:.1f}L{x - r:.1f} {y:.1f}z"
        case _:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" class="mark {kind}"/>'
    return f'<path d="{d}" class="mark {kind}"/>'


def legend_mark(status: str) -> str:
    return f'<svg class="key" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">{shape(8, 8, 5.5, status)}</svg>'


def dose_plot(curve: DoseCurve) -> str:
    """The judge's effect against the dose, of the label and of what writes the concept, with the span of the label's controls at
    the same KL and the difference of means."""
    width, height, left, right, top, bottom = 330, 210, 42, 12, 10, 34
    banded = [
        (point.dose, point.control_low, point.control_high)
        for point in curve.points
        if point.control_low is not None and point.control_high is not None
    ]
    drawn = [*curve.points, *curve.written_points]
    values = [value for point in curve.points for value in (point.judge_low, point.judge_high)]
    values += [point.judge for point in curve.written_points]
    values += [value for _, low, high in banded for value in (low, high)]
    values += [
        value for one in (curve.chosen, curve.rival, curve.written) if one for value in (one.judge_low, one.judge_high)
    ]
    values = [0.0, *(value for value in values if math.isfinite(value))]
    doses = [0.0, *(point.dose for point in drawn)]
    y0, y1 = min(-0.05, *values), max(0.1, *values)
    x0, x1 = min(doses), max(doses)
    x1 = x1 if x1 > x0 else x0 + 1

    def at(dose: float, value: float) -> tuple[float, float]:
        return (
            left + (dose - x0) / (x1 - x0) * (width - left - right),
            height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom),
        )

    parts = [_frame(width, height, f"Dose curve of {curve.concept}")]
    for value in _ticks(y0, y1):
        _, y = at(x0, value)
        kind = "zero" if value == 0 else "grid"
        parts += [
            _line(left, y, width - right, y, kind),
            _text(left - 6, y + 4, f"{value:+.3g}" if value else "0", "tick", "end"),
        ]
    shown: list[float] = []
    for dose in sorted({0.0, *doses}, key=abs, reverse=True):  # the outermost first; no two on top of each other
        if all(abs(at(dose, y0)[0] - at(other, y0)[0]) > 20 for other in shown):
            shown.append(dose)
            parts.append(_text(at(dose, y0)[0], height - bottom + 16, f"{dose:g}", "tick", "middle"))
    parts.append(_text(width - right, height - 4, "dose", "axis", "end"))
    for side in (-1, 1):
        outwards = sorted((one for one in banded if one[0] * side > 0), key=lambda one: abs(one[0]))
        if outwards:
            edge = [at(dose, high) for dose, _, high in outwards]
            edge += [at(dose, low) for dose, low, _ in reversed(outwards)]
            parts.append(f'<polygon class="band" points="{_path([at(0, 0), *edge])}"/>')
    for points, kind in ((curve.written_points, "writes"), (curve.points, "own")):
        line = sorted([(0.0, 0.0), *((point.dose, point.judge) for point in points if math.isfinite(point.judge))])
        if points:
            parts.append(f'<polyline class="{kind}" points="{_path([at(*point) for point in line])}"/>')
    if curve.written and math.isfinite(curve.written.judge):
        low, high = (at(curve.written.dose, edge) for edge in (curve.written.judge_low, curve.written.judge_high))
        x, y = at(curve.written.dose, curve.written.judge)
        diamond = f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"
        parts += [_line(*low, *high, "writes"), f'<path class="writes-dot" d="{diamond}"/>']
    for point in curve.points:
        if not math.isfinite(point.judge):
            continue
        x, y = at(point.dose, point.judge)
        parts += [
            _line(*at(point.dose, point.judge_low), *at(point.dose, point.judge_high), "own"),
            f'<circle class="own-dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>',
        ]
    if curve.chosen and math.isfinite(curve.chosen.judge):
        x, y = at(curve.chosen.dose, curve.chosen.judge)
        parts.append(f'<circle class="reported-dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    if curve.rival and math.isfinite(curve.rival.judge):
        x, y = at(curve.rival.dose, curve.rival.judge)
        parts.append(f'<rect class="rival-dot" x="{x + 5:.1f}" y="{y - 2.5:.1f}" width="5" height="5"/>')
    return "".join([*parts, "</svg>"])


def heat_map(matrix: Matrix) -> str:
    """What each label (a row) does to each concept (a column): warm towards the concept, cool away from it."""
    if not matrix.labels:
        return ""
    cell, left, top = (16 if len(matrix.concepts) <= 40 else 6), 104, 96
    named = cell >= 10
    width, height = left + cell * len(matrix.concepts) + 8, top + cell * len(matrix.labels) + 8
    known = [abs(value) for row in matrix.effects for value in row if math.isfinite(value)]
    most = sorted(known)[int(0.98 * (len(known) - 1))] if known else 0.0
    parts = [_frame(width, height, "Effect of each label on each concept")]
    for at, name in enumerate(matrix.concepts):
        x = left + cell * (at + 0.7)
        if named:
            parts.append(
                f'<text class="tick" transform="translate({x:.1f} {top - 5}) rotate(-60)" text-anchor="start">{escape(name)}</text>'
            )
    for number, (label, row) in enumerate(zip(matrix.labels, matrix.effects, strict=True)):
        y = top + cell * number
        if named:
            parts.append(_text(left - 6, y + 0.75 * cell, label, "tick", "end"))
        for at, value in enumerate(row):
            if not math.isfinite(value):
                continue
            shade = min(1.0, abs(value) / most) if most else 0.0
            kind = ("warm" if value >= 0 else "cool") + (" own-cell" if matrix.concepts[at] == label else "")
            about = f"{label} on {matrix.concepts[at]}: {value:+.2f}"
            parts.append(
                f'<rect class="{kind}" x="{left + cell * at}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill-opacity="{shade:.2f}"><title>{escape(about)}</title></rect>'
            )
    return "".join([*parts, "</svg>"])


def histogram(card: FeatureCard) -> str:
    """How strong the latent's firings are."""
    counts = card.histogram_counts
    if not counts or max(counts) <= 0:
        return ""
    width, height, bottom = 240, 70, 16
    each = width / len(counts)
    parts = [_frame(width, height, f"Firing strengths of latent {card.latent}")]
    for place, value in enumerate(counts):
        tall = (height - bottom) * math.log1p(value) / math.log1p(max(counts))
        parts.append(
            f'<rect class="bar" x="{place * each + 0.5:.1f}" y="{height - bottom - tall:.1f}" width="{each - 1:.1f}" height="{tall:.1f}"/>'
        )
    if card.histogram_edges:
        parts += [
            _text(0, height - 3, f"{card.histogram_edges[0]:.3g}", "tick", "start"),
            _text(width / 2, height - 3, "firing (log counts)", "tick", "middle"),
            _text(width, height - 3, f"{card.histogram_edges[-1]:.3g}", "tick", "end"),
        ]
    return "".join([*parts, "</svg>"])


def _frame(width: float, height: float, about: str) -> str:
    return f'<svg class="figure" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(about)}">'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within the span, at most seven."""
    step = next(step for step in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 1e9) if (high - low) / step <= 6)
    return [
        round(number * step, 6) for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
