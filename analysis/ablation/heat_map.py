"""The picture of an ablation sweep as one SVG file that needs nothing beside it: groups x targets."""

import math
from collections.abc import Sequence
from html import escape

from analysis.ablation.groups import KINDS
from analysis.records import Ablation

UNITS = {
    "loss": "rise of the loss, nats a token",
    "readouts": "change of the readout words' log-probability",
}
HEADINGS = {"each": "ablated alone", "family": "family ablated", "all": "all ablated", "only": "all ablated but"}
CELL, LEFT, TOP, GAP = 16, 150, 118, 20
WARM, COOL = "#b4451f", "#1f6fb4"


def heat_map(rows: Sequence[Ablation], metric: str) -> str:
    """A cell for each group and target: warm is a rise, cool a fall; ringed where it lies outside the random groups'.

    "Outside" is beyond their 5th to 95th percentile, with an interval that excludes their mean: a mark for the eye, no
    test. Colours are full at the 98th percentile of all sizes.
    """
    targets = list(dict.fromkeys(row.target for row in rows if row.target != "own"))
    column = {target: number for number, target in enumerate(targets)}
    sizes = sorted(abs(row.effect) for row in rows if math.isfinite(row.effect))
    most = sizes[int(0.98 * (len(sizes) - 1))] if sizes else 0.0
    parts, y = [], TOP
    for target, number in column.items():
        x = LEFT + CELL * (number + 0.7)
        parts.append(f'<text transform="translate({x:.1f} {TOP - 8}) rotate(-60)">{escape(target)}</text>')
    for kind in KINDS:
        names = list(dict.fromkeys(row.name for row in rows if row.kind == kind))
        if names:
            y += GAP
            parts.append(f'<text class="head" x="8" y="{y - 5}">{HEADINGS[kind]}</text>')
        for name in names:
            parts.append(f'<text x="{LEFT - 6}" y="{y + 0.75 * CELL}" text-anchor="end">{escape(name)}</text>')
            parts += [
                _cell(row, LEFT + CELL * column[row.target], y, most)
                for row in rows
                if (row.kind, row.name) == (kind, name) and row.target in column
            ]
            y += CELL
    y += GAP
    what = UNITS.get(metric, "change of the share of tasks")
    legend = f"warm: {what}; cool: the other way; full colour at {most:.2g}. Ringed: outside the random groups."
    parts.append(f'<text x="8" y="{y + 6}">{escape(legend)}</text>')
    width, height = max(LEFT + CELL * len(targets) + 60, 640), y + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Effect of each ablation on each target"><style>text{{font:11px system-ui,sans-serif;fill:#333}}'
        f".head{{font-weight:600}}</style>"
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _cell(row: Ablation, x: float, y: float, most: float) -> str:
    if not math.isfinite(row.effect):
        return ""
    shade = min(1.0, abs(row.effect) / most) if most else 0.0
    outside = not row.control_low <= row.effect <= row.control_high and not row.low <= row.control_mean <= row.high
    ring = ' stroke="#111" stroke-width="1.2"' if outside else ' stroke="#ddd" stroke-width="0.5"'
    about = (
        f"{row.name} on {row.target}: {row.effect:+.3g} [{row.low:+.3g}, {row.high:+.3g}], n = {row.n}; random groups "
        f"{row.control_mean:+.3g} [{row.control_low:+.3g}, {row.control_high:+.3g}], {row.n_controls} of them, p = {row.p:.2g}"
    )
    return (
        f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{CELL - 2}" fill="{WARM if row.effect >= 0 else COOL}" '
        f'fill-opacity="{shade:.2f}"{ring}><title>{escape(about)}</title></rect>'
    )
