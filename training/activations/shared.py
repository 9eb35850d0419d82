"""One stream of activations for all ranks, of which each rank runs the language model for its share.

Every rank then holds the same rows in the same order as one process would, shuffles them alike and takes its part of
each batch. Where ranks read shares of their own (the spec's ``reading``), nothing of this is needed: their rows go to the
training step as they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch import distributed as dist

from training.activations.batch import ActivationBatch
from training.activations.harvest import harvest, harvested_at, within_reach
from training.language_models.language_model import LanguageModel, Tokens
from training.ranks import Ranks


def shared_harvest(
    model: LanguageModel, hook_names: Sequence[str], token_batches: Iterable[Tokens], ranks: Ranks
) -> Iterator[dict[str, ActivationBatch]]:
    """What ``harvest`` gives, batch for batch; each batch is read by one rank, which sends the others what it saw."""
    if ranks.size == 1:
        return harvest(model, hook_names, token_batches)
    widths = {hook_name: model.width(hook_name) for hook_name in hook_names}  # an unknown place is an error at once
    return _shared(model, widths, iter(token_batches), ranks)


def _shared(
    model: LanguageModel, widths: dict[str, int], token_batches: Iterator[Tokens], ranks: Ranks
) -> Iterator[dict[str, ActivationBatch]]:
    number, mine = 0, ranks.axes.world.rank
    while round_of := list(islice(token_batches, ranks.size)):
        own = harvested_at(model, list(widths), round_of[mine], number + mine) if mine < len(round_of) else {}
        found = []
        for owner, tokens in enumerate(round_of):
            tokens = tokens.to(model.device)
            found.append(
                {name: _sent(model, tokens, width, own.get(name), owner, mine) for name, width in widths.items()}
            )
        yield from found  # after all of them were sent: nobody may be waiting for this rank while it does other things
        number += len(round_of)


def _sent(
    model: LanguageModel, tokens: Tokens, width: int, own: ActivationBatch | None, owner: int, mine: int
) -> ActivationBatch:
    """One batch at one place, as its owner saw it."""
    if owner == mine:
        assert own is not None
        vectors = own.vectors.contiguous()
        assert vectors.dtype == model.dtype
    else:
        vectors = torch.empty(*tokens.ids.shape, width, dtype=model.dtype, device=model.device)
    dist.broadcast(_bytes(vectors), src=owner)
    return ActivationBatch(tokens, vectors, within_reach(vectors.float().norm(dim=-1), tokens.keep))


def _bytes(tensor: Tensor) -> Tensor:
    """The same memory as bytes, which every backend knows."""
    return tensor.view(torch.uint8)
