"""Which places of the model an SAE reads and which it writes: one and the same, but for transcoders and crosscoders."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Hook names, in the order in which an SAE's columns hold them."""

    read: tuple[str, ...]
    written: tuple[str, ...]

    @property
    def every(self) -> tuple[str, ...]:
        """Each place once."""
        return tuple(dict.fromkeys(self.read + self.written))

    @property
    def is_one(self) -> bool:
        """Whether this is an ordinary SAE's: one place, read and written."""
        return len(self.every) == 1

    def split(
        self, rows: Mapping[str, Float[Tensor, "*batch d_in"]]
    ) -> tuple[Float[Tensor, "*batch d_in"], Float[Tensor, "*batch d_out"] | None]:
        """What an SAE reads of aligned rows, and what a transcoder is to write; None where that is what was read."""
        target = None if self.written == self.read else side_by_side(rows, self.written)
        return side_by_side(rows, self.read), target

    def __str__(self) -> str:
        read = "+".join(self.read)
        return read if self.read == self.written else f"{read}-to-{'+'.join(self.written)}"


def side_by_side(
    rows: Mapping[str, Float[Tensor, "*batch d_in"]], names: tuple[str, ...]
) -> Float[Tensor, "*batch columns"]:
    """The rows of several places as one row each."""
    return rows[names[0]] if len(names) == 1 else torch.cat([rows[name] for name in names], dim=-1)
