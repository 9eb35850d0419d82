"""The pictures' names: none over another or over a mark, each beside its own."""

import itertools
import math

import numpy as np
import pytest

from analysis.figures import _names, picture
from analysis.report.content import Mark

plt = pytest.importorskip("matplotlib.pyplot")


def crowd(count: int, spread: float) -> list[tuple[str, float, float, float]]:
    """Points around the middle of a picture from 0 to 10."""
    places = 5 + spread * np.random.default_rng(0).standard_normal((count, 2)).clip(-2.5, 2.5)
    return [(f"concept {number}", float(x), float(y), 6.0) for number, (x, y) in enumerate(places)]


def drawn(points):
    """The names' boxes and the marks' middles, in pixels."""
    figure, axes = plt.subplots(figsize=(7, 5))
    axes.set(xlim=(0, 10), ylim=(0, 10))
    figure.draw_without_rendering()
    _names(axes, points, 8)
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    middles = {name: axes.transData.transform((x, y)) for name, x, y, _ in points}
    n_lines, scale = len(axes.lines), figure.dpi / 72
    plt.close(figure)
    return boxes, middles, n_lines, scale


def distance(box, middle) -> float:
    """From a point to the nearest edge of a box; 0 inside."""
    x, y = middle
    return math.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1))


@pytest.mark.parametrize(("count", "spread"), [(1, 1.0), (24, 1.6), (40, 0.8)])
def test_no_name_lies_over_another_or_over_a_mark(count, spread):
    boxes, middles, _, scale = drawn(crowd(count, spread))
    assert boxes
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes.values(), 2))
    assert all(distance(box, middle) >= 6 * scale for box in boxes.values() for middle in middles.values())


def test_a_name_that_is_not_beside_its_point_has_a_line_to_it():
    boxes, middles, n_lines, scale = drawn(crowd(24, 1.0))
    far = [name for name, box in boxes.items() if distance(box, middles[name]) > (6 + 5.5) * scale]
    assert 0 < len(far) == n_lines


def test_where_there_is_room_every_point_has_its_name():
    points = [(f"{x} {y}", float(x), float(y), 6.0) for x in range(1, 10, 2) for y in range(1, 10, 2)]
    boxes, middles, n_lines, _ = drawn(points)
    assert set(boxes) == set(middles)
    assert not n_lines
    assert all(min(middles, key=lambda other: distance(box, middles[other])) == name for name, box in boxes.items())


def test_the_picture_is_the_same_each_time(tmp_path):
    marks = [Mark(name, x, y, 0.85, "validated", None) for name, x, y, _ in crowd(12, 1.0)]
    for name in ("one.png", "two.png"):
        picture(tmp_path / name, marks, [])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
