"""Which clamps are run, as values: the arms of every claim, and one pool of controls that all claims share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.concepts.concept import ConceptSet
from analysis.records import Label, Writer
from saes.dictionary import Dictionary
from saes.intervention import DirectionPush, Edit, Intervention

DOSES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""In dose units: fine enough that the largest fluent dose is near the most that is fluent."""
DOWN = (2.0,)
"""How many times the chosen dose's push is also made the other way, beside once."""
RIVAL = (0.5, 1.0, 2.0, 4.0)
"""Pushes of the difference of means, in units of the label's push at its chosen dose."""
LUCK = 10_000
"""Between the seeds of two continuations of one prompt: more than there are prompts."""
NEAREST = 20
"""A random latent is drawn from this many of the latents nearest in log density."""


@dataclass(frozen=True)
class Prompt:
    id: str
    text: str
    seed: int
    """The same in every arm: the baseline and all clamps draw with the same luck."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One clamp, run at every prompt of a phase."""

    concept: str
    """Whose claim it is; "" for a control, which is compared with every claim."""
    kind: str
    """One of `CLAIMS` or it with "_down", "ablate", "diff_means", or one of `CONTROLS`."""
    id: str
    dose: float
    """Of a claim, in its own units; of all others, the push in activation units."""
    latents: tuple[int, ...]
    push: float
    """Length of sum_j value_j * W_dec[j], in activation units: the shift where the latents were silent before."""
    intervention: Intervention | DirectionPush

    @property
    def key(self) -> str:
        """What tells it from all other arms of a run."""
        return f"{self.kind}/{self.id}/{self.dose:.6g}"


@dataclass(frozen=True, eq=False)
class Control:
    """A direction that no claim is about: a group of latents like a claim's, or a random direction."""

    kind: str
    id: str
    latents: tuple[int, ...]
    values: tuple[float, ...]
    """The latents' values in proportion, one a latent."""
    direction: Float[Tensor, " d_in"]
    """Of unit length: where the values together push, or the random direction."""

    def arm(self, push: float) -> Arm:
        """The control pushing so far, in activation units."""
        if not self.latents:
            return Arm("", self.kind, self.id, push, (), push, DirectionPush(self.direction, push))
        edit = Edit(self.latents, push, "set", self.values)
        return Arm("", self.kind, self.id, push, self.latents, push, Intervention((edit,)))


def split_prompts(concept_set: ConceptSet, seed: int = 0, most: int | None = None) -> tuple[list[Prompt], list[Prompt]]:
    """A third of the neutral prompts (`most` of them at most) to choose doses on, the rest to report on, for every arm."""
    neutral = [
        Prompt(f"neutral/{number}", text.text, seed * 100_000 + number)
        for number, text in enumerate(concept_set.neutral.get("prompt", ()))
    ]
    if len(neutral) < 3:
        raise ValueError(
            f"{concept_set.name} has {len(neutral)} neutral prompts: at least 3 are needed, one to choose the dose on"
        )
    order = np.random.default_rng(seed).permutation(len(neutral))[:most]
    third = len(order) // 3
    return [neutral[place] for place in order[:third]], [neutral[place] for place in order[third:]]


def continued(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """Every prompt `count` times, with other luck each time; the continuations of one prompt stand together."""
    return [
        prompt if not number else Prompt(f"{prompt.id}+{number}", prompt.text, prompt.seed + number * LUCK)
        for prompt in prompts
        for number in range(count)
    ]


def label_arm(label: Label | Writer, dose: float, dictionary: Dictionary) -> Arm:
    """Each latent set to `dose` units: of a label its 95th percentile of active values, of a writer as its weight says."""
    edit = Edit(tuple(label.latents), dose, "set", tuple(_unit(label)))
    push = shift_length(edit, dictionary)
    return Arm(label.concept, claim_kind(label), label.concept, dose, edit.latents, push, Intervention((edit,)))


def down_arm(label: Label | Writer, dose: float, dictionary: Dictionary) -> Arm:
    """The push of `dose` units the other way, added to whatever the latents do by themselves."""
    edit = Edit(tuple(label.latents), -dose, "add", tuple(_unit(label)))
    push = shift_length(edit, dictionary)
    kind = f"{claim_kind(label)}_down"
    return Arm(label.concept, kind, label.concept, -dose, edit.latents, push, Intervention((edit,)))


def claim_kind(label: Label | Writer) -> str:
    """Which of the two `CLAIMS` about a concept it is."""
    return "written" if isinstance(label, Writer) else "label"


def ablation(label: Label) -> Arm:
    edit = Edit(tuple(label.latents), 0.0, "ablate")
    return Arm(label.concept, "ablate", label.concept, 0.0, edit.latents, 0.0, Intervention((edit,)))


def told_arms(label: Label | Writer, chosen: float, dictionary: Dictionary) -> list[Arm]:
    """What the verdict about a claim is told by: its chosen dose, the same push downwards, and of a label its ablation."""
    arms = [label_arm(label, chosen, dictionary), down_arm(label, chosen, dictionary)]
    return arms if isinstance(label, Writer) else [*arms, ablation(label)]


def rival_arms(
    label: Label, chosen: float, dictionary: Dictionary, diff_means: Float[np.ndarray, " d_in"]
) -> list[Arm]:
    """The difference of means at several pushes, so that it can be read off at the fluency cost of a claim."""
    direction = torch.as_tensor(diff_means, dtype=torch.float32, device=dictionary.directions.device)
    pushes = [times * label_arm(label, chosen, dictionary).push for times in RIVAL]
    return [
        Arm(label.concept, "diff_means", label.concept, push, (), push, DirectionPush(direction, push))
        for push in pushes
    ]


def curve_arms(label: Label | Writer, chosen: float, doses: Sequence[float], dictionary: Dictionary) -> list[Arm]:
    """The claim's other doses, and the further pushes downwards."""
    arms = [label_arm(label, dose, dictionary) for dose in doses if dose != chosen]
    return arms + [down_arm(label, times * chosen, dictionary) for times in DOWN]


def control_pool(
    labels: Sequence[Label | Writer],
    count: int,
    dictionary: Dictionary,
    *,
    taken: Sequence[int],
    density: Float[np.ndarray, " d_sae"],
    scales: Float[np.ndarray, " d_sae"],
    seed: int = 0,
) -> list[Control]:
    """`count` groups of random latents and as many random directions, for all claims together.

    The groups copy the claims in turn, evenly over them: as many latents, each firing about as often, none of them `taken`.
    `scales` is a latent's 95th percentile of active values, its share in the group's push.
    """
    if count < 1:
        raise ValueError(f"at least 1 control of each kind is needed to call a clamp specific, got {count}")
    rng = np.random.default_rng(seed)
    spread = max(len(labels), count)  # over all of them, where there are more labels than groups
    models = [labels[place * spread // count % len(labels)] for place in range(count)]
    device = dictionary.directions.device
    pool = []
    for group in like_latents([label.latents for label in models], density, taken, rng):
        shift = _shift(group, scales[group], dictionary)
        length = float(shift.norm())
        assert length > 0, f"latents {group} cancel out"
        name = "latent " + "+".join(map(str, group))
        values = tuple(float(value) / length for value in scales[group])
        pool.append(Control("random_latent", name, tuple(group), values, shift / length))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for number in range(count):
        direction = torch.randn(dictionary.d_in, generator=generator)
        pool.append(
            Control("random_direction", f"direction {number}", (), (), (direction / direction.norm()).to(device))
        )
    return pool


def like_latents(
    groups: Sequence[Sequence[int]],
    density: Float[np.ndarray, " d_sae"],
    taken: Sequence[int],
    rng: np.random.Generator,
) -> list[list[int]]:
    """For each group of latents another, firing about as often, one for one: none taken, none in two groups."""
    free = np.setdiff1d(np.flatnonzero(density > 0), np.asarray(taken, dtype=int))
    needed = sum(map(len, groups))
    if len(free) < needed:
        raise ValueError(
            f"{len(free)} active latents outside the labels are too few for {len(groups)} controls of {needed} latents in all: ask "
            f"for fewer controls"
        )
    floor = density[free].min() if needed else 0.0
    drawn: list[list[int]] = []
    for group in groups:
        drawn.append([])
        for latent in group:
            distance = np.abs(np.log(density[free]) - np.log(max(density[latent], floor)))
            one = rng.choice(free[np.argsort(distance, kind="stable")[:NEAREST]])
            free = free[free != one]
            drawn[-1].append(int(one))
    return drawn


def shift_length(edit: Edit, dictionary: Dictionary) -> float:
    """Length of sum_j value_j * W_dec[j]."""
    return float(
        _shift(edit.latents, np.multiply(edit.value, edit.weights or np.ones(len(edit.latents))), dictionary).norm()
    )


def _unit(label: Label | Writer) -> np.ndarray:
    values = np.multiply(label.weights, label.scales)
    if not np.any(values):
        raise ValueError(f"the label of {label.concept} has no dose unit: its latents never fired on finding texts")
    return values


def _shift(latents: Sequence[int], values: np.ndarray, dictionary: Dictionary) -> Float[Tensor, " d_in"]:
    directions = dictionary.directions[list(latents)].float()
    return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=directions.device) @ directions
