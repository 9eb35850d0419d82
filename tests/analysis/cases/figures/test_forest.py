"""Lines of estimates: numbers at their places, hollow where it could be chance, the ends where there are too many."""

import pytest

from analysis.cases.figures.canvas import THEMES, sheet, styled
from analysis.cases.figures.forest import MOST, Line, at_either_end, forest

THEME = THEMES["dark"]


@pytest.fixture
def axes():
    with styled(THEME):
        yield sheet(2.0)[1][0, 0]


def points(axes) -> list[tuple[float, float, bool]]:
    """(value, place, filled) of each mark."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor() != THEME.paper)
        for line in axes.lines
        if line.get_marker() == "o"
    ]


def test_each_line_has_its_mark_its_interval_and_its_controls(axes):
    forest(
        axes, THEME, [Line("a", 0.3, 0.1, 0.5, -0.1, 0.2), Line("b", 0.1, -0.1, 0.3, strong=False, note="7")], notes="n"
    )
    assert points(axes) == [(0.3, 0, True), (0.1, 1, False)]
    assert [0.1, 0.5] in [list(line.get_xdata()) for line in axes.lines]
    (band,) = axes.collections
    assert band.get_datalim(axes.transData).intervalx.tolist() == pytest.approx([-0.1, 0.2])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.texts] == ["7", "n"]


def test_what_is_not_known_is_left_out(axes):
    nan = float("nan")
    forest(axes, THEME, [Line("a", nan, nan, nan, nan, nan), Line("b", 0.1, nan, nan)])
    assert points(axes) == [(0.1, 1, True)]
    assert not axes.collections


def test_of_too_many_the_ends_are_shown():
    lines = [Line(str(number), float(number), 0, 0) for number in range(100)]
    found, said = at_either_end(lines)
    assert [one.value for one in found] == [*range(99, 99 - MOST // 2, -1), *range(MOST // 2 - 1, -1, -1)]
    assert said == f"the {MOST // 2} highest and lowest of 100"
    assert at_either_end(lines[:3]) == (lines[2::-1], "")
    assert at_either_end([]) == ([], "")
