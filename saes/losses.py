"""What training makes small: reconstruction, the sparsity penalties, and the rescue of dead latents."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes.sparsity import fires, largest

PENALTIES = {
    "relu": ("l1", "tanh", "p_anneal"),
    "gated": ("l1", "tanh", "p_anneal"),
    "jump_relu": ("l0", "tanh", "target_l0"),
}
"""What may keep the code of each sparsity sparse, the usual one first; topk and batch_topk need nothing."""

SMALL_VALUE = 1e-3
"""Below it a penalty of power p < 1 is a straight line to zero, where its slope would be infinite."""

Sum = Callable[[Tensor], Tensor]
"""Adds up over all latents what was found for those at hand."""


def alone(part: Tensor) -> Tensor:
    """The sum where all latents are at hand."""
    return part


class Loss(NamedTuple):
    """The number that is made small, and what it is the sum of."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]

    @classmethod
    def of(cls, **terms: Float[Tensor, ""]) -> "Loss":
        """The sum of the terms, already multiplied by their coefficients."""
        return cls(sum(terms.values()), terms)  # type: ignore[arg-type]


def reconstruction(x: Float[Tensor, "row d_in"], x_hat: Float[Tensor, "row d_in"]) -> Float[Tensor, ""]:
    """The squared distance between activation and reconstruction, averaged over rows."""
    return (x_hat - x).square().sum(1).mean()


def nested(
    x: Float[Tensor, "row d_in"],
    z: Float[Tensor, "row d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    base: Float[Tensor, "*row d_in"],
    prefixes: tuple[int, ...],
    over_latents: Sum = alone,
) -> Float[Tensor, ""]:
    """The reconstructions by the first latents alone, at each width of ``prefixes``, averaged (arXiv:2503.17547).

    ``base`` is what is there without latents. The first latents count in every term and so come to hold what is general.
    SAELens takes the sum of the terms instead of their mean, which under Adam is the same but for the other terms.
    """
    x_hat, before, total = base, 0, x.new_zeros(())
    for width in prefixes:
        x_hat = x_hat + over_latents(z[:, before:width] @ W_dec[before:width])
        total, before = total + reconstruction(x, x_hat), width
    return total / len(prefixes)


def lengths(W_dec: Float[Tensor, "d_sae d_out"], site_widths: Sequence[int] = ()) -> Float[Tensor, " d_sae"]:
    """How long each direction is. Counting it keeps a penalty from being dodged by long directions at small values
    (Anthropic, Circuits Updates April 2024).

    With ``site_widths``, a crosscoder's, the lengths at its sites are added up: a latent pays for each site that it
    reaches, so that those of one site stay there (Anthropic, Sparse Crosscoders, October 2024).
    """
    if len(site_widths) < 2:
        return W_dec.norm(dim=1)
    return torch.stack([part.norm(dim=1) for part in W_dec.split(list(site_widths), dim=1)]).sum(0)


def l1(z: Float[Tensor, "row d_sae"], length: Float[Tensor, " d_sae"]) -> Float[Tensor, ""]:
    """The summed values of a row's latents, each as long as its direction, averaged over rows."""
    return (z * length).sum(1).mean()


def tanh(z: Float[Tensor, "row d_sae"], length: Float[Tensor, " d_sae"], scale: float) -> Float[Tensor, ""]:
    """tanh(scale * value * length), summed over a row's latents and averaged over rows: between l1 and a count.

    It stops pulling on values that are large already, which l1 shrinks (Anthropic, Circuits Updates February 2024 for
    relu and January 2025 for jump_relu; SAELens' jumprelu_sparsity_loss_mode "tanh").
    """
    return torch.tanh(z * length * scale).sum(1).mean()


def lp(z: Float[Tensor, "row d_sae"], length: Float[Tensor, " d_sae"], p: float) -> Float[Tensor, ""]:
    """(value * length) ** p, summed over a row's latents and averaged over rows (arXiv:2408.00113).

    At p = 1 it is l1, near 0 a count. Below SMALL_VALUE a straight line takes the curve's place.
    """
    values = z * length
    curve, line = values.clamp(min=SMALL_VALUE) ** p, values * SMALL_VALUE ** (p - 1)
    return torch.where(values > SMALL_VALUE, curve, line).sum(1).mean()


def through_gate(
    x: Float[Tensor, "row d_in"],
    gate: Float[Tensor, "row d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    base: Float[Tensor, "*row d_in"],
    over_latents: Sum = alone,
) -> Float[Tensor, ""]:
    """How badly the open gates of a gated SAE alone reconstruct ``x`` (arXiv:2404.16014).

    ``base`` is what is there without latents.

    It keeps the gate's directions honest, since the reconstruction itself sends no gradient through it. The decoder only
    reads here: its gradient is held back, so that it serves the reconstruction alone.
    """
    return reconstruction(x, over_latents(gate.relu() @ W_dec.detach()) + base.detach())


def l0(pre: Float[Tensor, "row d_sae"], threshold: Float[Tensor, " d_sae"], bandwidth: float) -> Float[Tensor, ""]:
    """How many latents of a jump_relu fire a row; its gradient reaches the thresholds (arXiv:2407.14435, eq. 9)."""
    return fires(pre, threshold, bandwidth).sum(1).mean()


def target_l0(
    pre: Float[Tensor, "row d_sae"],
    threshold: Float[Tensor, " d_sae"],
    bandwidth: float,
    target: float,
    over_latents: Sum = alone,
) -> Float[Tensor, ""]:
    """(L0 / target - 1)^2 of each row, averaged: zero where ``target`` latents of a jump_relu fire, so the L0 is chosen
    and no coefficient has to be searched for it (arXiv:2407.14435, appendix; the quadratic one of SAELens)."""
    return (over_latents(fires(pre, threshold, bandwidth).sum(1)) / target - 1).square().mean()


def auxk(
    residual: Float[Tensor, "row d_in"],
    pre: Float[Tensor, "row d_sae"],
    dead: Bool[Tensor, " d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    k_aux: int,
) -> Float[Tensor, ""]:
    """How badly the k_aux best dead latents of each row explain what the living ones left over (arXiv:2406.04093, A.2).

    ``residual`` is x - x_hat and must not carry a gradient. The dead latents act linearly, without relu, as in SAELens:
    otherwise one whose pre-activation has sunk below zero everywhere could never come back. With fewer dead latents
    than k_aux the term fades in proportion.
    """
    ids = dead.nonzero().squeeze(1)
    values, places = largest(pre[:, ids], k_aux)
    z = pre.new_zeros(len(pre), len(ids)).scatter(1, places, values)
    return reconstruction(residual, z @ W_dec[ids]) * min(1.0, len(ids) / k_aux)
