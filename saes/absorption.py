"""Signs of absorbed and split features that need no labels: where a latent is silent though its direction is written.

Absorption (Chanin et al., "A is for Absorption", arXiv:2409.14507): a general feature's latent stays silent where a more
special feature's latent fires, because the special one's direction has taken in the general one's. The paper, and
SAEBench after it (arXiv:2503.09532), finds this with a probe for a known feature. Here a latent's own direction takes the
probe's place, so every latent can be asked; what comes out is a proxy for comparing SAEs on the same activations, and is
not SAEBench's number.

Splitting (Bricken et al., "Towards Monosemanticity", 2023): one feature is shared out among latents of nearly the same
direction, of which one fires at a time.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from saes.quality import some_of
from saes.sparsity import SparseCode

PARENTS = 256
"""Latents asked whether others have absorbed them."""
LEAST_FIRINGS = 10
"""A latent that fired less often than this tells nothing."""
HALF = 0.5
"""Another latent that alone writes this share of a silent latent's usual value, along its direction, stands in for it."""
SAME_DIRECTION = 0.8
"""The cosine from which two latents are candidates for one feature split in two."""
TOGETHER = 0.1
"""Latents that share at most this part of the rarer one's firings fire one at a time."""
VALUES_AT_ONCE = 2**23


class Absorption(NamedTuple):
    """What was found over the rows looked at; None where no latent fired often enough to say."""

    absorption: float | None
    """The mean, over the latents asked, of absorbed rows / (absorbed rows + rows in which the latent fired)."""
    splitting: float | None
    """The share of latents whose nearest neighbour has nearly their direction and fires in other rows than they."""
    asked: int
    """How many latents were asked."""


def absorption_of(
    code: SparseCode, directions: Float[Tensor, "d_sae d_in"], seed: int = 0, parents: int = PARENTS
) -> Absorption:
    """Absorption and splitting of a dictionary, from its code of some rows."""
    fired = code.values > 0
    counts = torch.bincount(code.latents[fired], minlength=len(directions))
    living = (counts >= LEAST_FIRINGS).nonzero().squeeze(1)
    if not len(living):
        return Absorption(None, None, 0)
    asked = living[some_of(len(living), parents, seed).to(living.device)]
    unit = F.normalize(directions.float(), dim=1)
    cosines = unit[asked] @ unit.T
    cosines[torch.arange(len(asked)), asked] = 0
    absorbed = _absorbed_rows(code, directions.float(), unit, asked, counts, cosines)
    own = counts[asked]
    return Absorption(
        absorption=float((absorbed / (absorbed + own)).mean()),
        splitting=float(_split(code, asked, counts, cosines).float().mean()),
        asked=len(asked),
    )


def least_cosine(d_in: int) -> float:
    """The cosine that tells a related direction from a chance one: four times what random directions have."""
    return min(0.5, max(0.1, 4 / d_in**0.5))


def _absorbed_rows(
    code: SparseCode,
    directions: Float[Tensor, "d_sae d_in"],
    unit: Float[Tensor, "d_sae d_in"],
    asked: Int64[Tensor, " asked"],
    counts: Int64[Tensor, " d_sae"],
    cosines: Float[Tensor, "asked d_sae"],
) -> Int64[Tensor, " asked"]:
    """Rows in which a latent is silent while another alone writes half its usual value along its direction."""
    lengths = directions.norm(dim=1)
    sums = torch.zeros(len(directions), device=code.values.device).index_add_(
        0, code.latents.flatten(), code.values.float().flatten()
    )
    usual = (sums / counts.clamp(min=1) * lengths)[asked]  # how far it writes along its own direction where it fires
    writes = (cosines * (cosines >= least_cosine(unit.shape[1]))) * lengths
    absorbed = torch.zeros(len(asked), dtype=torch.long, device=asked.device)
    width = max(1, code.values.shape[1])
    for values, latents in _parts(code, max(1, VALUES_AT_ONCE // (width * len(asked)))):
        strongest = (writes[:, latents] * values.float()).amax(2)  # [asked, row]
        silent = ~_fires(values, latents, asked)
        absorbed += (silent & (strongest >= HALF * usual[:, None])).sum(1)
    return absorbed


def _split(
    code: SparseCode,
    asked: Int64[Tensor, " asked"],
    counts: Int64[Tensor, " d_sae"],
    cosines: Float[Tensor, "asked d_sae"],
) -> Bool[Tensor, " asked"]:
    """Which latents have a living near double that fires apart from them."""
    cosines = cosines.masked_fill(counts[None] < LEAST_FIRINGS, 0)
    nearest = cosines.max(1)
    both = torch.zeros(len(asked), dtype=torch.long, device=asked.device)
    for values, latents in _parts(code, max(1, VALUES_AT_ONCE // (max(1, code.values.shape[1]) * len(asked)))):
        both += (_fires(values, latents, asked) & _fires(values, latents, nearest.indices)).sum(1)
    rarer = torch.minimum(counts[asked], counts[nearest.indices])
    return (nearest.values >= SAME_DIRECTION) & (both <= TOGETHER * rarer)


def _fires(
    values: Float[Tensor, "row k"], latents: Int64[Tensor, "row k"], ids: Int64[Tensor, " n"]
) -> Bool[Tensor, "n row"]:
    return ((latents[None] == ids[:, None, None]) & (values > 0)[None]).any(2)


def _parts(code: SparseCode, rows: int) -> list[tuple[Tensor, Tensor]]:
    if not code.values.numel():
        return []
    return list(zip(code.values.split(rows), code.latents.split(rows), strict=True))
