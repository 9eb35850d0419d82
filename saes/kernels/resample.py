"""Dead latents start anew at rows that are explained badly (Anthropic, Towards Monosemanticity, October 2023)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.autoencoder import SparseAutoencoder
from saes.kernels.step import Update

SHARE = 0.2
"""Length of a new latent's encoder in that of the living, so that it begins by disturbing little. Where latents compete
(topk, batch_topk) it is 1: one that starts behind would never win."""


@torch.no_grad()
def resample(
    update: Update,
    dead: Bool[Tensor, " d_sae"],
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"],
    row_loss: Float[Tensor, " row"],
) -> None:
    """Give each dead latent, as far as there are rows, one row as its direction, chosen with probability ~ loss^2.

    Its encoder points there, too, its biases begin anew, its moments in Adam and its count of silent rows are zero. The
    choice depends on the step's number and the rows alone, so a resumed run makes the same one.
    """
    sae = update.sae
    rows = _chosen(row_loss, int(dead.sum()), seed=update.steps)
    ids = dead.nonzero().squeeze(1)[: len(rows)]
    living = ~dead
    # Without b_dec taken off, the encoder would point at the mean of all rows: the batch's is taken off, and its part of
    # every row by the bias.
    mean = torch.zeros_like(x[0]) if sae.config.apply_b_dec_to_input else x.mean(0)
    encoder = torch.nn.functional.normalize(sae.centred(x)[rows] - mean, dim=1)
    if living.any():
        share = 1.0 if sae.config.sparsity in ("topk", "batch_topk") else SHARE
        encoder *= share * sae.W_enc[:, living].norm(dim=0).mean()
    sae.W_dec[ids] = torch.nn.functional.normalize(target[rows] - sae.b_dec, dim=1)
    sae.W_enc[:, ids] = encoder.T
    for name, start in _starts(sae, -encoder @ mean).items():
        getattr(sae, name)[ids] = start
    for parameter in sae.parameters():
        for moment in (update.optimiser.state[parameter][name] for name in ("exp_avg", "exp_avg_sq")):
            if parameter is sae.W_enc:
                moment[:, ids] = 0
            elif parameter is not sae.b_dec and len(moment) == sae.d_sae:
                moment[ids] = 0
    update.rows_since_fired[ids] = 0


def _starts(sae: SparseAutoencoder, bias: Float[Tensor, " n"]) -> dict[str, Tensor | float]:
    """What a new latent's own numbers are."""
    match sae.config.sparsity:
        case "gated":
            return {"b_gate": bias, "r_mag": 0.0, "b_mag": bias}
        case "jump_relu":
            return {"b_enc": bias, "threshold": sae.config.initial_threshold}
        case _:
            return {"b_enc": bias}


def _chosen(row_loss: Float[Tensor, " row"], count: int, seed: int) -> Int64[Tensor, " n"]:
    """Different rows, at most ``count``, each drawn with probability ~ loss^2."""
    weights = row_loss.double().cpu().square()
    count = min(count, int((weights > 0).sum()))
    if not count:
        return torch.zeros(0, dtype=torch.long, device=row_loss.device)
    drawn = torch.multinomial(weights, count, generator=torch.Generator().manual_seed(seed))
    return drawn.to(row_loss.device)
