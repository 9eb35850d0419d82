"""Dead latents start anew at rows that are explained badly (Anthropic, Towards Monosemanticity, October 2023)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.autoencoder import SparseAutoencoder
from saes.kernels.axes import ALONE, Axes
from saes.kernels.slices import LATENT_DIM
from saes.kernels.step import Update

SHARE = 0.2
"""Length of a new latent's encoder in that of the living, so that it begins by disturbing little. Where latents compete
(topk, batch_topk) it is 1: one that starts behind would never win."""


def resample_if_due(
    update: Update,
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"],
    error: Float[Tensor, "row d_out"],
    axes: Axes = ALONE,
) -> None:
    """``resample`` after every ``resample_every``-th step, where a latent is dead on any rank."""
    every = update.settings.resample_every
    if every is None or update.steps % every:
        return
    dead = update.dead()
    if dead is not None and axes.latent.reduce_(dead.sum()) > 0:
        resample(update, dead, x, target, error.square().sum(1), axes)


@torch.no_grad()
def resample(
    update: Update,
    dead: Bool[Tensor, " d_sae"],
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"],
    row_loss: Float[Tensor, " row"],
    axes: Axes = ALONE,
) -> None:
    """Give each dead latent, as far as there are rows, one row as its direction, chosen with probability ~ loss^2.

    Its encoder points there, too, its biases begin anew, its moments in Adam and its count of silent rows are zero. The
    choice depends on the step's number and the rows alone, so a resumed run makes the same one. Ranks choose among the
    rows of all data ranks for the latents of all latent ranks; the losses and the chosen rows are all that is sent.
    """
    sae, latent = update.sae, axes.latent
    everywhere = latent.stacked(dead.to(torch.uint8)).flatten().nonzero().squeeze(1)
    rows = _chosen(axes.batch(row_loss), len(everywhere), seed=update.steps)
    ids = everywhere[: len(rows)] - latent.rank * sae.d_sae
    own = (ids >= 0) & (ids < sae.d_sae)
    ids = ids[own]
    # Without b_dec taken off, the encoder would point at the mean of all rows: the batch's is taken off, and its part of
    # every row by the bias.
    mean = torch.zeros_like(x[0])
    if not sae.config.apply_b_dec_to_input:
        mean = axes.data.reduce_(x.mean(0)) / axes.data.size
    encoder = torch.nn.functional.normalize(sae.centred(axes.picked(x, rows)) - mean, dim=1)[own]
    lengths = sae.W_enc.norm(dim=0)[~dead]
    total, living = latent.reduce_(torch.stack([lengths.sum(), lengths.new_tensor(len(lengths))]))
    if living > 0:
        share = 1.0 if sae.config.sparsity in ("topk", "batch_topk") else SHARE
        encoder *= share * total / living
    sae.W_dec[ids] = torch.nn.functional.normalize(axes.picked(target, rows) - sae.b_dec, dim=1)[own]
    sae.W_enc[:, ids] = encoder.T
    for name, start in _starts(sae, -encoder @ mean).items():
        getattr(sae, name)[ids] = start
    for name, parameter in sae.named_parameters():
        dim = LATENT_DIM[name]
        if dim is not None:
            for moment in ("exp_avg", "exp_avg_sq"):
                update.optimiser.state[parameter][moment].index_fill_(dim, ids, 0)
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
