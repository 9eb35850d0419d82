"""Which clamps are run, as values: a label at several doses, and at the chosen dose beside its matched controls."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.concepts.concept import ConceptSet
from analysis.records import Label
from saes.dictionary import Dictionary
from saes.intervention import DirectionPush, Edit, Intervention

DOSES = (0.5, 1.0, 2.0, 4.0)
"""In units of the label's own active scale."""
NEAREST = 5
"""A random latent is drawn from this many times as many of the latents nearest in log density."""


@dataclass(frozen=True)
class Prompt:
    id: str
    text: str
    seed: int
    """The same in every arm: the baseline and all clamps draw with the same luck."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One clamp. All arms of a concept but "ablate" push with the same length."""

    concept: str
    kind: str
    """"label", "ablate", "diff_means", or one of `CONTROLS`."""
    id: str
    dose: float
    latents: tuple[int, ...]
    push: float
    """Length of sum_j value_j * W_dec[j], in activation units: the shift where the latents were silent before."""
    intervention: Intervention | DirectionPush


def split_prompts(concept_set: ConceptSet, concept: str, seed: int = 0) -> tuple[list[Prompt], list[Prompt]]:
    """Half of the neutral prompts to choose the dose on; the concept's own prompts and the other half to report on."""
    neutral = [
        Prompt(f"neutral/{number}", text.text, seed * 100_000 + number)
        for number, text in enumerate(concept_set.neutral.get("prompt", ()))
    ]
    own = [
        Prompt(f"{concept}/{number}", text.text, seed * 100_000 + 10_000 + number)
        for number, text in enumerate(concept_set.concepts[concept].of("prompt"))
    ]
    if len(neutral) < 2:
        raise ValueError(
            f"{concept_set.name} has {len(neutral)} neutral prompts: at least 2 are needed, some to choose the dose on"
        )
    order = np.random.default_rng(seed).permutation(len(neutral))  # one split for all concepts
    half = len(neutral) // 2
    return [neutral[place] for place in order[:half]], own + [neutral[place] for place in order[half:]]


def label_arm(label: Label, dose: float, dictionary: Dictionary) -> Arm:
    """Each latent of the label set to `dose` units, one unit being the 95th percentile of its active values."""
    values = np.multiply(label.weights, label.scales)
    if not np.any(values):
        raise ValueError(f"the label of {label.concept} has no dose unit: its latents never fired on finding texts")
    edit = Edit(tuple(label.latents), dose, "set", tuple(values))
    return Arm(
        label.concept, "label", label.concept, dose, edit.latents, shift_length(edit, dictionary), Intervention((edit,))
    )


def dose_arms(label: Label, doses: Sequence[float], dictionary: Dictionary) -> list[Arm]:
    return [label_arm(label, float(dose), dictionary) for dose in doses]


def report_arms(
    label: Label,
    dose: float,
    dictionary: Dictionary,
    *,
    others: Sequence[Label],
    taken: Sequence[int],
    density: Float[np.ndarray, " d_sae"],
    diff_means: Float[np.ndarray, " d_in"] | None,
    controls: int,
    seed: int = 0,
) -> list[Arm]:
    """The label at its dose, ablated, its rival, and so many controls of each kind, all with the label's push.

    `others` are labels of other families; `taken` the latents of any label, which no random latent may be.
    """
    if controls < 1:
        raise ValueError(f"at least 1 control of each kind is needed to call a clamp specific, got {controls}")
    rng = np.random.default_rng(
        [seed, zlib.crc32(label.concept.encode())]
    )  # the same plan whichever concepts came before
    arm = label_arm(label, dose, dictionary)
    ablation = Intervention((Edit(tuple(label.latents), 0.0, "ablate"),))
    arms = [arm, Arm(label.concept, "ablate", "ablate", 0.0, arm.latents, 0.0, ablation)]
    device = dictionary.directions.device
    if diff_means is not None:
        push = DirectionPush(torch.as_tensor(diff_means, dtype=torch.float32, device=device), arm.push)
        arms.append(Arm(label.concept, "diff_means", "diff_means", dose, (), arm.push, push))

    values = dose * np.multiply(label.weights, label.scales)
    for latents in like_latents(label.latents, density, taken, controls, rng):
        name = "latent " + "+".join(map(str, latents))
        arms.append(_matched(label.concept, "random_latent", name, dose, latents, values, arm.push, dictionary))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for number in range(controls):
        push = DirectionPush(torch.randn(dictionary.d_in, generator=generator).to(device), arm.push)
        arms.append(Arm(label.concept, "random_direction", f"direction {number}", dose, (), arm.push, push))
    for place in rng.permutation(len(others))[:controls]:
        other = others[place]
        own_values = np.multiply(other.weights, other.scales)
        arms.append(
            _matched(
                label.concept, "other_family", other.concept, dose, other.latents, own_values, arm.push, dictionary
            )
        )
    return arms


def like_latents(
    latents: Sequence[int],
    density: Float[np.ndarray, " d_sae"],
    taken: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[list[int]]:
    """`count` groups of latents that fire about as often as `latents` do, one for one, none of them in any label."""
    free = np.setdiff1d(np.flatnonzero(density > 0), np.union1d(taken, latents).astype(int))
    if len(free) < count * len(latents):
        raise ValueError(
            f"{len(free)} active latents outside the labels are too few for {count} controls of {len(latents)} each"
        )
    floor = density[free].min()
    groups: list[list[int]] = [[] for _ in range(count)]
    for latent in latents:
        distance = np.abs(np.log(density[free]) - np.log(max(density[latent], floor)))
        near = free[np.argsort(distance, kind="stable")[: NEAREST * count]]
        drawn = rng.choice(near, count, replace=False)
        free = np.setdiff1d(free, drawn)
        for group, one in zip(groups, drawn, strict=True):
            group.append(int(one))
    return groups


def shift_length(edit: Edit, dictionary: Dictionary) -> float:
    """Length of sum_j value_j * W_dec[j]."""
    return float(
        _shift(edit.latents, np.multiply(edit.value, edit.weights or np.ones(len(edit.latents))), dictionary).norm()
    )


def _matched(
    concept: str,
    kind: str,
    name: str,
    dose: float,
    latents: Sequence[int],
    values: np.ndarray,
    push: float,
    dictionary: Dictionary,
) -> Arm:
    """Other latents, set to values in the same proportions, so large that together they push as far."""
    length = float(_shift(latents, values, dictionary).norm())
    assert length > 0, f"latents {list(latents)} cancel out"
    edit = Edit(tuple(latents), push / length, "set", tuple(values))
    return Arm(concept, kind, name, dose, edit.latents, push, Intervention((edit,)))


def _shift(latents: Sequence[int], values: np.ndarray, dictionary: Dictionary) -> Float[Tensor, " d_in"]:
    directions = dictionary.directions[list(latents)].float()
    return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=directions.device) @ directions
