"""A dictionary of named directions, read by projection: differences of means, probes, any vectors of one's own."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from saes.dictionary import Reader, fitting, latent_ids
from saes.sparsity import SparseCode


class Projections:
    """A Dictionary of unit directions d around a centre c: encode = (x - c) @ d.T, decode = c + z @ d.

    A value is the signed distance of an activation from the centre along the direction, in the activations' own units: 2
    is as much as adding twice the unit direction. A positive value is a firing; setting a value to v leaves the
    activation exactly v from the centre along that direction, and setting it to 0 takes the direction away.
    """

    def __init__(
        self, matrix: Float[Tensor, "n d_in"], centre: Float[Tensor, " d_in"] | None = None, names: Sequence[str] = ()
    ):
        """``matrix`` holds a direction a row, of any length but zero; without a centre readings are from the origin."""
        norms = matrix.norm(dim=1, keepdim=True)
        if not bool((norms > 0).all() & norms.isfinite().all()):
            raise ValueError("every direction needs a length above zero and no NaN")
        self.directions = matrix / norms
        self.centre = matrix.new_zeros(matrix.shape[1]) if centre is None else centre
        self.names = tuple(names)
        """What each direction is called, where it has a name."""

    @property
    def d_in(self) -> int:
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        return self.directions.shape[0]

    def to(self, device: torch.device | str) -> "Projections":
        """The same on ``device``."""
        return Projections(self.directions.to(device), self.centre.to(device), self.names)

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        return (fitting(x, self.d_in, self.directions.dtype) - self.centre) @ self.directions.T

    def encode_sparse(self, x: Float[Tensor, "row d_in"]) -> SparseCode:
        return SparseCode.from_dense(self.encode(x))

    def encode_latents(self, x: Float[Tensor, "*batch d_in"], ids: Sequence[int] | Tensor) -> Float[Tensor, "*batch n"]:
        return self.latent_reader(ids)(x)

    def latent_reader(self, ids: Sequence[int] | Tensor, device: torch.device | None = None) -> Reader:
        ids = latent_ids(ids, self.d_sae, self.directions.device)
        rows, centre = self.directions[ids].to(device), self.centre.to(device)
        return lambda x: (fitting(x, self.d_in, rows.dtype) - centre) @ rows.T

    def decode(self, z: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_in"]:
        return self.centre + z @ self.directions
