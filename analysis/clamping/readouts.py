"""Readouts of a text under a clamp: the model's own probability of every concept's words, how far its predictions moved,
and what the text costs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from training.language_models.language_model import Hook, LanguageModel, Tokens


def readout_ids(model: LanguageModel, words: Sequence[str]) -> list[int]:
    """The tokens that stand for the readout words as they begin after a space.

    Words that are one token are taken where there are at least two of them: a piece such as " s" begins thousands of
    words. Otherwise the first token of every word. Raises ValueError where the tokenizer makes nothing of the words.
    """
    pieces = [_plain(model, " " + word) for word in words]
    whole = [ids[0] for ids in pieces if len(ids) == 1]
    ids = whole if len(set(whole)) >= 2 else [ids[0] for ids in pieces if ids]
    if not ids:
        raise ValueError(f"the tokenizer of {model.name} makes no token of the readout words {', '.join(words)}")
    return sorted(set(ids))


@dataclass(frozen=True)
class ReadoutWords:
    """The tokens that stand for each concept's words."""

    ids: Int64[Tensor, " word"]
    member: Float[Tensor, "word concept"]
    """1 where the token stands for the concept."""


def readout_words(model: LanguageModel, words: Sequence[Sequence[str]]) -> ReadoutWords:
    """`words` of each concept -> their tokens."""
    groups = [readout_ids(model, group) for group in words]
    ids = sorted({token for group in groups for token in group})
    place = {token: number for number, token in enumerate(ids)}
    member = torch.zeros(len(ids), len(groups))
    for concept, group in enumerate(groups):
        member[[place[token] for token in group], concept] = 1.0
    return ReadoutWords(torch.tensor(ids, device=model.device), member.to(model.device))


@dataclass(frozen=True)
class NextTokens:
    """What may come next at the positions of fixed texts, those of all texts one after another."""

    log_probs: Float[Tensor, "position vocab"]
    text: Int64[Tensor, " position"]

    def of_words(self, words: ReadoutWords) -> Float[Tensor, "text concept"]:
        """log of the probability that the next token is one of a concept's words, averaged over a text's positions."""
        chance = self.log_probs[:, words.ids].exp() @ words.member
        return self._mean(chance.clamp(min=torch.finfo(chance.dtype).tiny).log())

    def kl(self, other: Float[Tensor, "position vocab"]) -> Float[Tensor, " text"]:
        """KL(these || other) in nats, averaged over a text's positions."""
        return self._mean((self.log_probs.exp() * (self.log_probs - other)).sum(-1, keepdim=True))[:, 0]

    def of_each(self) -> list[Float[Tensor, "position vocab"]]:
        """The log-probabilities text by text."""
        return list(self.log_probs.split(torch.bincount(self.text).tolist()))

    def _mean(self, values: Float[Tensor, "position n"]) -> Float[Tensor, "text n"]:
        count = torch.bincount(self.text)
        return values.new_zeros(len(count), values.shape[1]).index_add_(0, self.text, values) / count[:, None]


def next_tokens(
    model: LanguageModel,
    prompts: Sequence[str],
    fixed: Sequence[str],
    most_tokens: int,
    hooks: Mapping[str, Hook] | None = None,
) -> NextTokens:
    """What may come next along fixed texts, the same with and without a clamp, so that only the clamp differs.

    `fixed` is what stands after each prompt; at most its first `most_tokens` are read, and the position right after the
    prompt always counts. Only those positions become float32.
    """
    starts = _lengths(model.tokenise(list(prompts), add_bos=False))
    tokens, shift = _joined(model, prompts, fixed)
    stops = _lengths(tokens).minimum(starts + shift + most_tokens)
    width = int(stops.max())
    tokens = Tokens(tokens.ids[:, :width], tokens.keep[:, :width], stops)
    logits = model.logits(tokens, hooks)
    place = torch.arange(width)
    wanted = (place >= (starts + shift).minimum(stops)[:, None] - 1) & (place < stops[:, None])  # from the prompt's end
    text, position = (part.to(logits.device) for part in wanted.nonzero(as_tuple=True))
    return NextTokens(logits[text, position].float().log_softmax(-1), text)


def text_cost(model: LanguageModel, prompts: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, " text"]:
    """Nats per token of each text after its prompt, for the unclamped model; NaN for a text without a token."""
    starts = _lengths(model.tokenise(list(prompts), add_bos=False)).tolist()
    tokens, shift = _joined(model, prompts, texts)
    log_probs: Tensor = model.log_probs(tokens)
    costs = []
    for row, start, stop in zip(log_probs, starts, _lengths(tokens), strict=True):
        written = row[start + shift : int(stop)]
        costs.append(-float(written.mean()) if len(written) else float("nan"))
    return np.array(costs)


def sum_log_prob(
    model: LanguageModel, contexts: Sequence[str], words: str, hooks: Mapping[str, Hook] | None = None
) -> Float[np.ndarray, " text"]:
    """log p of `words` as a whole after each context."""
    starts = _lengths(model.tokenise(list(contexts), add_bos=False)).tolist()
    tokens, shift = _joined(model, contexts, [words] * len(contexts))
    log_probs = model.log_probs(tokens, hooks)
    ends = _lengths(tokens).tolist()
    return np.array(
        [float(row[start + shift : end].sum()) for row, start, end in zip(log_probs, starts, ends, strict=True)]
    )


def n_tokens(model: LanguageModel, text: str) -> int:
    """Tokens of a text, those that the model puts before it included."""
    return int(_lengths(model.tokenise([text]))[0])


def _joined(model: LanguageModel, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tokens, int]:
    """Prompts with their texts as tokens, and how many tokens the model puts before a text by itself."""
    tokens = model.tokenise([prompt + text for prompt, text in zip(prompts, texts, strict=True)])
    plain = model.tokenise([prompts[0] + texts[0]], add_bos=False)
    return tokens, int(_lengths(tokens)[0] - _lengths(plain)[0])


def _plain(model: LanguageModel, text: str) -> list[int]:
    tokens = model.tokenise([text], add_bos=False)
    return tokens.ids[0].tolist()


def _lengths(tokens: Tokens) -> Tensor:
    return tokens.real.sum(dim=1)
