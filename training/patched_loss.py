"""What a language model loses when a dictionary's reconstruction stands in for its activations."""

import torch
from jaxtyping import Float
from torch import Tensor

from saes.dictionary import Dictionary
from training.activations.harvest import within_reach
from training.language_models.language_model import LanguageModel, Tokens

NOTHING_PREDICTED = "no token to predict: the texts are empty or of one token each"
ROWS_AT_ONCE = 1024


def patched_loss(model: LanguageModel, dictionary: Dictionary, hook_name: str, tokens: Tokens) -> dict[str, float]:
    """The losses_of, and the share that the dictionary recovers.

    ce_recovered = (ce_ablated - ce_patched) / (ce_ablated - ce), which SAELens calls ce_loss_score.
    """
    losses = losses_of(model, dictionary, hook_name, tokens)
    if losses is None:
        raise ValueError(NOTHING_PREDICTED)
    return losses | {"ce_recovered": recovered(losses["ce"], losses["ce_patched"], losses["ce_ablated"])}


@torch.no_grad()
def losses_of(model: LanguageModel, dictionary: Dictionary, hook_name: str, tokens: Tokens) -> dict[str, float] | None:
    """Cross-entropies in nats a predicted token; None where no token is predicted, as in a window of one token.

    ce: of the model as it is; ce_patched: with reconstructions at ``hook_name``; ce_ablated: with zeros there;
    tokens: how many were predicted. Padding, special tokens and attention sinks, which no SAE is trained on, are never
    touched, so that in a window of nothing else all three are the same.
    """

    def patched(x: Tensor, *, keep: Tensor | None = None) -> Tensor:
        inside = _inside(x, keep)
        y = x.clone()
        y[inside] = reconstructed(dictionary, x[inside]).to(x.dtype)
        return y

    def ablated(x: Tensor, *, keep: Tensor | None = None) -> Tensor:
        return x.masked_fill(_inside(x, keep)[..., None], 0)

    tokens = tokens.to(model.device)
    predicted = tokens.real[:, 1:]
    count = int(predicted.sum())
    if not count:
        return None
    ce, ce_patched, ce_ablated = (
        -float(model.log_probs(tokens, hooks)[:, 1:][predicted].double().mean())
        for hooks in ({}, {hook_name: patched}, {hook_name: ablated})
    )
    return {"ce": ce, "ce_patched": ce_patched, "ce_ablated": ce_ablated, "tokens": count}


@torch.no_grad()
def reconstructed(dictionary: Dictionary, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_in"]:
    """What the dictionary makes of ``x``, never holding more than some rows at its own width."""
    parts = [dictionary.decode(dictionary.encode(part)) for part in x.split(ROWS_AT_ONCE)]
    return torch.cat(parts) if parts else x


def recovered(ce: float, ce_patched: float, ce_ablated: float) -> float:
    """The share of what ablation costs that the reconstruction gets back."""
    if ce_ablated == ce:
        raise ValueError(
            "zeros there cost the model nothing, so there is no loss to recover: is the hook name the right one?"
        )
    return (ce_ablated - ce_patched) / (ce_ablated - ce)


def _inside(x: Tensor, keep: Tensor | None) -> Tensor:
    keep = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device) if keep is None else keep
    return within_reach(x.float().norm(dim=-1), keep)
