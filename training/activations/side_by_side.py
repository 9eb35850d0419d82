"""Activations of several places from one pass of the model, side by side in one row: for SAEs that read or write more
than one place.

A row stays whole through harvest and shuffle, and so its parts stay of the same token; it is split only afterwards.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from training.activations.batch import ActivationBatch
from training.activations.harvest import harvested, not_finite_error, within_reach
from training.language_models.language_model import LanguageModel, Tokens


@dataclass(frozen=True)
class Places:
    """Which places of the model an SAE reads and which it writes; a row holds the read ones, then what is left."""

    read: tuple[str, ...]
    written: tuple[str, ...]

    @classmethod
    def one(cls, hook_name: str) -> "Places":
        """Those of an ordinary SAE."""
        return cls((hook_name,), (hook_name,))

    @property
    def every(self) -> tuple[str, ...]:
        """Each place once, in the order in which a row holds them."""
        return tuple(dict.fromkeys(self.read + self.written))

    def split(
        self, rows: Float[Tensor, "*batch columns"], width: Callable[[str], int]
    ) -> tuple[Float[Tensor, "*batch d_in"], Float[Tensor, "*batch d_out"] | None]:
        """What is read of each row, and what a transcoder is to write for it; None where it is what was read."""
        if self.read == self.written:
            return rows, None
        d_in = sum(width(name) for name in self.read)
        return rows[..., :d_in], rows[..., d_in:]

    def __str__(self) -> str:
        read = "+".join(self.read)
        return read if self.read == self.written else f"{read}-to-{'+'.join(self.written)}"


def harvest_side_by_side(
    model: LanguageModel, places: Places, token_batches: Iterable[Tokens]
) -> Iterator[ActivationBatch]:
    """What passes the places for each batch of tokens, as ``harvest`` gives it for one."""
    for name in places.every:
        model.width(name)  # an unknown place is an error before any text is read
    return (harvested_side_by_side(model, places, tokens, number) for number, tokens in enumerate(token_batches))


def harvested_side_by_side(model: LanguageModel, places: Places, tokens: Tokens, number: int = 0) -> ActivationBatch:
    """The activations of one batch; a token is kept where it is no attention sink at any of the places."""
    if len(places.every) == 1:
        return harvested(model, places.every[0], tokens, number)
    tokens = tokens.to(model.device)
    found = model.activations(tokens, places.every)
    keep = tokens.keep
    for name in places.every:
        lengths = found[name].float().norm(dim=-1)
        wrong = tokens.keep & ~lengths.isfinite()
        if bool(wrong.any()):
            raise not_finite_error(model, name, tokens, wrong, f" in batch {number}")
        keep = keep & within_reach(lengths, tokens.keep)
    return ActivationBatch(tokens, torch.cat([found[name] for name in places.every], dim=-1), keep)
