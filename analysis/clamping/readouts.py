"""Readouts of a text under a clamp: the model's own probability of a concept's words, and what the text costs it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
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


def word_log_probs(
    model: LanguageModel,
    prompts: Sequence[str],
    fixed: Sequence[str],
    ids: Sequence[int],
    most_tokens: int,
    hooks: Mapping[str, Hook] | None = None,
) -> Float[np.ndarray, " text"]:
    """log of the probability that the next token is one of `ids`, averaged over the positions of a fixed text.

    `fixed` is what stands after each prompt, the same with and without a clamp, so that only the clamp differs; at most
    its first `most_tokens` are read, and the position right after the prompt always counts.
    """
    starts = [len(_plain(model, prompt)) for prompt in prompts]
    tokens, shift = _joined(model, prompts, fixed)
    stops = [
        min(int(length), start + shift + most_tokens) for start, length in zip(starts, _lengths(tokens), strict=True)
    ]
    width = max(stops)
    tokens = Tokens(tokens.ids[:, :width], tokens.keep[:, :width], torch.tensor(stops))
    logits = model.logits(tokens, hooks)
    chosen = torch.as_tensor(list(ids), device=logits.device)
    means = []
    for row, start, stop in zip(logits, starts, stops, strict=True):
        here = row[
            min(start + shift, stop) - 1 : stop
        ].float()  # [position, vocab]: the one that ends the prompt, then on
        means.append((here[:, chosen].logsumexp(-1) - here.logsumexp(-1)).mean())
    return torch.stack(means).cpu().numpy()


def text_cost(model: LanguageModel, prompts: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, " text"]:
    """Nats per token of each text after its prompt, for the unclamped model; NaN for a text without a token."""
    starts = [len(_plain(model, prompt)) for prompt in prompts]
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
    starts = [len(_plain(model, context)) for context in contexts]
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
