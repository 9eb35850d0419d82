"""What training makes small: reconstruction, the sparsity penalties, and the rescue of dead latents."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from saes.sparsity import fires, largest


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


def l1(z: Float[Tensor, "row d_sae"], W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, ""]:
    """The summed values of a row's latents, each as long as its direction, averaged over rows.

    Counting the direction's length keeps the penalty from being dodged by long directions at small values (Anthropic,
    Circuits Updates April 2024).
    """
    return (z * W_dec.norm(dim=1)).sum(1).mean()


def through_gate(
    x: Float[Tensor, "row d_in"],
    gate: Float[Tensor, "row d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    b_dec: Float[Tensor, " d_in"],
) -> Float[Tensor, ""]:
    """How badly the open gates of a gated SAE alone reconstruct ``x`` (arXiv:2404.16014, equation 8).

    It keeps the gate's directions honest, since the reconstruction itself sends no gradient through it. The decoder only
    reads here: its gradient is held back, so that it serves the reconstruction alone.
    """
    return reconstruction(x, gate.relu() @ W_dec.detach() + b_dec.detach())


def l0(pre: Float[Tensor, "row d_sae"], threshold: Float[Tensor, " d_sae"], bandwidth: float) -> Float[Tensor, ""]:
    """How many latents of a jump_relu fire a row; its gradient reaches the thresholds (arXiv:2407.14435, eq. 9)."""
    return fires(pre, threshold, bandwidth).sum(1).mean()


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
