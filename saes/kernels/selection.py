"""Which latents win when their values lie on several ranks: the k largest of a row, the n largest of a batch."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from saes.kernels.axes import Axis

DIGIT = 11
"""Bits of a value that one round of kth_largest settles: a histogram of 2^11 counts goes over the wire each time."""


def row_winners(values: Float[Tensor, "row m"], k: int, latent: Axis) -> Bool[Tensor, "row m"]:
    """Which of this rank's candidates are among the k largest of their row over all ranks of the ``latent`` axis.

    A rank needs to bring no more than its own k largest (m <= k, and m may differ between ranks). Only values are
    sent, k a row and rank: where they came from is where they stand.
    """
    rows, m = values.shape
    if latent.size == 1:
        return torch.ones_like(values, dtype=torch.bool)
    offered = latent.stacked(F.pad(values.detach(), (0, k - m), value=-torch.inf))  # [rank, row, k]
    best = offered.transpose(0, 1).reshape(rows, latent.size * k).topk(k, sorted=False).indices
    wins = torch.zeros(rows, latent.size * k, dtype=torch.bool, device=values.device).scatter_(1, best, True)
    return wins[:, latent.rank * k : latent.rank * k + m]


def kth_largest(values: Float[Tensor, " n"], k: int, axis: Axis) -> Float[Tensor, ""]:
    """The k-th largest of the positive values on all ranks of ``axis``, exactly; 0 where there are fewer than k.

    Radix selection: floats above zero are in the order of their bits, so the digits of the answer are found from the
    highest on, each by counting how many values have which. Nothing but three histograms is sent (float32).
    """
    signed = torch.int32 if values.dtype == torch.float32 else torch.int64
    bits = values[values > 0].detach().view(signed)
    shift, found, wanted = torch.iinfo(signed).bits - 1, 0, k
    while shift > 0:
        width = min(DIGIT, shift)
        shift -= width
        counts = torch.bincount((bits >> shift) & (2**width - 1), minlength=2**width)
        at_least = axis.reduce_(counts).flip(0).cumsum(0).flip(0)  # how many have this digit or a higher one
        if at_least[0] < wanted:  # can only be so in the first round
            return values.new_zeros(())
        digit = int((at_least >= wanted).sum()) - 1
        wanted -= int(at_least[digit] - counts[digit])
        found = (found << width) | digit
        bits = bits[(bits >> shift) == found]
    return torch.tensor(found, dtype=signed, device=values.device).view(values.dtype)
