"""How good a dictionary is on text: what it explains, how sparsely, and what the language model loses by it."""

from collections.abc import Iterable
from typing import Any

import torch

from saes import quality
from saes.dictionary import Dictionary
from training.activations.harvest import harvested
from training.language_models.language_model import LanguageModel, Tokens
from training.patched_loss import NOTHING_PREDICTED, losses_of, reconstructed, recovered


@torch.no_grad()
def evaluate(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, token_batches: Iterable[Tokens]
) -> dict[str, Any]:
    """The quality of ``dictionary`` at ``hook_name``.

    explained_variance, l0 (latents that fire a token) and dead (share of latents that fired at no token) over ``rows``
    activations; ce, ce_patched, ce_ablated and ce_recovered (see patched_loss) over ``tokens`` predicted tokens, judged
    once over all of them: a last window of one token alone could not be.
    """
    width = model.width(hook_name)
    if dictionary.d_in != width:
        raise ValueError(
            f"expected d_in {dictionary.d_in}, got {width} at {hook_name}: the dictionary is of another site"
        )
    error = squares = fired = 0.0
    total = torch.zeros(width, dtype=torch.float64)
    counts = torch.zeros(dictionary.d_sae)
    losses = dict.fromkeys(("ce", "ce_patched", "ce_ablated"), 0.0)
    rows = tokens_seen = 0
    for number, tokens in enumerate(token_batches):
        x = harvested(model, hook_name, tokens, number).rows().float()
        error += float((x - reconstructed(dictionary, x)).double().square().sum())
        squares += float(x.double().square().sum())
        total += x.double().sum(0).cpu()
        code = dictionary.encode_sparse(x)
        counts += (quality.density(code, dictionary.d_sae) * len(x)).cpu()
        fired += float((code.values > 0).sum())
        rows += len(x)
        loss = losses_of(model, dictionary, hook_name, tokens)
        if loss is not None:
            for name in losses:
                losses[name] += loss[name] * loss["tokens"]
            tokens_seen += int(loss["tokens"])
    if not rows:
        raise ValueError("no activations to measure the quality on: is the corpus empty?")
    if not tokens_seen:
        raise ValueError(NOTHING_PREDICTED)
    variance = squares - float(total.square().sum()) / rows
    ces = {name: value / tokens_seen for name, value in losses.items()}
    return {
        "explained_variance": 1 - error / variance,
        "l0": fired / rows,
        "dead": float(quality.dead(counts)),
        "ce_recovered": recovered(ces["ce"], ces["ce_patched"], ces["ce_ablated"]),
        **ces,
        "rows": rows,
        "tokens": tokens_seen,
    }
