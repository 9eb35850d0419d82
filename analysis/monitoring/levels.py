"""How strongly labels fire at each token, in dose units: a label's score before any pooling."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.records import Label
from saes.dictionary import Dictionary


@dataclass(frozen=True)
class Read:
    """What is read under a name: some latents, each in units of its scale."""

    concept: str
    latents: tuple[int, ...]
    scales: tuple[float, ...]


class Levels:
    """`levels(x)` gives each label's latents in their own dose units, added up; zero where none fires."""

    def __init__(self, dictionary: Dictionary, labels: Sequence[Label | Read], device: torch.device | str = "cpu"):
        self.concepts = tuple(label.concept for label in labels)
        latents = sorted({latent for label in labels for latent in label.latents})
        share = torch.zeros(len(latents), len(labels))
        for column, label in enumerate(labels):
            for latent, scale in zip(label.latents, label.scales, strict=True):
                share[latents.index(latent), column] = 1.0 / max(scale, 1e-12)
        self.share = share.to(device)
        self.read = dictionary.latent_reader(latents, torch.device(device))

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch label"]:
        return self.read(x).float() @ self.share
