"""SAEs of several places inside the language model: transcoders, which write another place than they read, and
crosscoders, which read and write many."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes import quality
from saes.autoencoder import SparseAutoencoder
from training.activations.batch import ActivationBatch
from training.activations.harvest import aligned, harvested_at
from training.activations.places import Places
from training.language_models.language_model import Hook, LanguageModel, Tokens
from training.patched_loss import NOTHING_PREDICTED, ROWS_AT_ONCE, recovered


def places_of(sae: SparseAutoencoder, hook_name: str, metadata: Mapping[str, Any]) -> Places:
    """What a checkpoint's SAE, trained at ``hook_name``, reads and writes."""
    if sae.config.sites:
        names = tuple(name for name, _ in sae.config.sites)
        return Places(names, names)
    if sae.config.d_out is None:
        return Places((hook_name,), (hook_name,))
    if not metadata.get("hook_name_out"):
        raise ValueError(f"this transcoder of {hook_name} does not say which place it writes: no hook_name_out")
    return Places((hook_name,), (metadata["hook_name_out"],))


def read_at(
    model: LanguageModel, places: Places, tokens: Tokens, number: int = 0
) -> tuple[dict[str, Float[Tensor, "row d_in"]], ActivationBatch]:
    """Aligned rows at every place, in float32, and the batch of one of them, which says what was kept."""
    found = aligned(harvested_at(model, places.every, tokens, number), places.every)
    return {name: batch.rows().float() for name, batch in found.items()}, found[places.every[0]]


def splice(
    model: LanguageModel, places: Places, keep: Bool[Tensor, "text token"], x_hat: Float[Tensor, "row d_out"]
) -> dict[str, Hook]:
    """Hooks that put ``x_hat``, a row for each kept token, into the written places; gradients pass."""

    def written(part: Tensor) -> Hook:
        def act(x: Tensor) -> Tensor:
            y = x.clone()
            y[keep] = part.to(x.dtype)
            return y

        return act

    parts = x_hat.split([model.width(name) for name in places.written], dim=-1)
    return {name: written(part) for name, part in zip(places.written, parts, strict=True)}


def kl_divergence(log_p: Float[Tensor, "token vocab"], log_q: Float[Tensor, "token vocab"]) -> Float[Tensor, " token"]:
    """KL(p || q) in nats, of each token."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@torch.no_grad()
def evaluate_at(
    model: LanguageModel, sae: SparseAutoencoder, places: Places, token_batches: Iterable[Tokens]
) -> dict[str, Any]:
    """The quality of an SAE of several places, under the names that ``evaluate`` gives it for one.

    explained_variance is that of what is written, l0 and dead are of its code; ce, ce_patched, ce_ablated and the same
    with kl are nats a predicted token of the model as it is, with the reconstructions at all written places, and with
    zeros there. What is read comes from the model as it is.
    """
    error = squares = fired = 0.0
    total = torch.zeros(sae.d_out, dtype=torch.float64)
    counts = torch.zeros(sae.d_sae)
    losses = dict.fromkeys(("ce", "ce_patched", "ce_ablated", "kl_patched", "kl_ablated"), 0.0)
    rows = predicted = 0
    for number, tokens in enumerate(token_batches):
        found, batch = read_at(model, places, tokens, number)
        x, target = places.split(found)
        target = x if target is None else target
        x_hat = torch.cat([sae.reconstruct(part) for part in x.split(ROWS_AT_ONCE)])
        code = sae.encode_sparse(x)
        error += float((target - x_hat).double().square().sum())
        squares += float(target.double().square().sum())
        total += target.double().sum(0).cpu()
        counts += (quality.density(code, sae.d_sae) * len(x)).cpu()
        fired += float((code.values > 0).sum())
        rows += len(x)
        next_ones = batch.tokens.real[:, 1:]
        if not bool(next_ones.any()):
            continue
        predicted += int(next_ones.sum())
        hooks = {
            "": {},
            "_patched": splice(model, places, batch.keep, x_hat),
            "_ablated": splice(model, places, batch.keep, torch.zeros_like(x_hat)),
        }
        own = None
        for name, hook in hooks.items():
            log_p = model.logits(batch.tokens, hook)[:, :-1][next_ones].float().log_softmax(-1)
            own = log_p if own is None else own
            losses[f"ce{name}"] -= float(log_p.gather(1, batch.tokens.ids[:, 1:][next_ones][:, None]).double().sum())
            if name:
                losses[f"kl{name}"] += float(kl_divergence(own, log_p).double().sum())
    if not rows:
        raise ValueError("no activations to measure the quality on: is the corpus empty?")
    if not predicted:
        raise ValueError(NOTHING_PREDICTED)
    nats = {name: value / predicted for name, value in losses.items()}
    return {
        "explained_variance": 1 - error / (squares - float(total.square().sum()) / rows),
        "l0": fired / rows,
        "dead": float(quality.dead(counts)),
        "ce_recovered": recovered(nats["ce"], nats["ce_patched"], nats["ce_ablated"]),
        "kl_recovered": recovered(0.0, nats["kl_patched"], nats["kl_ablated"]),
        **nats,
        "rows": rows,
        "tokens": predicted,
    }
