"""Activations from a language model, batch after batch, without those that would only mislead an SAE."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.activations.batch import ActivationBatch
from training.language_models.language_model import LanguageModel, Tokens

SINK_FACTOR = 10.0
"""An activation so many times as long as the batch's median is an attention sink.

Models park attention on a token or two (mostly the first) whose activations grow to hundreds of times the length of
all others (arXiv:2309.17453, arXiv:2402.17762); a few of them would rule the SAE's loss and its scale. The median is
that of the batch, not a running one, so that what is kept does not depend on where a run was resumed.
"""


def harvest(
    model: LanguageModel, hook_names: Sequence[str], token_batches: Iterable[Tokens]
) -> Iterator[dict[str, ActivationBatch]]:
    """What passes each place for each batch of tokens, all in one forward pass that stops at the last of them.

    NaN or infinity is a ValueError that names the token.
    """
    for hook_name in hook_names:
        model.width(hook_name)  # an unknown place is an error before any text is read
    return (harvested_at(model, hook_names, tokens, number) for number, tokens in enumerate(token_batches))


def harvested(model: LanguageModel, hook_name: str, tokens: Tokens, number: int = 0) -> ActivationBatch:
    """The activations of one batch, which is the ``number``-th of its stream, at one place."""
    return harvested_at(model, [hook_name], tokens, number)[hook_name]


def harvested_at(
    model: LanguageModel, hook_names: Sequence[str], tokens: Tokens, number: int = 0
) -> dict[str, ActivationBatch]:
    """The same at several places."""
    tokens = tokens.to(model.device)
    found = {}
    for hook_name, vectors in model.activations(tokens, hook_names).items():
        lengths = vectors.float().norm(dim=-1)
        wrong = tokens.keep & ~lengths.isfinite()
        if bool(wrong.any()):
            raise not_finite_error(model, hook_name, tokens, wrong, f" in batch {number}")
        found[hook_name] = ActivationBatch(tokens, vectors, within_reach(lengths, tokens.keep))
    return found


def aligned(found: Mapping[str, ActivationBatch], hook_names: Sequence[str]) -> dict[str, ActivationBatch]:
    """What was found at ``hook_names``, keeping only those tokens that are kept at every place of ``found``."""
    keep = torch.stack([batch.keep for batch in found.values()]).all(0)
    return {name: found[name]._replace(keep=keep) for name in hook_names}


def within_reach(
    lengths: Float[Tensor, "window token"], keep: Bool[Tensor, "window token"]
) -> Bool[Tensor, "window token"]:
    """``keep`` without the attention sinks, going by the lengths of the activations."""
    if not bool(keep.any()):
        return keep
    return keep & (lengths <= SINK_FACTOR * lengths[keep].median())


def not_finite_error(
    model: LanguageModel,
    hook_name: str,
    tokens: Tokens,
    wrong: Bool[Tensor, "window token"],
    batch: str = "",
    first_text: int = 0,
) -> ValueError:
    """The error that names the first token whose activation is ``wrong``; its texts are counted from ``first_text``."""
    text, token = (int(place) for place in wrong.nonzero()[0])
    word = model.strings(tokens.ids[text, token : token + 1].cpu())[0]
    return ValueError(
        f"the activation at {hook_name} is NaN or infinite at token {token} ({word!r}) of text {first_text + text}"
        f"{batch} ({int(wrong.sum())} such there): {model.name} cannot be read in "
        f"{str(model.dtype).removeprefix('torch.')}"
    )
