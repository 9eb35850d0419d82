"""Writing text with a KV cache: a plain loop over a model's forward pass, with a random stream for each row."""

import random
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

HEAD = 256
"""Tokens that are sorted first when one is drawn; the whole vocabulary only where these do not hold `top_p`."""

Forward = Callable[[Int64[Tensor, "row token"]], Float[Tensor, "row vocab"]]
"""Reads the next tokens of every row (the whole prompt first, then one at a time) and says what may follow the last."""

Told = Callable[[list[int | None]], bool | None]
"""Is given each row's new token as soon as it is drawn, None for a row that is closed; True ends the writing."""


@torch.no_grad()
def write(
    forward: Forward,
    prompts: Int64[Tensor, "row token"],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seeds: Sequence[str],
    ends: Int64[Tensor, " end"],
    stopped: Callable[[int, list[int]], bool] | None = None,
    told: Told | None = None,
) -> list[list[int]]:
    """The new tokens of each row, without the end token that closed it.

    ``stopped(row, tokens so far)`` may close a row earlier. A closed row goes through the motions until all are closed,
    so that the rows keep their places in the batch. ``told`` hears of every token.
    """
    rows = len(prompts)
    draws = drawn(seeds, max_new_tokens, prompts.device) if temperature > 0 else None
    written: list[list[int]] = [[] for _ in range(rows)]
    going = [True] * rows
    ending = set(ends.tolist())
    step = prompts
    for place in range(max_new_tokens):
        logits = forward(step).float()
        chosen = logits.argmax(-1) if draws is None else sample(logits, temperature, top_p, draws[:, place])
        fresh: list[int | None] = [None] * rows
        for row, token in enumerate(chosen.tolist()):
            if not going[row]:
                continue
            if token in ending:
                going[row] = False
                continue
            fresh[row] = token
            written[row].append(token)
            if stopped is not None and stopped(row, written[row]):
                going[row] = False
        if (told is not None and told(fresh)) or not any(going):
            break
        step = chosen[:, None]
    return written


def sample(
    logits: Float[Tensor, "row vocab"], temperature: float, top_p: float, draw: Float[Tensor, " row"]
) -> Int64[Tensor, " row"]:
    """One token a row from the likeliest ones that together hold ``top_p``; ``draw`` is uniform in [0, 1).

    The draw runs down the tokens from the likeliest one, so that two arms of an experiment with the same draws part
    only where their probabilities do.
    """
    probabilities = (logits / temperature).softmax(-1)
    head = probabilities.topk(min(HEAD, logits.shape[-1]), dim=-1)
    if bool((head.values.sum(-1) >= top_p).all()):  # the rest of the vocabulary cannot be drawn: leave it unsorted
        probabilities, tokens = head
    else:
        probabilities, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    below = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities * (below < top_p)
    reached = probabilities.cumsum(-1)
    place = (reached <= draw[:, None] * reached[:, -1:]).sum(-1)
    last = (probabilities > 0).sum(-1) - 1  # rounding must not carry the draw past the last possible token
    return tokens.gather(1, place.minimum(last)[:, None]).squeeze(1)


def drawn(seeds: Sequence[str], count: int, device: torch.device) -> Float[Tensor, "row draw"]:
    """Uniform numbers in [0, 1), a stream for each seed, the same on every device."""
    streams = [random.Random(seed) for seed in seeds]
    return torch.tensor([[stream.random() for _ in range(count)] for stream in streams], device=device)


def left_padded(
    rows: Sequence[Sequence[int]], fill: int
) -> tuple[Int64[Tensor, "row token"], Bool[Tensor, "row token"]]:
    """Prompts with their last tokens in one column, and where they are real."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), fill, dtype=torch.long)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        ids[place, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        real[place, width - len(row) :] = True
    return ids, real
