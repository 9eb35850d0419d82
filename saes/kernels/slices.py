"""One rank's latents of an SAE: cut out of the whole, and gathered into it again."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.axes import Axes

LATENT_DIM = {
    "W_enc": 1, "W_dec": 0, "b_enc": 0, "threshold": 0, "b_gate": 0, "r_mag": 0, "b_mag": 0,
    "b_dec": None, "W_skip": None, "running_threshold": None,
}  # fmt: skip
"""Which dimension of each tensor counts latents; None: every rank holds it whole. A new architecture adds its own."""


class LatentSlice(SparseAutoencoder):
    """The latents of one rank as an SAE of their own, over what every rank holds whole (b_dec).

    With one rank on the latent axis it is the whole SAE, and shares its tensors. Its ``config.k`` says how many latents
    a row the rank proposes; which of them fire is for all ranks to say, by the k of ``whole``.
    """

    def __init__(self, sae: SparseAutoencoder, axes: Axes):
        nn.Module.__init__(self)  # not SparseAutoencoder's, which would draw random weights
        self.whole: SAEConfig = sae.config
        self.axes = axes
        self.site = sae.site
        self.config = _config_of_slice(sae.config, axes)
        for name, parameter in sae.named_parameters():
            self.register_parameter(name, nn.Parameter(self.cut(name, parameter.detach())))
        for name, buffer in sae.named_buffers():
            self.register_buffer(name, self.cut(name, buffer))

    @property
    def prefixes(self) -> tuple[int, ...]:
        """How many of this rank's latents lie in each prefix of the whole; none or all of them in most."""
        first = self.axes.latent.rank * self.d_sae
        return tuple(min(max(width - first, 0), self.d_sae) for width in self.whole.prefixes)

    def is_cut(self, name: str) -> bool:
        """Whether each rank holds its own part of the tensor with this name; otherwise all hold all of it."""
        return LATENT_DIM[name] is not None

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """This rank's part of the tensor (a parameter, its Adam moment) that has this name in the whole SAE."""
        dim, latent = LATENT_DIM[name], self.axes.latent
        if dim is None or latent.size == 1:
            return tensor
        return tensor.narrow(dim, latent.rank * self.d_sae, self.d_sae).clone()

    def join(self, name: str, tensor: Tensor) -> Tensor | None:
        """The reverse of ``cut``, on the CPU of the first rank; every rank of the first latent axis must ask."""
        dim = LATENT_DIM[name]
        if dim is not None:
            return self.axes.latent.gathered(tensor, dim)
        return tensor.detach().cpu() if self.axes.latent.first else None

    def load_whole(self, tensors: Mapping[str, Tensor]) -> None:
        """Take this rank's part of a whole SAE's state_dict."""
        self.load_state_dict({name: self.cut(name, tensor) for name, tensor in tensors.items()})

    def gathered(self) -> SparseAutoencoder | None:
        """The whole SAE on the first rank's CPU, None on the others. All ranks must ask."""
        if not self.axes.data.first:
            return None
        tensors = {name: self.join(name, tensor) for name, tensor in self.state_dict().items()}
        if not self.axes.world.first:
            return None
        sae = SparseAutoencoder(self.whole)
        sae.load_state_dict(tensors)
        sae.site = self.site
        return sae


def latents_of(sae: SparseAutoencoder, axes: Axes) -> SparseAutoencoder:
    """The latents of ``sae`` that this rank owns: all of them, and ``sae`` itself, where it is alone."""
    return LatentSlice(sae, axes) if axes.world.size > 1 else sae


def whole_sae(sae: SparseAutoencoder) -> SparseAutoencoder | None:
    """The whole SAE of which ``sae`` holds this rank's latents; None on every rank but the first. All ranks must ask."""
    return sae.gathered() if isinstance(sae, LatentSlice) else sae


def whole_state(sae: LatentSlice, state: dict[str, Any]) -> dict[str, Any]:
    """An ``Update``'s state for the whole SAE, as one process would have it; empty on every rank but the first."""
    if not sae.axes.data.first:
        return {}
    counts = sae.axes.latent.gathered(state["rows_since_fired"], 0)
    moments = _moments(sae, state["optimiser"], sae.join)
    if not sae.axes.world.first:
        return {}
    return state | {"optimiser": moments, "rows_since_fired": counts}


def own_state(sae: LatentSlice, state: dict[str, Any]) -> dict[str, Any]:
    """The part of a whole SAE's state that belongs to this rank's latents."""
    counts = sae.cut("W_dec", state["rows_since_fired"])  # a number a latent
    return state | {"optimiser": _moments(sae, state["optimiser"], sae.cut), "rows_since_fired": counts}


def _moments(sae: LatentSlice, optimiser: dict[str, Any], change: Callable[[str, Tensor], Any]) -> dict[str, Any]:
    """The optimiser's state with ``change`` made to every tensor that is as large as its parameter."""
    names = [name for name, _ in sae.named_parameters()]
    changed = {
        index: {key: change(names[index], value) if _is_moment(value) else value for key, value in of_one.items()}
        for index, of_one in optimiser["state"].items()
    }
    return optimiser | {"state": changed}


def _is_moment(value: Any) -> bool:
    return torch.is_tensor(value) and value.dim() > 0  # Adam's count of steps has none


def _config_of_slice(config: SAEConfig, axes: Axes) -> SAEConfig:
    d_sae, left = divmod(config.d_sae, axes.latent.size)
    assert not left, "checked before anything is loaded"
    # The budget of a batch_topk is shared out unevenly: where each rank holds all latents, its rows may well claim more
    # than their k each. What a rank proposes is checked, so too few cost time, never exactness.
    spare = 1.25 if config.sparsity == "batch_topk" and axes.latent.size == 1 else 1.0
    return replace(config, d_sae=d_sae, prefixes=(), k=min(d_sae, ceil(config.k * spare)))
