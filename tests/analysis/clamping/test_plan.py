"""All arms push as far as the label does, and controls are what they are called."""

import numpy as np
import pytest
import torch

from analysis.clamping.plan import dose_arms, label_arm, like_latents, report_arms, split_prompts
from analysis.records import CONTROLS
from saes.dictionary import Directions
from saes.intervention import DirectionPush

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
def arms(make_label, crooked, density):
    label = make_label("mooda", [20, 30, 41], [0.5, 1.0, 2.0])
    others = [make_label(f"mood{letter}", [50 + place], [1.0 + place]) for place, letter in enumerate("bcdefgh")]
    taken = [20, 30, 41, *range(50, 57)]
    return report_arms(
        label, 4.0, crooked, others=others, taken=taken, density=density, diff_means=np.ones(16), controls=6
    )


def test_every_push_is_as_long_as_the_labels(arms, crooked):
    lengths = {}
    for arm in arms:
        x = torch.zeros(1, 1, 16)
        lengths[arm.id] = float((arm.intervention.hook(crooked)(x) - x).norm())
    wanted = float((4.0 * torch.tensor([0.5, 1.0, 2.0]) @ crooked.directions[[20, 30, 41]]).norm())
    assert lengths.pop("ablate") == 0.0
    assert list(lengths.values()) == pytest.approx([wanted] * len(lengths), rel=1e-4)
    assert all(arm.push == pytest.approx(wanted, rel=1e-5) for arm in arms if arm.kind != "ablate")


def test_numbers_and_kinds(arms):
    kinds = [arm.kind for arm in arms]
    assert kinds[:3] == ["label", "ablate", "diff_means"]
    assert [kinds.count(kind) for kind in CONTROLS] == [6, 6, 6]
    assert len({(arm.kind, arm.id) for arm in arms}) == len(arms)
    assert sum(isinstance(arm.intervention, DirectionPush) for arm in arms) == 7


def test_random_latents_are_alive_unlabelled_and_of_like_density(arms, density):
    drawn = [arm.latents for arm in arms if arm.kind == "random_latent"]
    assert all(len(latents) == 3 for latents in drawn)
    flat = [latent for latents in drawn for latent in latents]
    assert len(set(flat)) == 18
    assert not set(flat) & {20, 30, 41, *range(50, 57)}
    assert (density[flat] > 0).all()


def test_like_density_means_near_in_log_density(density):
    wide = np.geomspace(1e-5, 0.5, 1000)
    for latent in (100, 500, 900):
        near = [one for group in like_latents([latent], wide, [], 4, np.random.default_rng(0)) for one in group]
        assert max(abs(one - latent) for one in near) <= 20
    with pytest.raises(ValueError, match="too few"):
        like_latents([10], density, list(range(8, 60)), 6, np.random.default_rng(0))


def test_doses_are_label_units(make_label, crooked):
    label = make_label("mooda", [20, 30], [0.5, 2.0])
    x = 5 * torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(1))
    for arm in dose_arms(label, (1.0, 4.0), crooked):
        edit = arm.intervention.edits[0]
        assert edit.applied(crooked.encode_latents(x, edit.latents))[0, 0].tolist() == pytest.approx(
            [arm.dose * 0.5, arm.dose * 2.0]
        )
    with pytest.raises(ValueError, match="no dose unit"):
        label_arm(make_label("mooda", [20], [0.0]), 1.0, crooked)


def test_prompts_are_split_once_for_all_and_seeds_do_not_depend_on_the_arm(concept_set):
    first, second = (split_prompts(concept_set, concept, seed=1) for concept in ("mooda", "moodb"))
    assert first[0] == second[0]
    assert not {prompt.id for prompt in first[0]} & {prompt.id for prompt in first[1]}
    assert [prompt.id for prompt in first[1] if prompt.id.startswith("mood")] == [
        f"mooda/{number}" for number in range(4)
    ]
    assert len({prompt.seed for prompt in (*first[0], *first[1])}) == 28
    assert split_prompts(concept_set, "mooda", seed=2)[0] != first[0]
