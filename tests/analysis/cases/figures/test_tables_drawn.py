"""The figures of doses, scenes, preference, two models and behaviours: the right numbers reach the axes, with few rows and many."""

import pytest

from analysis.cases.figures import draw, drawable
from analysis.records import (
    ActivityScore,
    CaseEffect,
    DoseTest,
    DoseTrend,
    LevelShift,
    PreferenceShift,
    PreferenceTest,
    SceneRead,
    SceneTest,
)


def estimates(axes) -> list[float]:
    return [
        float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1
    ]


def test_doses(study, painted, marks):
    study.write("dose_tests", [DoseTest("afraid", "story", 0.6, 0.2, 0.9, 0.01, 0.02, 0.0, 60, 2, -0.3, 0.3)])
    values = [1.0, 2.0, 3.0]
    study.write("dose_trends", [
        DoseTrend(name, "afraid", "story", sign, 1.0, 0.0, values, [0.0, 0.1, 0.2], [0.1, 0.1, 0.1])
        for name, sign in (("a", 1), ("b", 1), ("c", 0))
    ])  # fmt: skip
    forest, levels = painted("doses", study).axes
    assert estimates(forest) == [0.6]
    found = marks(levels)
    assert [y for _, y in found["the number means danger"]][::3] == pytest.approx([-0.1, 0.0, 0.1])
    assert {round(y, 9) for _, y in found["it is harmless"]} == {0.0}
    assert "n = 2 families" in levels.get_xlabel()
    study.write("dose_trends", [])
    assert len(painted("doses", study).axes) == 1


def test_scenes(study, painted):
    rows = [
        SceneRead("sad", scene, "story", concept, expected, 0.2, 0.1, rise)
        for scene, concept, expected, rise in (
            ("dog", "sad", True, 0.2), ("dog", "angry", False, 0.1), ("cat", "sad", False, 0.0), ("cat", "angry", False, 0.1),
        )
    ]  # fmt: skip
    study.write("scenes", rows)
    (panel,) = painted("scenes", study).axes
    assert estimates(panel) == pytest.approx([2.0]), "0.2 is two of sad's spreads of 0.1"
    assert [text.get_text() for text in panel.get_yticklabels()] == ["dog: sad"]
    study.write("scene_tests", [SceneTest("story", 1.5, 1.0, 2.0, 0.1, -0.2, 0.4, 0.01, 1, 2)])
    panel, means = painted("scenes", study).axes
    assert estimates(means) == [1.5, 0.1]
    assert panel.get_xlim() == means.get_xlim()


@pytest.mark.parametrize(("n", "panels"), [(0, 2), (1, 3), (6, 10)])
def test_preference(study, painted, marks, n, panels):
    study.write(
        "activity_scores", [ActivityScore("good", "help", "story", 50.0), ActivityScore("bad", "hurt", "story", -50.0)]
    )
    study.write(
        "preference_tests",
        [
            PreferenceTest(f"c{at}", "story", at / 100, 0.0, 0.9, 0.1, 0.01, 0.01, 0.0, 40, 72, -0.2, 0.2)
            for at in range(40)
        ],
    )
    study.write("preference_shifts", [
        PreferenceShift(f"c{at}", arm, "story", dose, 40 * dose, 40 * dose - 5, 40 * dose + 5, -9.0, 9.0, 0.02, 20, 36)
        for at in range(n) for arm in ("label", "diff_means") for dose in (-1.0, 1.0)
    ])  # fmt: skip
    axes = painted("preference", study).axes
    assert len(axes) == panels
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["good", "bad"]
    assert len(estimates(axes[1])) == 30
    assert "15 highest and lowest of 40" in axes[1].get_title(loc="left")
    for panel in axes[2 : 2 + n]:
        assert [y for _, y in marks(panel)["label"]] == [-40.0, 40.0]


@pytest.mark.parametrize("n", [1, 50])
def test_compare(study, painted, n):
    study.write("level_shifts", [
        LevelShift(f"c{at}", "f", "base", "tuned", "neutral", 0.1, 0.1 + at / 10, at / 10, 0.0, 9.0, 0.01, 0.01, 0.0, 60, 12)
        for at in range(n)
    ])  # fmt: skip
    (panel,) = painted("compare", study).axes
    assert estimates(panel)[0] == (n - 1) / 10
    assert panel.get_title(loc="left").startswith("tuned less base")
    assert "n = 12 prompts" in panel.get_xlabel()


def effect(arm: str, name: str, dose: float, value: float, concept: str = "happy", case: str = "mine") -> CaseEffect:
    return CaseEffect(case, "praise", arm, concept, name, dose, 2.0, value, value - 1, value + 1, None, 3, 24)


def test_behaviour(study, painted, marks):
    study.write("case_effects", [
        effect("label", "happy", 1.0, 0.5), effect("label", "happy", -1.0, -0.5), effect("diff_means", "happy", 1.0, 0.2),
        *(effect("random_latent", str(at), 1.0, 0.1 * at) for at in range(3)), effect("label", "happy", 1.0, 9.0, case="other"),
    ])  # fmt: skip
    assert list(drawable(study)) == ["mine", "other"]
    (panel,) = painted("behaviour", study, "mine").axes
    assert [y for _, y in marks(panel)["label"]] == [-0.5, 0.5]
    assert [y for _, y in marks(panel)["difference of means"]] == [0.2]
    dots = next(line for line in panel.lines if line.get_marker() == ".")
    assert sorted(dots.get_ydata()) == pytest.approx([0.0, 0.1, 0.2])
    assert draw(study, "mine") != draw(study, "other")


def test_many_concepts_are_cut_and_it_is_said(study, painted):
    study.write("case_effects", [effect("label", f"c{at}", 1.0, 0.1, concept=f"c{at}") for at in range(9)])
    figure = painted("behaviour", study, "mine")
    assert len(figure.axes) == 7
    assert figure.legends[0].get_title().get_text().endswith("the first 7 of 9 concepts")
