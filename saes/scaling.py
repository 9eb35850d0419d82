"""The scale of activations: measured once before training, folded into the weights at the end."""

import copy
import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from saes.autoencoder import SparseAutoencoder


def measure_scale(batches: Iterable[Float[Tensor, "_ d_in"]]) -> float:
    """The factor that makes the mean length of an activation sqrt(d_in), so that learning rates carry over."""
    total, rows, d_in = 0.0, 0, 0
    for batch in batches:
        total += float(batch.double().norm(dim=1).sum())
        rows += len(batch)
        d_in = batch.shape[1]
    if not rows:
        raise ValueError("no activations to measure the scale of: is the corpus empty?")
    if not (math.isfinite(total) and total > 0):
        raise ValueError("the activations are all zero, or hold NaN or infinity: their scale cannot be measured")
    return math.sqrt(d_in) * rows / total


@torch.no_grad()
def fold_scale(sae: SparseAutoencoder, scale: float) -> SparseAutoencoder:
    """An SAE that does with raw activations ``x`` what ``sae`` does with ``scale * x``.

    It reconstructs x, and its decoder keeps the length of its rows: a latent's value shrinks by ``scale`` instead, and
    with it every bias and threshold (each sparsity is homogeneous, so the same latents fire). A value is then a
    distance in the model's own activation space, which is what a dose is counted in.
    """
    folded = copy.deepcopy(sae)
    names = {name for name, _ in (*folded.named_parameters(), *folded.named_buffers())}
    for name in names - {"W_enc", "W_dec", "r_mag"}:  # r_mag is a ratio, the exponent of one
        getattr(folded, name).div_(scale)
    return folded
