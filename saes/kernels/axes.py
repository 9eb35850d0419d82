"""The ranks of a run as two axes (data, latent) and the sums along them; one process alone sums for nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Axis:
    """Ranks that reduce and gather among themselves. Every one of them must make the same calls in the same order."""

    group: Any = None
    """torch.distributed's process group; None is an axis of one rank."""
    rank: int = 0
    """This process's place on the axis."""
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def reduce_(self, tensor: Tensor, how: Literal["sum", "min", "max"] = "sum") -> Tensor:
        """``tensor`` summed (or the least, or the largest) over the ranks, in place, the same bits on every rank."""
        if self.size > 1:
            dist.all_reduce(_contiguous(tensor), op=getattr(dist.ReduceOp, how.upper()), group=self.group)
        return tensor

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """The mean of each tensor over the ranks, in place; all of them are on their way at once."""
        if self.size == 1:
            return
        tensors = list(tensors)
        under_way = [dist.all_reduce(_contiguous(tensor), group=self.group, async_op=True) for tensor in tensors]
        for tensor, work in zip(tensors, under_way, strict=True):
            work.wait()
            tensor.div_(self.size)

    def summed(self, partial: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The sum over the ranks, for autograd.

        Every rank computes the same loss from it, so the gradient that it holds for the sum is that of its own part,
        and nothing is sent on the way back.
        """
        return partial if self.size == 1 else _Sum.apply(partial, self)

    def stacked(self, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "rank *shape"]:
        """Every rank's tensor; they are of one shape."""
        if self.size == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous(), group=self.group)
        return torch.stack(parts)

    def gathered(self, tensor: Tensor, dim: int) -> Tensor | None:
        """The ranks' tensors side by side along ``dim``, on the CPU of the first rank alone: None on the others."""
        if self.size == 1:
            return tensor.detach().cpu()
        own = tensor.detach().movedim(dim, 0).contiguous()
        parts = [torch.empty_like(own) for _ in range(self.size)] if self.first else None
        dist.gather(own, parts, group=self.group, group_dst=0)
        return None if parts is None else torch.cat([part.cpu() for part in parts]).movedim(0, dim)


@dataclass(frozen=True)
class Axes:
    """Where this process stands: it learns from every ``data.size``-th share of a batch, for its own latents.

    Rank numbers run along the latent axis first, so that ranks which exchange activations in every step are neighbours.
    """

    data: Axis = Axis()
    """Ranks that hold the same latents and see different rows: they average gradients."""
    latent: Axis = Axis()
    """Ranks that see the same rows and together hold one dictionary: they exchange activations, never gradients of
    latents."""
    world: Axis = Axis()
    """All of them."""

    def own(self, rows: Shaped[Tensor, "row *rest"]) -> Shaped[Tensor, "own *rest"]:
        """The rows of a global batch that this rank brings into the step: every ``world.size``-th."""
        return rows[self.world.rank :: self.world.size]

    def shard(self, own: Float[Tensor, "own d_in"]) -> Float[Tensor, "row d_in"]:
        """The rows that this rank learns from: its own and those of its latent axis, in the global batch's order."""
        return self.latent.stacked(own).transpose(0, 1).flatten(0, 1) if self.latent.size > 1 else own

    def batch(self, rows: Shaped[Tensor, "row *rest"]) -> Shaped[Tensor, "all *rest"]:
        """Of something that each data rank knows of its ``shard``: all of it, in the global batch's order."""
        rounds = rows.unflatten(0, (-1, self.latent.size))
        return self.data.stacked(rounds).transpose(0, 1).flatten(0, 2)

    def picked(self, rows: Float[Tensor, "row d"], places: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The rows of the global batch at these places, on every rank, from what ``shard`` gave each."""
        rounds, of_round = places // self.world.size, places % self.world.size
        here = of_round // self.latent.size == self.data.rank
        found = rows[rounds * self.latent.size + of_round % self.latent.size]
        return self.data.reduce_(found.where(here[:, None], 0))

    def before(self, end: int) -> int:
        """How many of ``shard``'s rows, its first ones, are among the first ``end`` of the global batch."""
        rounds, rest = divmod(end, self.world.size)
        return rounds * self.latent.size + min(max(rest - self.data.rank * self.latent.size, 0), self.latent.size)


ALONE = Axes()
"""Where the only process of a run stands."""


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, partial, axis):
        return axis.reduce_(partial.clone())

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def _contiguous(tensor: Tensor) -> Tensor:
    """The same memory as a contiguous tensor: W_enc is stored by latent, so its transpose is."""
    tensor = tensor if tensor.is_contiguous() else tensor.mT
    assert tensor.is_contiguous()
    return tensor
