"""Rows that show what lasts: some activations give way to the mean of their neighbourhood in the text.

Most of an activation is about the token itself, and an SAE spends its latents where the variance is. A feeling, a topic or
a speaker holds for sentences: the mean over some tokens keeps it, and loses the rest. Learning partly from such means makes
latents of their own for what lasts, at a small cost in explained variance (benchmarks/RESULTS.md has the figures). A related
idea is the contrastive loss between neighbouring tokens of Temporal SAEs (Bhalla et al. 2025).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.activations.batch import ActivationBatch


def with_lasting(batch: ActivationBatch, share: float, window: int) -> Float[Tensor, "row d_in"]:
    """The kept rows of a batch, of which ``share``, evenly spread, are neighbourhood means over ``window`` tokens.

    A neighbourhood ends where tokens were left out, so it reaches into no other document. The means, which are shorter
    than single activations, are stretched about the batch's mean to the same average distance from it.
    """
    rows = batch.rows()
    chosen = spread(len(rows), share).to(rows.device)
    if bool(chosen.any()):
        rows = rows.clone()
        rows[chosen] = neighbourhood_means(batch, window)[chosen].to(rows.dtype)
    return rows


def neighbourhood_means(batch: ActivationBatch, window: int) -> Float[Tensor, "row d_in"]:
    """For each kept row the mean over the up to ``window`` rows around it, stretched as said above."""
    rows = batch.rows().double()
    first, last = _stretches(batch.keep)
    place = torch.arange(len(rows), device=rows.device)
    low = torch.maximum(place - window // 2, first)
    high = torch.minimum(place + (window + 1) // 2, last)
    centre = rows.mean(0)
    rows -= centre
    sums = torch.cat([rows.new_zeros(1, rows.shape[1]), rows.cumsum(0)])
    means = (sums[high] - sums[low]) / (high - low)[:, None]
    longer = rows.norm(dim=1).mean() / means.norm(dim=1).mean().clamp(min=1e-12)
    return (means * longer + centre).float()


def spread(rows: int, share: float) -> Bool[Tensor, " row"]:
    """Which of ``rows`` make up ``share`` of them, as evenly as can be."""
    steps = torch.arange(rows + 1, dtype=torch.float64).mul(share).add(1e-9).floor()
    return steps.diff() > 0


def _stretches(keep: Bool[Tensor, "window token"]) -> tuple[Tensor, Tensor]:
    """For each kept row: the number of the first row of its unbroken stretch, and one past the last."""
    before = torch.nn.functional.pad(keep, (1, 0))[:, :-1]
    begins = (keep & ~before)[keep]
    stretch = begins.long().cumsum(0) - 1
    starts = begins.nonzero().squeeze(1)
    ends = torch.cat([starts[1:], torch.tensor([len(begins)], device=keep.device)])
    return starts[stretch], ends[stretch]
