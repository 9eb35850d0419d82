"""How good a dictionary is: explained variance, L0, density, dead share. Pure functions of what was measured."""

import torch
from jaxtyping import Float, Num
from torch import Tensor

from saes.sparsity import SparseCode


def explained_variance(x: Float[Tensor, "row d_in"], x_hat: Float[Tensor, "row d_in"]) -> Float[Tensor, ""]:
    """1 - E||x - x_hat||^2 / E||x - mean||^2: 1 is perfect, 0 is as good as the mean."""
    return 1 - (x - x_hat).square().sum() / (x - x.mean(0)).square().sum()


def l0(code: SparseCode | Float[Tensor, "row d_sae"]) -> Float[Tensor, ""]:
    """How many latents fire a row, on average."""
    values = code.values if isinstance(code, SparseCode) else code
    return (values > 0).sum(1).float().mean()


def density(code: SparseCode, d_sae: int) -> Float[Tensor, " d_sae"]:
    """The share of rows in which each latent fires."""
    fired = code.latents[code.values > 0]
    return torch.bincount(fired, minlength=d_sae).float() / max(1, code.rows)


def dead(density: Num[Tensor, " d_sae"]) -> Float[Tensor, ""]:
    """The share of latents that never fired, from their densities or counts over the rows looked at."""
    return (density == 0).float().mean()
