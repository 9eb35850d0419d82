"""The pushes of the workshop: each concept up and down at its doses, and what is pushed as far beside it.

Every push adds a constant to the stream, so that all of one length are alike but for their direction; `without_` ablates:

desperate_down         a label whose clamp was validated on stories, else the latents that write its difference of means
detector_desperate_up  the label's own latents, where those above are others
diff_means_desperate_up
without_desperate      latents that write it ablated: it goes where it is, and nothing is pushed where it is not
control_0_down         a group of random latents that fire as often, or a random direction, as far as `desperate` is pushed
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analysis.clamping.plan import Control, claim_kind, control_pool, shift_length
from analysis.concepts.concept import ConceptSet
from analysis.labelling.writers import writers, writers_of
from analysis.observe import sample_firings
from analysis.opening import concept_set_of
from analysis.records import Label, Writer
from analysis.study import Study
from saes.dictionary import Dictionary
from saes.intervention import DirectionPush, Edit, Intervention
from training.language_models.language_model import LanguageModel

CLAMPED = ("desperate", "calm")
"""What a study must have labels of."""
ALSO = ("frustrated", "hopeful", "guilty")
"""Clamped where the study has them."""
WAYS = (("down", -1.0), ("up", 1.0))


@dataclass(frozen=True, eq=False)
class Push:
    """One arm of the workshop that pushes."""

    name: str
    kind: str
    """"none", "label", "written", "detector", "diff_means", "without", "random_latent" or "random_direction"."""
    concept: str
    """Whose claim it is, or whose push a control is matched to."""
    dose: float
    """In dose units of the concept's label; below 0 downwards."""
    push: float
    """Length of the shift, in activation units; below 0 downwards."""
    latents: tuple[int, ...]
    intervention: Intervention | DirectionPush


NOTHING = Push("none", "none", "", 0.0, 0.0, (), Intervention())


@dataclass(frozen=True, eq=False)
class Material:
    """What pushes are made of."""

    labels: dict[str, Label | Writer]
    """What each concept is pushed along."""
    detectors: dict[str, Label]
    """The labels' own latents, of the concepts that are pushed along others."""
    means: dict[str, np.ndarray]
    writers: dict[str, list[int]]
    """The latents that are ablated to take each concept away."""
    pool: list[Control]
    dictionary: Dictionary


def material(
    study: Study, model: LanguageModel, dictionary: Dictionary, hook_name: str, concepts: Sequence[str], controls: int,
    seed: int, concept_set: ConceptSet | None = None,
) -> Material:  # fmt: skip
    """Chooses what is pushed, from finding texts and the battery's verdicts alone, and `controls` controls.

    Half of the controls are groups of latents that fire as often as those of the first concept, half random directions.
    """
    own = {concept: study.label(concept) for concept in concepts}
    means = {concept: mean for concept, mean in study.diff_means().items() if concept in own}
    pushed: dict[str, Label | Writer] = dict(own)
    detectors, writing = {}, {}
    pool: list[Control] = []
    texts = concept_set or (concept_set_of(study) if controls else study.concepts_at_hand())
    if texts and (means or controls):  # without the concept set's texts the labels' own latents are pushed
        firings = sample_firings(model, dictionary, hook_name, concept_set_of(study, texts), seed)
        density, scales = firings.density(), firings.scales()
        writing = {one: writers(mean, dictionary, scales) for one, mean in means.items() if one in CLAMPED}
        others = [own[concept] for concept in means if own[concept].status != "validated"]
        for found in writers_of(others, means, dictionary, scales):
            pushed[found.concept] = found
            detectors.update({found.concept: own[found.concept]} if found.concept in CLAMPED else {})
        if controls:
            taken = {latent for label in (*study.labels(), *pushed.values()) for latent in label.latents}
            half = (controls + 1) // 2
            drawn = control_pool(
                [pushed[concepts[0]]], half, dictionary, taken=sorted(taken), density=density, scales=scales, seed=seed
            )
            groups = [one for one in drawn if one.latents]
            pool = groups + [one for one in drawn if not one.latents][: controls - len(groups)]
    return Material(pushed, detectors, means, writing, pool, dictionary)


def pushes(
    made: Material, dose: float, doses: Sequence[float] = (), rivals: bool = True, controls: bool = True
) -> list[Push]:
    """No clamp first, then all pushes at `dose`, then each concept's at the other `doses`."""
    arms = [NOTHING]
    for concept, label in made.labels.items():
        for way, sign in WAYS:
            arms.append(_of_label(f"{concept}_{way}", claim_kind(label), label, sign * dose, made))
    if rivals:
        for concept, label in made.detectors.items():
            for way, sign in WAYS:
                arms.append(_of_label(f"detector_{concept}_{way}", "detector", label, sign * dose, made))
        for concept in [one for one in CLAMPED if one in made.means]:
            mean = made.means[concept]
            length = abs(_length(made.labels[concept], dose, made))
            direction = torch.as_tensor(mean, dtype=torch.float32, device=made.dictionary.directions.device)
            for way, sign in WAYS:
                pushed = DirectionPush(direction, sign * length)
                arms.append(
                    Push(f"diff_means_{concept}_{way}", "diff_means", concept, sign * dose, sign * length, (), pushed)
                )
        for concept, latents in made.writers.items():
            ablated = Intervention((Edit(tuple(latents), 0.0, "ablate"),))
            arms.append(Push(f"without_{concept}", "without", concept, 0.0, 0.0, tuple(latents), ablated))
    for other in doses:
        for concept, label in made.labels.items() if other != dose else ():
            for way, sign in WAYS:
                arms.append(_of_label(f"{concept}_{way}_{other:g}", claim_kind(label), label, sign * other, made))
    first = next(iter(made.labels))
    length = abs(_length(made.labels[first], dose, made))
    for number, control in enumerate(made.pool if controls else ()):
        for way, sign in WAYS:
            arms.append(
                Push(f"control_{number}_{way}", control.kind, first, sign * dose, sign * length, control.latents, _as_far(control, sign * length))
            )  # fmt: skip
    return arms


def _of_label(name: str, kind: str, label: Label | Writer, dose: float, made: Material) -> Push:
    edit = _edit(label, dose)
    length = _length(label, dose, made)
    return Push(name, kind, label.concept, dose, length, edit.latents, Intervention((edit,)))


def _edit(label: Label | Writer, dose: float) -> Edit:
    return Edit(tuple(label.latents), dose, "add", tuple(np.multiply(label.weights, label.scales)))


def _length(label: Label | Writer, dose: float, made: Material) -> float:
    return float(np.sign(dose)) * shift_length(_edit(label, dose), made.dictionary)


def _as_far(control: Control, push: float) -> Intervention | DirectionPush:
    if not control.latents:
        return DirectionPush(control.direction, push)
    return Intervention((Edit(control.latents, push, "add", control.values),))
