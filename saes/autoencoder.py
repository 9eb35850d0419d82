"""The sparse autoencoder: its settings, its one module, and the frozen form of a batch_topk one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from saes.dictionary import fitting, latent_ids
from saes.site import Site
from saes.sparsity import SparseCode, batch_topk, gated, jump_relu, largest, relu, topk

SPARSITIES = ("topk", "batch_topk", "jump_relu", "relu", "gated")

ROWS_AT_ONCE = 1024
"""Rows that encode_sparse widens to d_sae at a time; keeps its memory flat in the number of rows."""


@dataclass(frozen=True)
class SAEConfig:
    """The shape of a sparse autoencoder."""

    d_in: int
    """Width of the activations."""
    d_sae: int
    """Number of latents."""
    sparsity: str = "topk"
    """How a pre-activation becomes sparse: one of SPARSITIES (functions of saes.sparsity)."""
    k: int = 32
    """Latents that fire a row: at most (topk) or on average (batch_topk); the others ignore it."""
    apply_b_dec_to_input: bool = True
    """Whether the decoder's bias is taken off the activation before it is encoded."""
    initial_threshold: float = 0.01
    """Where the thresholds of a jump_relu start."""

    def __post_init__(self):
        if self.d_in < 1 or self.d_sae < 1:
            raise ValueError(f"d_in and d_sae must be at least 1, got {self.d_in} and {self.d_sae}")
        if self.sparsity not in SPARSITIES:
            raise ValueError(f"unknown sparsity {self.sparsity!r}; it is one of {', '.join(SPARSITIES)}")
        if self.sparsity in ("topk", "batch_topk") and not 1 <= self.k <= self.d_sae:
            raise ValueError(f"k must lie between 1 and d_sae {self.d_sae}, got {self.k}")
        if self.initial_threshold < 0:
            raise ValueError(f"initial_threshold must not be negative, got {self.initial_threshold}")


class SparseAutoencoder(nn.Module):
    """x_hat = z @ W_dec + b_dec  with  z = sparsity((x - b_dec) @ W_enc + b_enc).

    Shapes: W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc [d_sae], b_dec [d_in]; jump_relu adds threshold [d_sae].
    A gated one has b_gate, r_mag and b_mag [d_sae] in place of b_enc: b_gate decides what fires, the others how much.
    A batch_topk one keeps ``running_threshold []``, the average of the smallest value that passed in each training
    batch, until ``freeze_threshold`` turns it into a jump_relu.

    It starts with random decoder rows of length one and the encoder as their transpose. W_enc is stored by latent (its
    transpose is contiguous), because whatever is sparse reads it a latent at a time.
    """

    b_enc: nn.Parameter
    threshold: nn.Parameter
    b_gate: nn.Parameter
    r_mag: nn.Parameter
    b_mag: nn.Parameter
    running_threshold: Tensor

    def __init__(self, config: SAEConfig, seed: int = 0):
        super().__init__()
        self.config = config
        self.site: Site | None = None  # where it was trained, once known: only named in error messages
        rows = torch.randn(config.d_sae, config.d_in, generator=torch.Generator().manual_seed(seed))
        rows /= rows.norm(dim=1, keepdim=True)
        self.W_enc = nn.Parameter(rows.clone().T)
        self.W_dec = nn.Parameter(rows)
        for name in ("b_gate", "r_mag", "b_mag") if config.sparsity == "gated" else ("b_enc",):
            setattr(self, name, nn.Parameter(torch.zeros(config.d_sae)))
        self.b_dec = nn.Parameter(torch.zeros(config.d_in))
        if config.sparsity == "jump_relu":
            self.threshold = nn.Parameter(torch.full((config.d_sae,), config.initial_threshold))
        if config.sparsity == "batch_topk":
            self.register_buffer("running_threshold", torch.zeros((), dtype=torch.float64))

    @property
    def d_in(self) -> int:
        return self.config.d_in

    @property
    def d_sae(self) -> int:
        return self.config.d_sae

    @property
    def bias(self) -> Float[Tensor, " d_sae"]:
        """What decides, beside W_enc, whether a latent fires: b_enc, or the gate's own."""
        return self.b_gate if self.config.sparsity == "gated" else self.b_enc

    @property
    def directions(self) -> Float[Tensor, "d_sae d_in"]:
        return self.W_dec.detach()

    @torch.no_grad()
    def start_at_mean(self, x: Float[Tensor, "row d_in"]) -> None:
        """Set b_dec to the mean of ``x``, so that training need not learn it first."""
        self.b_dec.copy_(fitting(x, self.d_in, self.b_dec.dtype, self.site).mean(0))

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """The value of every latent; a batch_topk one that is not frozen shares its budget over all of ``x``."""
        return self.activate(self.pre_activations(x))

    def pre_activations(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """What the sparsity is applied to."""
        return F.linear(self.centred(x), self.W_enc.T, self.bias)

    def centred(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """The encoder's input: ``x``, less b_dec where the config says so."""
        x = fitting(x, self.d_in, self.W_enc.dtype, self.site)
        return x - self.b_dec if self.config.apply_b_dec_to_input else x

    def activate(self, pre: Float[Tensor, "*batch d_sae"], bandwidth: float = 0.05) -> Float[Tensor, "*batch d_sae"]:
        """The sparsity itself; ``bandwidth`` matters only to the gradient of a jump_relu."""
        match self.config.sparsity:
            case "topk":
                return topk(pre, self.config.k)
            case "batch_topk":
                return batch_topk(pre, self.config.k)
            case "jump_relu":
                return jump_relu(pre, self.threshold, bandwidth)
            case "gated":
                return gated(pre, self.b_gate, self.r_mag, self.b_mag)
            case _:
                return relu(pre)

    @torch.no_grad()
    def encode_sparse(self, x: Float[Tensor, "row d_in"]) -> SparseCode:
        """The latents that fire in each row, without ever holding all rows at the width of the dictionary."""
        if self.config.sparsity == "batch_topk" or not len(x):  # the budget is shared by all rows
            return SparseCode.from_dense(self.encode(x))
        codes = [self._sparse(part) for part in x.split(ROWS_AT_ONCE)]
        width = max(code.values.shape[1] for code in codes)
        padded = [[F.pad(tensor, (0, width - tensor.shape[1])) for tensor in code] for code in codes]
        values, latents = zip(*padded, strict=True)
        return SparseCode(torch.cat(values), torch.cat(latents))

    def _sparse(self, x: Float[Tensor, "row d_in"]) -> SparseCode:
        if self.config.sparsity == "topk":
            return SparseCode.padded(*largest(self.pre_activations(x), self.config.k))
        return SparseCode.from_dense(self.encode(x))

    @torch.no_grad()
    def encode_latents(self, x: Float[Tensor, "*batch d_in"], ids: Sequence[int] | Tensor) -> Float[Tensor, "*batch n"]:
        """The columns ``ids`` of ``encode(x)``.

        relu, jump_relu and gated compute no other column; topk has to look at all of them to know which ones win.
        """
        ids = latent_ids(ids, self.d_sae, self.W_enc.device)
        match self.config.sparsity:
            case "batch_topk":
                return self.encode(x)[..., ids]
            case "topk":
                pre = self.pre_activations(x)
                values, latents = largest(pre.reshape(-1, self.d_sae), self.config.k)
                read = torch.stack([(values.relu() * (latents == latent)).sum(1) for latent in ids], dim=1)
                return read.reshape(*x.shape[:-1], len(ids))
        pre = F.linear(self.centred(x), self.W_enc.T[ids], self.bias[ids])
        match self.config.sparsity:
            case "jump_relu":
                return jump_relu(pre, self.threshold[ids])
            case "gated":
                return gated(pre, self.b_gate[ids], self.r_mag[ids], self.b_mag[ids])
            case _:
                return relu(pre)

    def decode(self, z: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_in"]:
        """z @ W_dec + b_dec."""
        return z @ self.W_dec + self.b_dec


@torch.no_grad()
def freeze_threshold(sae: SparseAutoencoder) -> SparseAutoencoder:
    """The jump_relu SAE that a trained batch_topk one stands for: its running threshold for every latent.

    The code of a row then depends on that row alone. The given SAE is left as it was.
    """
    if sae.config.sparsity != "batch_topk":
        raise ValueError(f"only a batch_topk SAE has a threshold to freeze; this one is {sae.config.sparsity}")
    threshold = float(sae.running_threshold)
    if not threshold > 0:
        raise ValueError("this batch_topk SAE has not seen a training step yet, so it has no threshold to freeze")
    frozen = SparseAutoencoder(replace(sae.config, sparsity="jump_relu", initial_threshold=threshold)).to(sae.W_dec)
    for name in ("W_enc", "W_dec", "b_enc", "b_dec"):
        getattr(frozen, name).copy_(getattr(sae, name))
    frozen.site = sae.site
    return frozen
