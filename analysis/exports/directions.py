"""What latents write, read off the SAE and the model: what a study's own tables do not hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.study import Study

ROWS = 10
"""Tokens at either end, and coordinates."""
BINS = 50


@dataclass(frozen=True)
class Written:
    """One latent's direction and its way to the logits, straight through the unembedding."""

    direction: list[float]
    """[d_in]"""
    raised: list[tuple[str, float]]
    lowered: list[tuple[str, float]]
    """Tokens and what the direction adds to their logits, strongest first."""
    logit_edges: list[float]
    logit_counts: list[int]
    """Histogram of that over the vocabulary."""
    coordinates: list[tuple[int, float, float]]
    """The largest coordinates: which, the value, and its share of the direction's L1 norm."""


@dataclass(frozen=True)
class Dictionary:
    d_sae: int
    written: dict[int, Written]


def directions(study: Study, latents: Sequence[int], model: str | None = None, device: str = "auto") -> Dictionary:
    """The directions of these latents; FileNotFoundError or ValueError where the SAE or the model is not at hand."""
    import torch

    from analysis.labelling.directions import logits_of
    from analysis.opening import open_subject

    language_model, dictionary, _ = open_subject(study, model, None, device)
    with torch.no_grad():
        rows = dictionary.directions.detach()[list(latents)].float().cpu()
        logits = logits_of(language_model, dictionary, latents).cpu()
        high, low = logits.topk(ROWS), logits.topk(ROWS, largest=False)

    def named(values: torch.Tensor, ids: torch.Tensor) -> list[tuple[str, float]]:
        return list(zip(language_model.strings(ids), values.tolist(), strict=True))

    found = {}
    for place, latent in enumerate(latents):
        counts, edges = np.histogram(logits[place].numpy(), bins=BINS)
        row = rows[place]
        top = row.topk(min(3, len(row)))
        found[latent] = Written(
            direction=row.tolist(),
            raised=named(high.values[place], high.indices[place]),
            lowered=named(low.values[place], low.indices[place]),
            logit_edges=edges.tolist(),
            logit_counts=counts.tolist(),
            coordinates=[
                (int(at), float(value), float(value / row.abs().sum()))
                for value, at in zip(top.values, top.indices, strict=True)
            ],
        )
    return Dictionary(len(dictionary.directions), found)
