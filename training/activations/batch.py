"""Activations of one batch of texts, and which of them are worth learning from."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.language_models.language_model import Tokens


class ActivationBatch(NamedTuple):
    """What passed one place of the model while it read ``tokens``."""

    tokens: Tokens
    vectors: Float[Tensor, "window token d_in"]
    keep: Bool[Tensor, "window token"]
    """False at padding, special tokens and attention sinks."""

    def rows(self) -> Float[Tensor, "row d_in"]:
        """The activations that are kept, one a row."""
        return self.vectors[self.keep]


def on_device(rows: Float[Tensor, "row d_in"], device: torch.device) -> Float[Tensor, "row d_in"]:
    """The rows there; on their way from memory to a GPU they do not hold up the processor."""
    if device.type == "cuda" and rows.device.type == "cpu":
        return rows.pin_memory().to(device, non_blocking=True)
    return rows.to(device)
