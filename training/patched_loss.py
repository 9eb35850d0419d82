"""What a language model loses when a dictionary's reconstruction stands in for its activations."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes.dictionary import Dictionary
from training.activations.batch import ActivationBatch
from training.activations.side_by_side import Places, harvested_side_by_side
from training.language_models.language_model import Hook, LanguageModel, Tokens

NOTHING_PREDICTED = "no token to predict: the texts are empty or of one token each"
ROWS_AT_ONCE = 1024


def patched_loss(
    model: LanguageModel, dictionary: Dictionary, places: Places | str, tokens: Tokens
) -> dict[str, float]:
    """The losses_of, and the share that the dictionary recovers; ``places`` may be a hook name.

    ce_recovered = (ce_ablated - ce_patched) / (ce_ablated - ce), which SAELens calls ce_loss_score.
    """
    places = Places.one(places) if isinstance(places, str) else places
    batch = harvested_side_by_side(model, places, tokens)
    x, _ = places.split(batch.rows(), model.width)
    losses = losses_of(model, reconstructed(dictionary, x), places, batch)
    if losses is None:
        raise ValueError(NOTHING_PREDICTED)
    return losses | {"ce_recovered": recovered(losses["ce"], losses["ce_patched"], losses["ce_ablated"])}


@torch.no_grad()
def losses_of(
    model: LanguageModel, x_hat: Float[Tensor, "row d_out"], places: Places, batch: ActivationBatch
) -> dict[str, float] | None:
    """Cross-entropies in nats a predicted token; None where no token is predicted, as in a window of one token.

    ce: of the model as it is; ce_patched: with the reconstructions ``x_hat`` of the batch's kept rows at the written
    places; ce_ablated: with zeros there; tokens: how many were predicted. Padding, special tokens and attention sinks,
    which no SAE is trained on, are never touched, so that in a window of nothing else all three are the same.
    """
    keep, tokens = batch.keep, batch.tokens
    predicted = tokens.real[:, 1:]
    count = int(predicted.sum())
    if not count:
        return None

    patched, ablated = (splice(model, places, keep, one) for one in (x_hat, torch.zeros_like(x_hat)))
    ce, ce_patched, ce_ablated = (
        -float(model.log_probs(tokens, hooks)[:, 1:][predicted].double().mean()) for hooks in ({}, patched, ablated)
    )
    return {"ce": ce, "ce_patched": ce_patched, "ce_ablated": ce_ablated, "tokens": count}


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


@torch.no_grad()
def reconstructed(dictionary: Dictionary, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_out"]:
    """What the dictionary makes of ``x``, never holding more than some rows at its own width."""
    return torch.cat([dictionary.reconstruct(part) for part in x.split(ROWS_AT_ONCE)])


def recovered(ce: float, ce_patched: float, ce_ablated: float) -> float:
    """The share of what ablation costs that the reconstruction gets back."""
    if ce_ablated == ce:
        raise ValueError(
            "zeros there cost the model nothing, so there is no loss to recover: is the hook name the right one?"
        )
    return (ce_ablated - ce_patched) / (ce_ablated - ce)
