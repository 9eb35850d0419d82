"""What every dictionary of directions can do, and the simplest one: fixed unit directions."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from saes.sparsity import SparseCode

Reader = Callable[[Float[Tensor, "*batch d_in"]], Float[Tensor, "*batch n"]]
"""Activations in, the values of a few latents out."""


@runtime_checkable
class Dictionary(Protocol):
    """Reads activations as sparse codes and writes codes as activations.

    ``decode`` is linear up to a constant and has no memory; interventions rest on that.
    """

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        ...

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        ...

    @property
    def directions(self) -> Float[Tensor, "d_sae d_in"]:
        """What one unit of each latent adds to the activation: a latent's direction is a row."""
        ...

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """The value of every latent."""
        ...

    def encode_sparse(self, x: Float[Tensor, "row d_in"]) -> SparseCode:
        """The same code, holding only the latents that fire."""
        ...

    def encode_latents(self, x: Float[Tensor, "*batch d_in"], ids: Sequence[int] | Tensor) -> Float[Tensor, "*batch n"]:
        """Only the columns ``ids`` of ``encode(x)``, in that order."""
        ...

    def latent_reader(self, ids: Sequence[int] | Tensor, device: torch.device | None = None) -> Reader:
        """``encode_latents`` for these ids and activations on ``device``, all that depends on neither made once."""
        ...

    def decode(self, z: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_in"]:
        """The activation that a code stands for."""
        ...


class Directions:
    """A Dictionary of fixed unit directions d: encode = relu(x @ d - offset), decode = z @ d.

    The control with random directions and the difference-of-means baseline are of this kind.
    """

    def __init__(self, matrix: Float[Tensor, "n d_in"], bias: Float[Tensor, " n"] | None = None):
        """``matrix`` holds a direction a row, of any length but zero; ``bias`` is what each subtracts (default 0)."""
        norms = matrix.norm(dim=1, keepdim=True)
        if not bool((norms > 0).all() & norms.isfinite().all()):
            raise ValueError("every direction needs a length above zero and no NaN")
        self.directions = matrix / norms
        self.offset = matrix.new_zeros(len(matrix)) if bias is None else bias

    @property
    def d_in(self) -> int:
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        return self.directions.shape[0]

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        return (fitting(x, self.d_in, self.directions.dtype) @ self.directions.T - self.offset).relu()

    def encode_sparse(self, x: Float[Tensor, "row d_in"]) -> SparseCode:
        return SparseCode.from_dense(self.encode(x))

    def encode_latents(self, x: Float[Tensor, "*batch d_in"], ids: Sequence[int] | Tensor) -> Float[Tensor, "*batch n"]:
        return self.latent_reader(ids)(x)

    def latent_reader(self, ids: Sequence[int] | Tensor, device: torch.device | None = None) -> Reader:
        ids = latent_ids(ids, self.d_sae, self.directions.device)
        rows, bias = self.directions[ids].to(device), -self.offset[ids].to(device)
        return lambda x: F.linear(fitting(x, self.d_in, rows.dtype), rows, bias).relu()

    def decode(self, z: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_in"]:
        return z @ self.directions


def fitting(
    x: Float[Tensor, "*batch width"], d_in: int, dtype: torch.dtype, trained_at: object = None
) -> Float[Tensor, "*batch width"]:
    """``x`` in the dictionary's dtype, or a ValueError when it is not of the dictionary's width."""
    if x.shape[-1] != d_in:
        where = f"this SAE was trained at {trained_at}" if trained_at else "is this the site it was made for?"
        raise ValueError(f"expected d_in {d_in}, got {x.shape[-1]}: {where}")
    return x.to(dtype)


def latent_ids(ids: Sequence[int] | Tensor, d_sae: int, device: torch.device) -> Tensor:
    """``ids`` as an index tensor, or a ValueError naming the one that the dictionary does not have."""
    index = torch.as_tensor(ids, dtype=torch.long)
    wrong = index[(index < 0) | (index >= d_sae)]
    if len(wrong):
        raise ValueError(f"there is no latent {int(wrong[0])}: this dictionary has latents 0 to {d_sae - 1}")
    return index.to(device)
