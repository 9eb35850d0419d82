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
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from analysis.monitoring.alarms import Alarm, Watch
from analysis.monitoring.reader import LevelReader
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

    def look(x: Tensor, keep: Tensor | None = None, offset: Any = 0) -> None:
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

    parts: dict[int, list[np.ndarray]] = {}
    try:
        with held.hooked({reader.hook_name: look}):
            yield seen
    finally:
        for row, found in parts.items():
            seen.levels[row] = np.concatenate(found)


def _ours(model: Any) -> LanguageModel:
    if isinstance(model, LanguageModel):
        return model
    from training.language_models.hugging_face import HuggingFaceModel

    return HuggingFaceModel(model)
