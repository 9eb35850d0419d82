"""The workshop's figure: rates stand at their doses, controls in grey, and what is told of the world is named."""

import pytest

from analysis.cases.figures.workshop import Part, part_of
from analysis.cases.shares import wilson
from analysis.records import WorkshopArm


def arm(name: str, dose: float, cheat: float, **changes) -> WorkshopArm:
    fields = {
        "arm": name, "dose": dose, "cheat_rate": cheat, "cheat_low": 0.0, "cheat_high": 1.0, "invalid_rate": 0.1,
        "cheat_rate_valid": cheat / 0.9, "n_valid": 90, "honest_rate": 0.2, "solve_rate": 0.7, "direct_effect": 0.3 * dose,
        "n_impossible": 100, "n_possible": 50,
    }  # fmt: skip
    return WorkshopArm(**{**fields, **changes})


ARMS = [
    arm("none", 0.0, 0.4), arm("desperate_down", -1.0, 0.1), arm("desperate_up", 1.0, 0.6), arm("calm_down", -1.0, 0.5),
    arm("calm_up", 1.0, 0.3), *(arm(f"control_{number}_up", 1.0, 0.38 + 0.01 * number) for number in range(5)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("none", Part("none", "")),
        ("desperate_down", Part("label", "desperate")),
        ("at_ease_up", Part("label", "at_ease")),
        ("calm_up_0.25", Part("label", "calm")),
        ("control_3_up", Part("control", "")),
        ("diff_means_calm_up", Part("diff_means", "calm")),
        ("detector_calm_down", Part("detector", "calm")),
        ("without_calm", Part("without", "calm")),
        ("stated_desperate", Part("stated", "desperate")),
        ("world_without_calm", Part("world", "without calm")),
    ],
)
def test_an_arms_name_says_what_it_is(name, part):
    assert part_of(name) == part


def test_each_rate_stands_at_its_dose(study, painted, marks):
    study.write("workshop", ARMS)
    cheating, valid, honest, invalid, solved, direct = painted("workshop", study).axes
    found = marks(cheating)
    assert [y for _, y in found["desperate"]] == [0.1, 0.6]
    assert [x for x, _ in found["desperate"]] == pytest.approx([-1, 1], abs=0.1)
    assert [y for _, y in found["calm"]] == [0.5, 0.3]
    assert found["no clamp"] == [(0, 0.4)]
    assert [y for _, y in marks(valid)["desperate"]] == pytest.approx([0.1 / 0.9, 0.6 / 0.9])
    assert [y for _, y in marks(direct)["calm"]] == pytest.approx([-0.3, 0.3])
    assert [marks(panel)["no clamp"][0][1] for panel in (honest, invalid, solved)] == [0.2, 0.1, 0.7]
    dots = next(line for line in cheating.lines if line.get_marker() == ".")
    assert sorted(dots.get_ydata()) == pytest.approx([0.38, 0.39, 0.40, 0.41, 0.42])


def test_an_intervals_ends_are_wilsons(study, painted):
    study.write("workshop", ARMS)
    cheating = painted("workshop", study).axes[0]
    drawn = [part for group in cheating.collections for part in getattr(group, "get_segments", list)()]
    ends = {tuple(round(float(y), 6) for _, y in one) for one in drawn}
    assert tuple(round(y, 6) for y in wilson(10, 100)) in ends


def test_what_is_known_stands_beside_it_on_one_scale(study, painted, marks):
    told = [
        arm("stated_desperate", 0.0, 0.95), arm("world_anyone", 0.0, 0.4), arm("world_desperate", 0.0, 0.96),
        arm("world_without_calm", 0.0, 0.05), arm("world_of_others", 0.0, 0.5),
    ]  # fmt: skip
    study.write("workshop", [*ARMS, *told])
    figure = painted("workshop", study)
    cheating, truth = figure.axes[:2]
    assert cheating.get_ylim() == truth.get_ylim()
    assert [text.get_text() for text in truth.get_xticklabels()] == ["anyone", "desperate", "calm"]
    found = {name: [(round(x), y) for x, y in points] for name, points in marks(truth).items()}
    assert found == {
        "told to the model": [(1, 0.95)], "in its world": [(0, 0.4), (1, 0.96)],
        "in its world, not so": [(2, 0.05)],
    }  # fmt: skip


def test_rivals_and_ablations_have_marks_of_their_own(study, painted):
    more = [
        arm("diff_means_desperate_up", 1.0, 0.8), arm("detector_desperate_up", 1.0, 0.45), arm("without_desperate", 0.0, 0.2),
        arm("desperate_up_0.5", 0.5, 0.5), arm("calm_up_0.5", 0.5, 0.35, n_possible=0, solve_rate=float("nan")),
    ]  # fmt: skip
    study.write("workshop", [*ARMS, *more])
    figure = painted("workshop", study)
    large, small = figure.axes[:2]
    signs = {line.get_marker(): list(line.get_ydata()) for line in large.lines if line.get_marker() in ("x", "+")}
    assert signs == {"x": [0.8], "+": [0.45]}
    assert not [line for line in small.lines if line.get_marker() in ("x", "+")]
    hollow = next(line for line in large.lines if line.get_markerfacecolor() == "#ffffff")
    assert (hollow.get_ydata()[0], hollow.get_xdata()[0] < -1.2) == (0.2, True)
    assert "none\nleft" in [text.get_text() for text in large.get_xticklabels()]
    assert (
        figure.legends[0]
        .get_title()
        .get_text()
        .startswith("n = 100 impossible and 50 possible tasks an arm\npushed as far: \u00d7")
    )


@pytest.mark.parametrize("rows", [ARMS[:1], [arm("none", 0.0, 0.0, n_valid=0, cheat_rate_valid=float("nan"))]])
def test_one_arm_is_enough(study, painted, rows):
    study.write("workshop", rows)
    assert len(painted("workshop", study).axes) == 6
