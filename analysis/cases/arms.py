"""The arms of a case: concepts clamped up and down at several doses, beside what is matched to them.

Each push of a label has its controls: random groups of latents that fire as often and random directions, pushed as far, and
the difference of means pushed as far.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from analysis.clamping.plan import Control, control_pool, label_arm, like_latents
from analysis.concepts.concept import ConceptSet
from analysis.observe import sample_firings
from analysis.opening import concept_set_of
from analysis.records import Label
from analysis.study import Study
from saes.dictionary import Dictionary
from saes.intervention import DirectionPush, Edit, Intervention
from training.language_models.language_model import LanguageModel

NONE = "none"
KINDS = (NONE, "label", "diff_means", "random_latent", "random_direction")


@dataclass(frozen=True, eq=False)
class CaseArm:
    kind: str
    """One of KINDS."""
    concept: str
    """Whose claim it is, or whose push a control is matched to; "" for no clamp."""
    id: str
    """The concept, or which control."""
    dose: float
    """Of the concept, in its dose units; below 0 downwards."""
    push: float
    """Length of the shift, in activation units."""
    intervention: Intervention | DirectionPush

    @property
    def key(self) -> str:
        return NONE if self.kind == NONE else f"{self.kind}/{self.concept}/{self.id}/{self.dose:g}"


def case_arms(
    study: Study, model: LanguageModel, dictionary: Dictionary, hook_name: str, concepts: Sequence[str], doses: Sequence[float],
    controls: int, seed: int = 0, concept_set: ConceptSet | None = None,
) -> list[CaseArm]:  # fmt: skip
    """No clamp first; then every concept at every dose (negative ones downwards) with its rival and `controls` of each kind."""
    if not doses or any(dose == 0 for dose in doses):
        raise ValueError(
            f"doses are numbers of dose units other than 0, got {', '.join(f'{dose:g}' for dose in doses) or 'none'}"
        )
    labels = [study.label(concept) for concept in concepts]
    means = study.diff_means()
    pool: list[Control] = []
    if controls:
        firings = sample_firings(model, dictionary, hook_name, concept_set_of(study, concept_set), seed)
        taken = sorted({latent for label in study.labels() for latent in label.latents})
        pool = control_pool(
            labels, controls, dictionary, taken=taken, density=firings.density(), scales=firings.scales(), seed=seed
        )
    arms = [CaseArm(NONE, "", "", 0.0, 0.0, Intervention())]
    for label in labels:
        for dose in doses:
            arm = label_arm(label, dose, dictionary)
            way = 1.0 if dose > 0 else -1.0
            arms.append(CaseArm("label", label.concept, label.concept, dose, arm.push, arm.intervention))
            if label.concept in means:
                direction = _tensor(means[label.concept], dictionary)
                pushed = DirectionPush(direction, way * arm.push)
                arms.append(CaseArm("diff_means", label.concept, label.concept, dose, arm.push, pushed))
            arms += [
                CaseArm(one.kind, label.concept, one.id, dose, arm.push, pushed_as_far(one, way * arm.push))
                for one in pool
            ]
    return arms


def pushed_as_far(control: Control, push: float) -> Intervention | DirectionPush:
    """The control pushing so far, the other way where `push` is negative."""
    if not control.latents:
        return DirectionPush(control.direction, push)
    return Intervention((Edit(control.latents, push, "set", control.values),))


def random_labels(
    labels: Sequence[Label],
    study: Study,
    model: LanguageModel,
    dictionary: Dictionary,
    hook_name: str,
    count: int,
    seed: int,
    concept_set: ConceptSet | None = None,
) -> list[Label]:
    """Groups of latents that fire as often as the labels' do, as if they were labels."""
    if not count:
        return []
    firings = sample_firings(model, dictionary, hook_name, concept_set_of(study, concept_set), seed)
    density, scales = firings.density(), firings.scales()
    taken = sorted({latent for label in study.labels() for latent in label.latents})
    models = [labels[place % len(labels)] for place in range(count)]
    groups = like_latents([label.latents for label in models], density, taken, np.random.default_rng(seed))
    return [
        replace(
            label,
            concept=f"latent {'+'.join(map(str, group))}",
            latents=group,
            scales=[float(scales[one]) for one in group],
        )
        for label, group in zip(models, groups, strict=True)
    ]


def _tensor(direction: Float[np.ndarray, " d_in"], dictionary: Dictionary) -> torch.Tensor:
    return torch.as_tensor(direction, dtype=torch.float32, device=dictionary.directions.device)
