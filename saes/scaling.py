"""The scale of activations: measured once before training, folded into the weights at the end; and their centring."""

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from saes.autoencoder import SparseAutoencoder
from saes.losses import Sum, alone

Scale = float | Float[Tensor, " d_in"]
"""One factor for every column of the activations, or one for each."""


def measure_scale(batches: Iterable[Float[Tensor, "_ d_in"]], everywhere: Sum = alone) -> float:
    """The factor that makes the mean length of an activation sqrt(d_in), so that learning rates carry over.

    ``everywhere`` adds up what several ranks see of them.
    """
    total, rows, d_in = 0.0, 0, 0
    for batch in batches:
        total += float(batch.double().norm(dim=1).sum())
        rows += len(batch)
        d_in = batch.shape[1]
    total, rows = everywhere(torch.tensor([total, rows], dtype=torch.float64)).tolist()
    if not rows:
        raise ValueError("no activations to measure the scale of: is the corpus empty?")
    if not (math.isfinite(total) and total > 0):
        raise ValueError("the activations are all zero, or hold NaN or infinity: their scale cannot be measured")
    return math.sqrt(d_in) * rows / total


def measure_scales(rows: Float[Tensor, "row columns"], widths: Sequence[int]) -> Float[Tensor, " columns"]:
    """The factor of each column, where the activations of several sites lie side by side: each site has its own."""
    scales = [measure_scale([part]) for part in rows.split(list(widths), dim=1)]
    return torch.cat(
        [torch.full((width,), scale, device=rows.device) for scale, width in zip(scales, widths, strict=True)]
    )


@torch.no_grad()
def fold_scale(sae: SparseAutoencoder, scale: Scale, target_scale: Scale | None = None) -> SparseAutoencoder:
    """An SAE that does with raw activations ``x`` what ``sae`` does with ``scale * x``.

    It reconstructs x, and its decoder keeps the length of its rows: a latent's value shrinks by ``scale`` instead, and
    with it every bias and threshold (each sparsity is homogeneous, so the same latents fire). A value is then a
    distance in the model's own activation space, which is what a dose is counted in.

    A transcoder writes what was scaled by ``target_scale``, a crosscoder has a scale for each column of x; their values
    shrink by the mean of the scales at what they write, and the rest goes into the weights.
    """
    both = (scale, scale if target_scale is None else target_scale)
    read, write = (torch.as_tensor(one, dtype=torch.float64, device=sae.W_dec.device) for one in both)
    unit = write.mean()
    folded = copy.deepcopy(sae)
    if bool(((read / unit - 1).abs() > 1e-12).any()):
        folded.W_enc.mul_((read / unit).expand(sae.d_in)[:, None])
    if bool(((write / unit - 1).abs() > 1e-12).any()):
        folded.W_dec.div_(write / unit)
    if sae.config.skip:
        folded.W_skip.mul_(read).div_(write.expand(sae.d_out)[:, None])
    folded.b_dec.div_(write)
    names = {name for name, _ in (*folded.named_parameters(), *folded.named_buffers())}
    for name in names - {"W_enc", "W_dec", "W_skip", "b_dec", "r_mag"}:  # r_mag is a ratio, the exponent of one
        getattr(folded, name).div_(unit)
    return folded


@torch.no_grad()
def fold_centring(sae: SparseAutoencoder) -> SparseAutoencoder:
    """An SAE whose code of raw activations ``x`` is that of ``sae`` for ``x`` less the mean over its coordinates.

    It reconstructs the activation less that mean.
    """
    folded = copy.deepcopy(sae)
    sums = sae.W_enc.sum(0)
    folded.W_enc.sub_(sae.W_enc.mean(0))
    shift = -sae.b_dec.mean() * sums if sae.config.apply_b_dec_to_input else torch.zeros_like(sums)
    if sae.config.sparsity == "gated":
        folded.b_gate.add_(shift)
        folded.b_mag.add_(shift * sae.r_mag.exp())
    else:
        folded.b_enc.add_(shift)
    return folded
