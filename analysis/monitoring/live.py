"""Levels of a model's own writing, token by token, while it writes.

reader = LevelReader.of_study(study, ["desperate", "calm"])
with monitored(reader, Watch([parse_rule("desperate > p99 for 20")], reference)) as seen:
    model.generate(...)
seen.levels[0]    # [token, label] of the first row, prompt included
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.monitoring.alarms import Alarm, Watch
from analysis.monitoring.reader import Block, LevelReader
from analysis.monitoring.transcript import Document, Turn
from training.language_models.language_model import LanguageModel


@dataclass
class Seen:
    """What was read so far, a list a row of the batch."""

    levels: list[Float[np.ndarray, "token label"]] = field(default_factory=list)
    alarms: list[list[Alarm]] = field(default_factory=list)


@contextmanager
def monitored(
    reader: LevelReader,
    watch: Watch | None = None,
    model: Any = None,
    on_alarm: Callable[[int, Alarm], None] | None = None,
) -> Iterator[Seen]:
    """Reads along with every forward pass inside: of the reader's own model, or of ``model``, a Hugging Face one.

    `on_alarm(row, alarm)` is called as soon as a rule begins to hold; what it raises ends the writing. Padding and special
    tokens are not read.
    """
    held = reader.model if model is None else _ours(model)
    seen, watches = Seen(), []

    def look(x: Tensor, keep: Tensor | None = None) -> Tensor:
        levels = reader.levels(x).cpu().numpy()
        kept = None if keep is None else keep.cpu().numpy()
        while len(seen.levels) < len(levels):
            seen.levels.append(np.zeros((0, levels.shape[-1]), np.float32))
            seen.alarms.append([])
            if watch is not None:
                fresh = copy(watch)
                fresh.begin()
                watches.append(fresh)
        for row, mine in enumerate(levels):
            mine = mine if kept is None else mine[kept[row]]
            parts[row].append(mine) if row in parts else parts.update({row: [mine]})
            if watch is None:
                continue
            for alarm in watches[row].feed(mine):
                seen.alarms[row].append(alarm)
                if on_alarm is not None:
                    on_alarm(row, alarm)
        return x

    parts: dict[int, list[np.ndarray]] = {}
    try:
        with held.hooked({reader.hook_name: look}):
            yield seen
    finally:
        for row, found in parts.items():
            seen.levels[row] = np.concatenate(found)


def written_live(
    reader: LevelReader, prompt: str, max_new_tokens: int, temperature: float = 0.7, top_p: float = 0.95, seed: int = 0
) -> tuple[Document, Iterator[Block]]:
    """A text that the reader's model writes on from `prompt`, and its blocks: one for the prompt, then one a token, each as
    soon as the model has read it. What goes wrong while it writes is raised where the blocks are taken."""
    return Document("", (Turn("text", 0, 0),)), _as_written(reader, prompt, max_new_tokens, temperature, top_p, seed)


def _as_written(
    reader: LevelReader, prompt: str, max_new_tokens: int, temperature: float, top_p: float, seed: int
) -> Iterator[Block]:
    found: Queue[tuple[list[int], np.ndarray] | BaseException | None] = Queue()
    model, special = reader.model, set(reader.model.tokenizer.all_special_ids)

    def look(x: Tensor, seen: Callable[[], Tensor] = lambda: torch.zeros(0)) -> Tensor:
        ids = seen()[0, -x.shape[1] :].tolist()
        found.put((ids, reader.levels(x[0]).cpu().numpy()))
        return x

    def write() -> None:
        try:
            (text,) = model.generate(
                [prompt],
                max_new_tokens,
                temperature,
                top_p,
                seed=seed,
                hooks={reader.hook_name: look},
                keep_prompt=True,
            )
            tokens = model.tokenise([text])  # the last token is written and not read by itself
            levels = reader.levels(model.activations(tokens.to(model.device), [reader.hook_name])[reader.hook_name])
            found.put(([int(tokens.ids[0, -1])], levels[0, -1:].cpu().numpy()))
            found.put(None)
        except BaseException as error:  # whatever it is belongs to whoever takes the blocks
            found.put(error)

    writer = Thread(target=write, daemon=True)
    writer.start()
    first = 0
    while (one := found.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        ids, levels = one
        levels[[token in special for token in ids]] = 0.0
        turns = np.array([-1 if token in special else 0 for token in ids])
        yield Block(first, model.strings(ids), turns, np.zeros((len(ids), 2), int), levels)
        first += len(ids)
    writer.join()


def _ours(model: Any) -> LanguageModel:
    if isinstance(model, LanguageModel):
        return model
    from training.language_models.hugging_face import HuggingFaceModel

    return HuggingFaceModel(model)
