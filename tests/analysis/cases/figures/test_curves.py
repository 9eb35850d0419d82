"""Curves over doses: through the point without a clamp, controls within their room."""

import pytest

from analysis.cases.figures.canvas import THEMES, sheet, styled
from analysis.cases.figures.curves import Point, apart, controls, curve, dose_axis, room_at

THEME = THEMES["light"]


@pytest.fixture
def axes():
    with styled(THEME):
        yield sheet(2.0)[1][0, 0]


def test_a_curve_goes_through_no_clamp(axes, marks):
    nan = float("nan")
    some = [Point(1.0, 0.6, 0.5, 0.7), Point(-1.0, 0.1, 0.0, 0.2), Point(2.0, nan, nan, nan)]
    curve(axes, some, "#000000", "s", "calm", shift=0.1, base=Point(0.0, 0.4, 0.3, 0.5))
    assert marks(axes) == {"calm": [(-0.9, 0.1), (1.1, 0.6)]}
    way = next(line for line in axes.lines if line.get_linestyle() == "-")
    assert way.get_xydata().tolist() == [[-0.9, 0.1], [0.0, 0.4], [1.1, 0.6]]
    (drawn,) = axes.collections
    assert sorted(one.tolist() for one in drawn.get_segments()) == [
        [[-0.9, 0.0], [-0.9, 0.2]],
        [[1.1, 0.5], [1.1, 0.7]],
    ]


def test_controls_are_all_there_within_their_room(axes):
    controls(axes, THEME, [(1.0, value / 100) for value in range(101)] + [(1.0, float("nan"))], 0.4, "controls")
    (dots,) = axes.lines
    assert sorted(dots.get_ydata()) == pytest.approx([value / 100 for value in range(101)])
    assert all(0.8 <= x <= 1.2 for x in dots.get_xdata())
    assert axes.collections[0].get_datalim(axes.transData).intervaly.tolist() == pytest.approx([0.05, 0.95])


@pytest.mark.parametrize("doses", [[], [1.0], [-1.0, 1.0], [0.0], [-4.0, -0.25, 0.25, 0.5, 1.0, 2.0, 4.0]])
def test_names_of_doses_have_room(axes, doses):
    dose_axis(axes, THEME, doses)
    named = [x for x, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True) if text.get_text()]
    low, high = axes.get_xlim()
    assert 0.0 in named
    assert apart(named) / (high - low) > 0.1
    assert set(axes.get_xticks()) == {0.0, *doses}
    assert 0 < room_at(doses) <= max(0.25 * (max([0.0, *doses]) - min([0.0, *doses])), 0.25)
