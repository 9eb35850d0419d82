"""One stream of activations for all ranks, of which each rank runs the language model for its share.

Every rank then holds the same rows in the same order as one process would, shuffles them alike and takes its part of
each batch. Where ranks are to read texts or shards of their own instead, this is the place: their rows then go to the
training step as they are, without ``Axes.own``.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor
from torch import distributed as dist

from training.activations.batch import ActivationBatch
from training.activations.harvest import harvest, harvested, within_reach
from training.language_models.language_model import LanguageModel, Tokens
from training.ranks import Ranks


def shared_harvest(
    model: LanguageModel, hook_name: str, token_batches: Iterable[Tokens], ranks: Ranks
) -> Iterator[ActivationBatch]:
    """What ``harvest`` gives, batch for batch; each batch is read by one rank, which sends the others what it saw."""
    if ranks.size == 1:
        return harvest(model, hook_name, token_batches)
    model.width(hook_name)  # an unknown place is an error before any text is read
    return _shared(model, hook_name, iter(token_batches), ranks)


def _shared(
    model: LanguageModel, hook_name: str, token_batches: Iterator[Tokens], ranks: Ranks
) -> Iterator[ActivationBatch]:
    number = 0
    while round_of := list(islice(token_batches, ranks.size)):
        mine = ranks.axes.world.rank
        own = harvested(model, hook_name, round_of[mine], number + mine) if mine < len(round_of) else None
        vectors = [_room(model, hook_name, tokens) for tokens in round_of]
        if own is not None:
            vectors[mine] = own.vectors.contiguous()
        for owner, sent in enumerate(vectors):
            dist.broadcast(sent.view(torch.uint8), src=owner)  # bytes: every backend knows those
        for tokens, received in zip(round_of, vectors, strict=True):
            tokens = tokens.to(model.device)
            yield ActivationBatch(tokens, received, within_reach(received.float().norm(dim=-1), tokens.keep))
        number += len(round_of)


def _room(model: LanguageModel, hook_name: str, tokens: Tokens) -> Tensor:
    return torch.empty(*tokens.ids.shape, model.width(hook_name), dtype=model.dtype, device=model.device)
