"""Writes a text left alone and clamped side by side, token by token, each with the levels of labels."""

import time
from typing import Any

import torch
from torch import Tensor

from analysis.browser.live.asked import Asked, Limits
from analysis.browser.live.engine import Emit, Work
from analysis.browser.live.subject import Subject
from analysis.monitoring.levels import Read
from saes.latent_statistics import LatentStatistics
from training.language_models import tokenising
from training.language_models.language_model import Tokens

ROWS = ("baseline", "clamped")
REACH = 6
"""Tokens that are read again to know how the next one reads: letters of several tokens, spaces that depend on the last."""


def bench_work(asked: Asked, statistics: LatentStatistics, limits: Limits) -> Work:
    """What the engine does for one request; see `write`."""
    return lambda subject, emit: write(subject, emit, asked, statistics, limits)


def write(subject: Subject, emit: Emit, asked: Asked, statistics: LatentStatistics, limits: Limits) -> dict[str, Any]:
    """Emits "new" for each step's tokens as soon as they are drawn, "read" with their levels when they were read.

    Levels are what the text so far wakes at the SAE's site, before the clamp acts there: in dose units (of a latent without
    a card, in its own activation units), {number in "concepts": level} for those above zero. Both rows go through the model
    together and draw the same random numbers, those of the first prompt of `saes clamp` under the same seed. "again" takes
    back the first token: it is drawn from the prompt read once by itself, so that it comes as soon as it would without a
    clamp, and read beside another row it can, by rounding, become another.
    """
    model, tokenizer = subject.model, subject.model.tokenizer
    prompt = subject.prompt_ids(asked)
    _check_length(prompt, asked, model.context, limits, model.name)
    subject.check_latents(asked.latents())
    further = _further(asked, statistics)
    room = len(prompt) + asked.tokens < model.context  # one token more, so that the last one is read, too
    waiting: list[Tensor] = []
    pieces = [Pieces(tokenizer, prompt) for _ in ROWS]
    written: list[list[int]] = [[] for _ in ROWS]
    fresh_before: list[int | None] = []
    step = 0
    started = time.perf_counter()
    drawn: dict[str, Any] = {"temperature": asked.temperature, "top_p": asked.top_p}
    stream = f"{asked.seed}/0"
    peeked: list[int | None] = []
    model.generate(_tokens(tokenizer, [prompt]), 1, seed=[stream], told=peeked.extend, **drawn)
    emit("new", {"step": 0, "text": [_piece(Pieces(tokenizer, prompt), peeked[0]), None]})
    levels = subject.levels(further)
    emit("concepts", {"concepts": list(levels.concepts)})

    def look(x: Tensor) -> None:
        waiting.append((x if step else x[:1]).clone())  # both rows begin with the same prompt

    def told(fresh: list[int | None]) -> bool:
        nonlocal fresh_before, step
        over = step == asked.tokens
        if not over:
            for row, token in enumerate(fresh):
                if token is not None:
                    written[row].append(token)
            texts = [_piece(one, token) for one, token in zip(pieces, fresh, strict=True)]
            if step == 0:
                if peeked == fresh[:1]:
                    texts[0] = None
                else:
                    emit("again", {})
            emit("new", {"step": step, "text": texts})
        read = _sparse(levels(waiting.pop()))
        if step == 0:
            special = set(tokenizer.all_special_ids)
            told_levels = [{} if token in special else one for token, one in zip(prompt, read[0], strict=True)]
            strings = [
                "" if token == tokenizer.bos_token_id else one
                for token, one in zip(prompt, model.strings(prompt), strict=True)
            ]
            emit("prompt", {"text": strings, "levels": told_levels})
        else:
            rows = [row[0] if before is not None else None for row, before in zip(read, fresh_before, strict=True)]
            emit("read", {"step": step - 1, "levels": rows})
        fresh_before = fresh
        step += 1
        return over

    hooks = subject.clamped_hooks(asked, statistics, look)
    rows = _tokens(tokenizer, [prompt] * len(ROWS))
    model.generate(rows, asked.tokens + room, seed=[stream] * len(ROWS), hooks=hooks, told=told, **drawn)
    texts = {name: tokenising.continuation(tokenizer, prompt, row) for name, row in zip(ROWS, written, strict=True)}
    counts = [len(row) for row in written]
    return {**texts, "tokens": counts, "seconds": round(time.perf_counter() - started, 3)}


class Pieces:
    """What each token adds to a text: letters that several tokens make together come with the last of them."""

    def __init__(self, tokenizer: Any, prompt: list[int]):
        self.tokenizer, self.ids = tokenizer, list(prompt)
        self.start, self.shown = max(0, len(prompt) - REACH), len(prompt)

    def add(self, token: int) -> str:
        self.ids.append(token)
        before, after = (self._text(self.ids[self.start : stop]) for stop in (self.shown, len(self.ids)))
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self.start, self.shown = max(self.start, self.shown - REACH), len(self.ids)
        return after[len(before) :]

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def _tokens(tokenizer: Any, rows: list[list[int]]) -> Tokens:
    ids = torch.tensor(rows)
    return Tokens(ids, ~torch.isin(ids, tokenising.special_ids(tokenizer)))


def _piece(pieces: Pieces, token: int | None) -> str | None:
    return None if token is None else pieces.add(token)


def _sparse(levels: Tensor) -> list[list[dict[int, float]]]:
    """[row, token] of {label: level above zero}."""
    found: list[list[dict[int, float]]] = [[{} for _ in range(levels.shape[1])] for _ in range(levels.shape[0])]
    at = levels.nonzero()
    for (row, token, label), level in zip(at.tolist(), levels[tuple(at.T)].tolist(), strict=True):
        found[row][token][label] = round(level, 3)
    return found


def _further(asked: Asked, statistics: LatentStatistics) -> list[Read]:
    """What is clamped and may be no label that held: labels by name, latents by number."""
    found = []
    for edit in asked.edits():
        if edit.label:
            units = statistics.label(edit.label)
            found.append(Read(edit.label, units.latents, units.units))
        else:
            (latent,) = edit.latents
            unit = statistics.active[latent].percentile(95.0) if latent in statistics.active else 1.0
            found.append(Read(f"latent {latent}", (latent,), (unit,)))
    return list({one.concept: one for one in found}.values())


def _check_length(prompt: list[int], asked: Asked, context: int, limits: Limits, name: str) -> None:
    if not prompt:
        raise ValueError("the prompt holds no token: write something")
    if len(prompt) > limits.prompt_tokens:
        raise ValueError(f"the prompt has {len(prompt)} tokens: {limits.prompt_tokens} at most can be written on from")
    if len(prompt) + asked.tokens > context:
        raise ValueError(
            f"a prompt of {len(prompt)} tokens and {asked.tokens} new ones do not fit into {name}'s context of {context}"
        )
