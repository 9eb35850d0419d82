"""The smallest figures: a histogram and a dose curve that fit in a table's row, as inline SVG in the page's colours."""

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 90, 24


def histogram_spark(counts: Sequence[float], about: str = "") -> Markup:
    """Firing strengths from zero to the peak; log counts, so that rare strong firings are seen."""
    most = max(counts, default=0)
    if most <= 0:
        return Markup("")
    each = WIDTH / len(counts)
    bars = "".join(
        f"M{place * each:.1f} {HEIGHT}h{each - 0.6:.1f}v-{max(0.8, HEIGHT * math.log1p(value) / math.log1p(most)):.1f}h-{each - 0.6:.1f}z"
        for place, value in enumerate(counts)
        if value > 0
    )
    return Markup(f'{_frame(about or "histogram of firing strengths")}<path class="bar" d="{bars}"/></svg>')


def curve_spark(points: Sequence[tuple[float, float]], about: str = "") -> Markup:
    """The judge's effect against the dose, through no effect at dose 0."""
    known = sorted([(0.0, 0.0), *((dose, value) for dose, value in points if math.isfinite(value))])
    if len(known) < 2:
        return Markup("")
    x0, x1 = known[0][0], known[-1][0]
    y0, y1 = min(-0.1, *(value for _, value in known)), max(0.1, *(value for _, value in known))

    def at(dose: float, value: float) -> str:
        return f"{(dose - x0) / (x1 - x0 or 1) * WIDTH:.1f},{HEIGHT - (value - y0) / (y1 - y0) * HEIGHT:.1f}"

    zero = f'<polyline class="zero" fill="none" points="{at(x0, 0)} {at(x1, 0)}"/>'
    line = f'<polyline class="own" points="{" ".join(at(*point) for point in known)}"/>'
    return Markup(f"{_frame(about or 'dose curve')}{zero}{line}</svg>")


def _frame(about: str) -> str:
    return f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(about)}">'
