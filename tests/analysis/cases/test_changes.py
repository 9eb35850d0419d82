"""Changes over the same tasks, and how many controls change as much."""

from dataclasses import replace

import pytest

from analysis.cases.changes import control_shares, paired_change
from analysis.cases.shares import clopper_pearson, wilson
from analysis.cases.workshop import Episode, summarise
from training.corpora.storyworld.workshop import Task

IMPOSSIBLE = Task(((3, 9), (4, 5), (6, 2)), (7, 8), None)


def played(arm, outcomes):
    return [Episode(arm, "Mia", IMPOSSIBLE, True, n, outcome=one) for n, one in enumerate(outcomes)]


def test_a_change_is_paired_and_its_interval_excludes_zero_only_where_tasks_agree():
    before = played("none", ["cheated"] * 20 + ["stopped"] * 20)
    change = paired_change(before, played("down", ["stopped"] * 40), "cheated")
    assert change.value == -0.5
    assert change.high < 0
    swapped = paired_change(before, played("other", ["stopped"] * 20 + ["cheated"] * 20), "cheated")
    assert swapped.value == 0
    assert swapped.low < 0 < swapped.high
    fewer = paired_change(before, played("down", ["stopped"] * 10), "cheated")
    assert fewer.value == -1.0, "only the tasks that both played count"


def test_controls_that_move_as_much_the_same_way_are_counted_on_the_tasks_that_they_played():
    before = ["cheated"] * 4 + ["stopped"] * 4 + ["cheated"] * 2
    arms = {
        "none": before, "desperate_down": ["stopped"] * 10, "control_0_down": ["stopped"] * 8, "control_1_down": before[:8],
        "control_2_down": ["cheated"] * 8, "control_2_up": ["stopped"] * 8,
    }  # fmt: skip
    kinds = {
        "none": "none",
        "desperate_down": "written",
        "control_2_down": "random_direction",
        "control_2_up": "random_direction",
    }
    episodes = [one for arm, outcomes in arms.items() for one in played(arm, outcomes)]
    rows = [
        replace(summarise(arm, 0.0, played(arm, outcomes), 0.1), kind=kinds.get(arm, "random_latent"))
        for arm, outcomes in arms.items()
    ]
    found = {(one.arm, one.measure, one.kind): one for one in control_shares(rows, episodes)}
    every = found["desperate_down", "cheating", "all"]
    assert (every.n_as_large, every.n_controls, every.n_tasks, every.change) == (1, 3, 8, -0.5)
    assert every.largest == -0.5
    assert found["desperate_down", "cheating", "random_direction"].n_as_large == 0
    assert found["desperate_down", "direct effect", "all"].n_as_large == 3


def test_wilson_and_clopper_pearson_against_known_values():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    assert clopper_pearson(0, 60) == pytest.approx((0.0, 0.0596), abs=1e-3)
    assert clopper_pearson(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-3)
    assert clopper_pearson(10, 10)[1] == 1.0
