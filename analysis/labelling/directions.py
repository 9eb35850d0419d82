"""Directions of latents: the tokens that they raise and lower, and their neighbours."""

from collections.abc import Sequence

import torch
from jaxtyping import Float

from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel


@torch.no_grad()
def logits_of(
    model: LanguageModel, dictionary: Dictionary, latents: Sequence[int]
) -> Float[torch.Tensor, "latent vocab"]:
    """What each latent's direction adds to the logits, straight through the unembedding, beside the mean token."""
    unembedding = model.unembedding().float()  # [vocab, d_in]
    directions = dictionary.directions[list(latents)].to(unembedding.device, torch.float32)
    return directions @ (unembedding - unembedding.mean(dim=0)).T


@torch.no_grad()
def promoted_tokens(
    model: LanguageModel, dictionary: Dictionary, latents: Sequence[int], count: int = 10
) -> list[tuple[list[str], list[str]]]:
    """For each latent the tokens whose logits its direction raises and lowers most, straight through the unembedding."""
    logits = logits_of(model, dictionary, latents)
    raised, lowered = logits.topk(count).indices, logits.topk(count, largest=False).indices
    return [(model.strings(up), model.strings(down)) for up, down in zip(raised, lowered, strict=True)]


@torch.no_grad()
def nearest_latents(
    dictionary: Dictionary, latents: Sequence[int], count: int = 5
) -> list[tuple[list[int], list[float]]]:
    """For each latent the others whose directions point most nearly the same way, with the cosines."""
    directions = torch.nn.functional.normalize(dictionary.directions.float(), dim=1)
    cosine = directions[list(latents)] @ directions.T
    cosine[torch.arange(len(latents)), list(latents)] = -2.0
    best = cosine.topk(min(count, len(directions) - 1))
    return [(ids.tolist(), values.tolist()) for ids, values in zip(best.indices, best.values, strict=True)]
