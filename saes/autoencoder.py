"""The sparse autoencoder: its settings, its one module, and the frozen form of a batch_topk one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from saes.dictionary import Reader, fitting, latent_ids
from saes.nearest import did_you_mean
from saes.site import Site
from saes.sparsity import SparseCode, batch_topk, gated, jump_relu, largest, relu, topk

SPARSITIES = ("topk", "batch_topk", "jump_relu", "relu", "gated")

LOOKED_AT_FIRST = 8
"""Latents of a topk dictionary up to which a reader looks whether any is positive before it computes all the others."""
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
    prefixes: tuple[int, ...] = ()
    """Widths, ascending, at which the first latents alone have to reconstruct as well (topk, batch_topk): a Matryoshka
    SAE (arXiv:2503.17547). The last is d_sae, and is appended where it is missing; empty is an ordinary SAE."""
    d_out: int | None = None
    """Width of what is written, for a transcoder, which reads one site and writes another (arXiv:2406.11944); None
    writes what it reads."""
    skip: bool = False
    """Whether a transcoder also passes x on by a dense W_skip, so that the latents need not (arXiv:2501.18823)."""
    sites: tuple[tuple[str, int], ...] = ()
    """Hook names and widths of the sites whose activations lie side by side in x, for a crosscoder (Anthropic, Sparse
    Crosscoders, October 2024); empty is one site."""

    def __post_init__(self):
        if self.d_in < 1 or self.d_sae < 1:
            raise ValueError(f"d_in and d_sae must be at least 1, got {self.d_in} and {self.d_sae}")
        if self.sparsity not in SPARSITIES:
            meant = did_you_mean(self.sparsity, SPARSITIES)
            raise ValueError(f"unknown sparsity {self.sparsity!r}; it is one of {', '.join(SPARSITIES)}{meant}")
        if self.sparsity in ("topk", "batch_topk") and not 1 <= self.k <= self.d_sae:
            raise ValueError(f"k must lie between 1 and d_sae {self.d_sae}, got {self.k}")
        if self.initial_threshold < 0:
            raise ValueError(f"initial_threshold must not be negative, got {self.initial_threshold}")
        if self.prefixes:
            object.__setattr__(self, "prefixes", self._whole_prefixes())
        if self.d_out is not None and (self.d_out < 1 or self.apply_b_dec_to_input):
            raise ValueError(
                f"a transcoder's b_dec lies at the site it writes: d_out {self.d_out} must be at least 1 and needs "
                "apply_b_dec_to_input=False"
            )
        if self.skip and self.d_out is None:
            raise ValueError("skip goes with transcoders, which have a d_out")
        if self.sites:
            self._check_sites()

    def _check_sites(self) -> None:
        names, widths = zip(*self.sites, strict=True)
        if self.d_out is not None:
            raise ValueError("a crosscoder writes the sites that it reads: it has no d_out")
        if len(set(names)) < max(2, len(names)):
            raise ValueError(f"a crosscoder needs two or more different sites, got {', '.join(names)}")
        if sum(widths) != self.d_in:
            raise ValueError(f"the sites are {sum(widths)} wide together, but d_in is {self.d_in}")

    def _whole_prefixes(self) -> tuple[int, ...]:
        """The prefixes up to d_sae."""
        if self.sparsity not in ("topk", "batch_topk"):
            raise ValueError(f"prefixes go with the sparsities topk and batch_topk, not {self.sparsity}")
        widths = tuple(self.prefixes)
        if widths[-1] != self.d_sae:
            widths += (self.d_sae,)
        if widths[0] < 1 or any(here >= after for here, after in pairwise(widths)):
            raise ValueError(f"prefixes must ascend from at least 1 to d_sae {self.d_sae}, got {list(self.prefixes)}")
        return widths


class SparseAutoencoder(nn.Module):
    """x_hat = z @ W_dec + b_dec  with  z = sparsity((x - b_dec) @ W_enc + b_enc).

    A transcoder's x_hat is of another site, d_out wide: y_hat = z @ W_dec + b_dec (+ x @ W_skip.T)  with
    z = sparsity(x @ W_enc + b_enc). A crosscoder's x holds the activations of several sites side by side.

    Shapes: W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc [d_sae], b_dec [d_in]; jump_relu adds threshold [d_sae].
    A transcoder's are W_dec [d_sae, d_out], b_dec [d_out] and W_skip [d_out, d_in]. A gated one has b_gate, r_mag and
    b_mag [d_sae] in place of b_enc: b_gate decides what fires, the others how much.
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
    W_skip: nn.Parameter
    running_threshold: Tensor

    def __init__(self, config: SAEConfig, seed: int = 0):
        super().__init__()
        self.config = config
        self.site: Site | None = None  # where it was trained, once known: only named in error messages
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(config.d_sae, config.d_in, generator=generator)
        rows /= rows.norm(dim=1, keepdim=True)
        self.W_enc = nn.Parameter(rows.clone().T)
        if config.d_out is not None:  # two spaces, in which the same numbers mean nothing alike
            rows = torch.randn(config.d_sae, config.d_out, generator=generator)
            rows /= rows.norm(dim=1, keepdim=True)
        self.W_dec = nn.Parameter(rows)
        for name in ("b_gate", "r_mag", "b_mag") if config.sparsity == "gated" else ("b_enc",):
            setattr(self, name, nn.Parameter(torch.zeros(config.d_sae)))
        self.b_dec = nn.Parameter(torch.zeros(self.d_out))
        if config.skip:
            self.W_skip = nn.Parameter(torch.zeros(self.d_out, config.d_in))
        if config.sparsity == "jump_relu":
            self.threshold = nn.Parameter(torch.full((config.d_sae,), config.initial_threshold))
        if config.sparsity == "batch_topk":
            self.register_buffer("running_threshold", torch.zeros((), dtype=torch.float64))

    @property
    def d_in(self) -> int:
        return self.config.d_in

    @property
    def d_out(self) -> int:
        """Width of what is written: d_in, but for a transcoder."""
        return self.config.d_in if self.config.d_out is None else self.config.d_out

    @property
    def d_sae(self) -> int:
        return self.config.d_sae

    @property
    def prefixes(self) -> tuple[int, ...]:
        """How many of the latents, from the first on, make each of the reconstructions; empty: all make the only one."""
        return self.config.prefixes

    @property
    def bias(self) -> Float[Tensor, " d_sae"]:
        """What decides, beside W_enc, whether a latent fires: b_enc, or the gate's own."""
        return self.b_gate if self.config.sparsity == "gated" else self.b_enc

    @property
    def directions(self) -> Float[Tensor, "d_sae d_out"]:
        return self.W_dec.detach()

    def directions_at(self, hook_name: str) -> Float[Tensor, "d_sae d_site"]:
        """The part of each direction of a crosscoder that lies at one of its sites."""
        names = [name for name, _ in self.config.sites]
        if hook_name not in names:
            meant = did_you_mean(hook_name, names)
            raise ValueError(f"no site {hook_name!r}: it has {', '.join(names) or 'one site alone'}{meant}")
        return self.directions.split(self.site_widths, dim=1)[names.index(hook_name)]

    @property
    def site_widths(self) -> list[int]:
        """How the columns of W_dec divide among the sites: all are one's, but for a crosscoder."""
        return [width for _, width in self.config.sites] or [self.d_out]

    @torch.no_grad()
    def start_at_mean(self, x: Float[Tensor, "row d_in"], target: Float[Tensor, "row d_out"] | None = None) -> None:
        """Set b_dec to the mean of ``x``, so that training need not learn it first.

        A transcoder's is that of ``target``, and its encoder's bias takes the mean of ``x`` away.
        """
        x = fitting(x, self.d_in, self.b_dec.dtype, self.site)
        self.b_dec.copy_((x if target is None else fitting(target, self.d_out, self.b_dec.dtype)).mean(0))
        if target is not None:
            self.bias.copy_(-x.mean(0) @ self.W_enc)

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

    def encode_latents(self, x: Float[Tensor, "*batch d_in"], ids: Sequence[int] | Tensor) -> Float[Tensor, "*batch n"]:
        """The columns ``ids`` of ``encode(x)``, without a gradient; see ``latent_reader``."""
        return self.latent_reader(ids)(x)

    @torch.no_grad()
    def latent_reader(self, ids: Sequence[int] | Tensor, device: torch.device | None = None) -> Reader:
        """What reads the columns ``ids`` of ``encode(x)`` off activations on ``device``, from the weights as they are now.

        relu, jump_relu and gated compute no other column. topk has to look at all of them to know which ones win, and for
        few ``ids`` (up to LOOKED_AT_FIRST) only in rows where one of them is positive.
        """
        ids = latent_ids(ids, self.d_sae, self.W_enc.device)
        if self.config.sparsity == "batch_topk":
            return torch.no_grad()(lambda x: self.encode(x)[..., ids])
        rows, bias = self.W_enc.T[ids].to(device), self.bias[ids].to(device)
        b_dec = self.b_dec.detach().to(device) if self.config.apply_b_dec_to_input else None

        def centred(x: Tensor) -> Tensor:
            x = fitting(x, self.d_in, rows.dtype, self.site)
            return x if b_dec is None else x - b_dec

        match self.config.sparsity:
            case "topk":
                every, every_bias = self.W_enc.detach().T.to(device), self.bias.detach().to(device)
                columns = ids.to(every.device)

                def winners(x: Tensor) -> Tensor:
                    pre = F.linear(x, every, every_bias)
                    least = largest(pre, self.config.k)[0].amin(1, keepdim=True)
                    own = pre.index_select(1, columns)
                    return own.relu() * (own >= least)

                def read(x: Tensor) -> Tensor:
                    x = centred(x)
                    flat = x.reshape(-1, self.d_in)
                    if len(ids) > LOOKED_AT_FIRST:  # of so many one is positive nearly everywhere
                        return winners(flat).view(*x.shape[:-1], len(ids))
                    values = F.linear(flat, rows, bias)
                    positive = (values > 0).any(1).nonzero()[:, 0]
                    if len(positive) == len(flat):
                        values = winners(flat)
                    else:
                        values = values.zero_()
                        if len(positive):
                            values[positive] = winners(flat[positive])
                    return values.view(*x.shape[:-1], len(ids))

            case "jump_relu":
                floor = self.threshold[ids].clamp(min=0).to(device)

                def read(x: Tensor) -> Tensor:
                    pre = F.linear(centred(x), rows, bias)
                    return pre * (pre > floor)

            case "gated":
                r_mag, b_mag = self.r_mag[ids].to(device), self.b_mag[ids].to(device)

                def read(x: Tensor) -> Tensor:
                    return gated(F.linear(centred(x), rows, bias), bias, r_mag, b_mag)

            case _:

                def read(x: Tensor) -> Tensor:
                    return F.linear(centred(x), rows, bias).relu()

        return torch.no_grad()(read)

    def decode(self, z: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_out"]:
        """z @ W_dec + b_dec."""
        return z @ self.W_dec + self.b_dec

    def without_latents(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*base d_out"]:
        """What is written where nothing fires: b_dec, and what W_skip passes on."""
        if not self.config.skip:
            return self.b_dec
        return F.linear(fitting(x, self.d_in, self.W_skip.dtype, self.site), self.W_skip, self.b_dec)

    def reconstruct(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """What it makes of ``x``: decode(encode(x)), and what W_skip passes on."""
        return self.encode(x) @ self.W_dec + self.without_latents(x)


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
    config = replace(sae.config, sparsity="jump_relu", initial_threshold=threshold, prefixes=())
    frozen = SparseAutoencoder(config).to(sae.W_dec)
    for name in ("W_enc", "W_dec", "b_enc", "b_dec"):
        getattr(frozen, name).copy_(getattr(sae, name))
    frozen.site = sae.site
    return frozen
