"""Arms push as far as they say, and controls are what they are called."""

import numpy as np
import pytest
import torch

from analysis.clamping.plan import (
    DOWN,
    RIVAL,
    control_pool,
    curve_arms,
    label_arm,
    like_latents,
    rival_arms,
    split_prompts,
    told_arms,
)
from analysis.records import CONTROLS
from saes.dictionary import Directions

D_SAE = 60


@pytest.fixture
def crooked():
    """A dictionary whose rows have different lengths and are not orthogonal."""
    generator = torch.Generator().manual_seed(0)
    made = Directions(torch.randn(D_SAE, 16, generator=generator))
    made.directions = made.directions * torch.linspace(0.5, 2.0, D_SAE)[:, None]
    return made


@pytest.fixture
def density():
    return np.concatenate([[0.0] * 5, np.geomspace(1e-4, 0.3, D_SAE - 5)])


@pytest.fixture
def labels(make_label):
    others = [make_label(f"mood{letter}", [50 + place], [1.0 + place]) for place, letter in enumerate("bcdefgh")]
    return [make_label("mooda", [20, 30, 41], [0.5, 1.0, 2.0]), *others]


TAKEN = [20, 30, 41, *range(50, 57)]


def shift(arm, dictionary):
    x = torch.zeros(1, 1, 16)
    return float((arm.intervention.hook(dictionary)(x) - x).norm())


def test_every_arm_pushes_as_far_as_it_says(labels, crooked, density):
    scales = np.linspace(0.5, 3.0, D_SAE)
    pool = control_pool(labels, 6, crooked, taken=TAKEN, density=density, scales=scales)
    arms = told_arms(labels[0], 2.0, crooked) + curve_arms(labels[0], 2.0, (1.0, 2.0, 4.0), crooked)
    arms += rival_arms(labels[0], 2.0, crooked, np.ones(16))
    arms += [control.arm(push) for control in pool for push in (0.7, 3.0)]
    assert [shift(arm, crooked) for arm in arms] == pytest.approx([arm.push for arm in arms], rel=1e-4)
    own = float((torch.tensor([0.5, 1.0, 2.0]) @ crooked.directions[[20, 30, 41]]).norm())
    kinds = {
        kind: [arm for arm in arms if arm.kind == kind] for kind in ("label", "label_down", "ablate", "diff_means")
    }
    assert [arm.push for arm in kinds["label"]] == pytest.approx([2 * own, own, 4 * own])
    assert [arm.dose for arm in kinds["label_down"]] == [-2.0, *(-2.0 * times for times in DOWN)]
    assert [arm.push for arm in kinds["diff_means"]] == pytest.approx([times * 2 * own for times in RIVAL])
    assert len(kinds["ablate"]) == 1
    assert len({arm.key for arm in arms}) == len(arms)


def test_down_is_up_the_other_way(labels, crooked):
    up, down, *_ = told_arms(labels[0], 2.0, crooked)
    x = torch.zeros(1, 1, 16)
    there, back = (arm.intervention.hook(crooked)(x) for arm in (up, down))
    torch.testing.assert_close(there, -back)


def test_fewer_groups_than_claims_are_spread_over_all_of_them(labels, crooked, density):
    pool = control_pool(labels[::-1], 4, crooked, taken=TAKEN, density=density, scales=np.ones(D_SAE))
    assert [len(one.latents) for one in pool if one.kind == "random_latent"] == [1, 1, 1, 1]
    pool = control_pool([labels[1], labels[0]] * 4, 4, crooked, taken=TAKEN, density=density, scales=np.ones(D_SAE))
    assert [len(one.latents) for one in pool if one.kind == "random_latent"] == [1, 1, 1, 1], "every second one"


def test_the_pool_copies_the_labels_and_holds_none_of_them(labels, crooked, density):
    pool = control_pool(labels, 8, crooked, taken=TAKEN, density=density, scales=np.ones(D_SAE))
    assert [sum(one.kind == kind for one in pool) for kind in CONTROLS] == [8, 8]
    groups = [one.latents for one in pool if one.kind == "random_latent"]
    assert [len(group) for group in groups] == [len(label.latents) for label in labels]
    flat = [latent for group in groups for latent in group]
    assert len(set(flat)) == len(flat)
    assert not set(flat) & set(TAKEN)
    assert (density[flat] > 0).all()
    again = control_pool(labels, 8, crooked, taken=TAKEN, density=density, scales=np.ones(D_SAE))
    assert [one.latents for one in again] == [one.latents for one in pool]


def test_like_density_means_near_in_log_density(density):
    wide = np.geomspace(1e-5, 0.5, 1000)
    for latent in (100, 500, 900):
        (near,) = like_latents([[latent]], wide, [latent], np.random.default_rng(0))
        assert abs(near[0] - latent) <= 20
    with pytest.raises(ValueError, match="too few for 6 controls"):
        like_latents([[10]] * 6, density, list(range(8, 60)), np.random.default_rng(0))


def test_doses_are_label_units(make_label, crooked):
    label = make_label("mooda", [20, 30], [0.5, 2.0])
    x = 5 * torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(1))
    for dose in (1.0, 4.0):
        edit = label_arm(label, dose, crooked).intervention.edits[0]
        assert edit.applied(crooked.encode_latents(x, edit.latents))[0, 0].tolist() == pytest.approx(
            [dose * 0.5, dose * 2.0]
        )
    with pytest.raises(ValueError, match="no dose unit"):
        label_arm(make_label("mooda", [20], [0.0]), 1.0, crooked)


def test_prompts_are_neutral_and_split_once_for_all(concept_set):
    choosing, reporting = split_prompts(concept_set, seed=1)
    assert (len(choosing), len(reporting)) == (8, 16)
    ids = [prompt.id for prompt in (*choosing, *reporting)]
    assert len(set(ids)) == 24
    assert all(one.startswith("neutral/") for one in ids)
    assert len({prompt.seed for prompt in (*choosing, *reporting)}) == 24
    assert split_prompts(concept_set, seed=2)[0] != choosing
    assert [len(part) for part in split_prompts(concept_set, most=9)] == [3, 6]
    concept_set.neutral["prompt"] = concept_set.neutral["prompt"][:2]
    with pytest.raises(ValueError, match="at least 3"):
        split_prompts(concept_set)
