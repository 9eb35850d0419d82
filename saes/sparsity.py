"""How a pre-activation becomes sparse: relu, topk, batch_topk, jump_relu, gated; and the sparse code that results."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class SparseCode(NamedTuple):
    """The firing latents of each row; shorter rows are padded with latent 0 at value 0."""

    values: Float[Tensor, "row k"]
    latents: Int64[Tensor, "row k"]

    @property
    def rows(self) -> int:
        """How many rows the code holds."""
        return self.values.shape[0]

    def dense(self, d_sae: int) -> Float[Tensor, "row d_sae"]:
        """The same code with a column for every latent."""
        dense = self.values.new_zeros(self.rows, d_sae)
        return dense.scatter_add(1, self.latents, self.values)  # add: the padding must not overwrite latent 0

    @classmethod
    def from_dense(cls, z: Float[Tensor, "row d_sae"]) -> "SparseCode":
        """The firing latents of ``z``, as wide as its fullest row."""
        fired = z > 0
        width = int(fired.sum(1).max()) if len(z) else 0
        values, latents = z.topk(width, dim=1, sorted=False)
        return cls.padded(values, latents)

    @classmethod
    def padded(cls, values: Float[Tensor, "row k"], latents: Int64[Tensor, "row k"]) -> "SparseCode":
        """A code in which whatever does not fire has become padding."""
        fired = values > 0
        return cls(values * fired, latents * fired)


def relu(pre: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
    """max(pre, 0)."""
    return pre.relu()


def topk(pre: Float[Tensor, "*batch d_sae"], k: int) -> Float[Tensor, "*batch d_sae"]:
    """The k largest of each row, as far as they are positive; zero elsewhere (arXiv:2406.04093)."""
    values, latents = largest(pre.reshape(-1, pre.shape[-1]), k)
    z = torch.zeros_like(pre).reshape(-1, pre.shape[-1])
    return z.scatter(1, latents, values.relu()).reshape(pre.shape)


def batch_topk(pre: Float[Tensor, "*batch d_sae"], k: int) -> Float[Tensor, "*batch d_sae"]:
    """The (rows x k) largest of the whole batch, as far as they are positive (arXiv:2412.06410).

    One row may take more than k and another fewer, so the code of a row depends on the rows beside it: right for
    training, wrong for use. ``saes.autoencoder.freeze_threshold`` makes the usable form.
    """
    flat = pre.relu().flatten()
    budget = min(k * (pre.numel() // max(1, pre.shape[-1])), flat.numel())
    values, places = flat.topk(budget, sorted=False)
    return torch.zeros_like(flat).scatter(0, places, values).reshape(pre.shape)


def jump_relu(
    pre: Float[Tensor, "*batch d_sae"], threshold: Float[Tensor, " d_sae"], bandwidth: float = 0.05
) -> Float[Tensor, "*batch d_sae"]:
    """pre where it is above its latent's threshold (and positive), else zero (arXiv:2407.14435).

    The jump has no gradient of its own; within ``bandwidth`` of it, the threshold gets the straight-through estimate of
    the paper's equation 11.
    """
    return _JumpReLU.apply(pre, threshold, bandwidth)


def gated(
    gate: Float[Tensor, "*batch d_sae"],
    b_gate: Float[Tensor, " d_sae"],
    r_mag: Float[Tensor, " d_sae"],
    b_mag: Float[Tensor, " d_sae"],
) -> Float[Tensor, "*batch d_sae"]:
    """relu(magnitude) where ``gate``, the pre-activation with b_gate in it, is positive; else zero (arXiv:2404.16014).

    Gate and magnitude share W_enc: magnitude = (gate - b_gate) * exp(r_mag) + b_mag. Whether the gate is
    open has no gradient; the gate learns from its own terms of the loss.
    """
    magnitude = (gate - b_gate) * r_mag.exp() + b_mag
    return magnitude.relu() * (gate > 0)


def fires(
    pre: Float[Tensor, "*batch d_sae"], threshold: Float[Tensor, " d_sae"], bandwidth: float = 0.05
) -> Float[Tensor, "*batch d_sae"]:
    """1 where jump_relu lets a latent through, else 0; differentiable in the threshold (same paper, equation 12)."""
    return _Step.apply(pre, threshold, bandwidth)


FEW = 2**14
"""Values in all, up to which one stage is quicker than two (measured at widths from 1024 to 65536)."""


def largest(pre: Float[Tensor, "row d_sae"], k: int) -> tuple[Float[Tensor, "row k"], Int64[Tensor, "row k"]]:
    """The exact k largest of each row and their columns, in no order.

    Two stages: the k largest values lie in the k groups with the largest maxima, so only those groups are searched.
    On the CPU this saves a third to a half of torch.topk's time at the widths of an SAE, but for a few rows, where torch.topk
    alone takes less than the second stage.
    """
    rows, width = pre.shape
    k = min(k, width)
    if k == 0 or pre.device.type != "cpu" or pre.numel() <= FEW:
        return pre.topk(k, sorted=False)
    members = 2 ** max(2, round(math.log2(math.sqrt(width / k))))  # of one group
    stride = width // members
    if width % members or stride < 2 * k:
        return pre.topk(k, sorted=False)
    grouped = pre.reshape(rows, members, stride)  # a group is a column of the last two axes
    best_groups = grouped.amax(1).topk(k, sorted=False).indices
    survivors = grouped.gather(2, best_groups[:, None, :].expand(-1, members, -1)).reshape(rows, members * k)
    values, places = survivors.topk(k, sorted=False)
    columns = places.div(k, rounding_mode="floor") * stride + best_groups.gather(1, places % k)
    return values, columns


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return ((pre > threshold) & (pre > 0)).to(pre.dtype)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        return None, -_near(pre, threshold, ctx.bandwidth, grad) / ctx.bandwidth, None


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre.relu() * (pre > threshold)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        through = grad * ((pre > threshold) & (pre > 0))
        return through, -threshold * _near(pre, threshold, ctx.bandwidth, grad) / ctx.bandwidth, None


def _near(pre: Tensor, threshold: Tensor, bandwidth: float, grad: Tensor) -> Tensor:
    """The gradient that falls within half a bandwidth of the threshold, summed over all but the latents."""
    return (grad * ((pre - threshold).abs() < bandwidth / 2)).sum_to_size(threshold.shape)
