"""How good a dictionary is: explained variance, L0, density, dead share, cosines. Pure functions of what was measured."""

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional as F

from saes.sparsity import SparseCode

LOOKED_AT = 4096
"""Latents at most whose nearest neighbours are sought: all pairs of 262 k latents would take hours."""


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


def density_histogram(density: Float[Tensor, " d_sae"], per_decade: int = 2, decades: int = 7) -> dict[str, list]:
    """How many latents fire how often: counts between powers of ten of the density; dead latents are in no bin.

    ``log10_density`` holds the edges, one more than ``latents`` has counts; a latent below the lowest edge counts in
    the first bin.
    """
    bins = per_decade * decades
    logs = density[density > 0].double().log10()
    places = ((logs + decades) * per_decade).floor().long().clamp(0, bins - 1)
    edges = [step / per_decade - decades for step in range(bins + 1)]
    return {"log10_density": edges, "latents": torch.bincount(places, minlength=bins).tolist()}


def max_decoder_cosine(
    directions: Float[Tensor, "d_sae d_in"], seed: int = 0, looked_at: int = LOOKED_AT
) -> Float[Tensor, " looked_at"]:
    """The highest cosine of a latent's direction with another latent's, for all latents or ``looked_at`` drawn ones.

    Near 1 is a latent that is there twice. The mean is what OrtSAE (arXiv:2509.22033) reports as a sign of absorption.
    """
    if len(directions) < 2:
        return directions.new_zeros(len(directions))
    unit = F.normalize(directions.float(), dim=1)
    ids = some_of(len(directions), looked_at, seed).to(unit.device)
    found = []
    for part in ids.split(256):
        cosines = unit[part] @ unit.T
        cosines[torch.arange(len(part)), part] = -1
        found.append(cosines.amax(1))
    return torch.cat(found)


def encoder_decoder_cosine(
    W_enc: Float[Tensor, "d_in d_sae"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, " d_sae"]:
    """How far each latent reads along the direction that it writes; SAELens' encoder_decoder_cosine_sim."""
    return F.cosine_similarity(W_enc.T.float(), W_dec.float(), dim=1)


def some_of(n: int, at_most: int, seed: int) -> Num[Tensor, " chosen"]:
    """All of 0 .. n-1, or ``at_most`` of them drawn at random, ascending."""
    if n <= at_most:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:at_most].sort().values
