"""A shuffle buffer: batches of activations in, rows in random order out, and a state from which it goes on exactly."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from training.activations.batch import ActivationBatch


@dataclass
class ShuffleState:
    """Where a shuffle stands; ``shuffled_rows`` keeps it up to date between any two of its yields."""

    batches_taken: int = 0
    """How many batches of the stream have gone in: to resume, give ``shuffled_rows`` the stream from there on."""
    refills: int = 0
    rows: Tensor | None = None
    """[row, d_in] in the buffer, in the order in which they come out until it is filled up and shuffled again."""
    before_refill: int = 0
    """How many of them come out before that."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs, as tensors and numbers; the rows are a copy."""
        rows = None if self.rows is None else self.rows.detach().cpu().clone()
        return {**vars(self), "rows": rows}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "ShuffleState":
        return cls(**state)


def shuffled_rows(
    batches: Iterable[ActivationBatch | Float[Tensor, "row d_in"]],
    buffer_rows: int,
    batch_rows: int,
    seed: int = 0,
    state: ShuffleState | None = None,
    repeats: int = 1,
) -> Iterator[Float[Tensor, "row d_in"]]:
    """All rows of ``batches`` as float32, ``batch_rows`` at a time, in an order that depends on ``seed`` alone.

    Each row comes ``repeats`` times: where reading a row costs more than learning from it, that is time well spent.

    The buffer is filled to ``buffer_rows``, shuffled, and given out down to half; then it is filled and shuffled again.
    So neighbours in a text part ways, and a row waits for several refills or none. The last batch may be smaller.
    """
    if not 1 <= batch_rows <= buffer_rows // 2:
        raise ValueError(f"a batch of {batch_rows} rows needs a buffer of at least {2 * batch_rows}, got {buffer_rows}")
    state = ShuffleState() if state is None else state
    batches = iter(batches)
    while True:
        if state.before_refill == 0:
            ended = _refill(state, batches, buffer_rows, batch_rows, seed, repeats)
            if ended and (state.rows is None or not len(state.rows)):
                return
        assert state.rows is not None
        size = min(batch_rows, state.before_refill)
        batch, state.rows = state.rows[:size], state.rows[size:]
        state.before_refill -= size
        yield batch


def _refill(state: ShuffleState, batches: Iterator, buffer_rows: int, batch_rows: int, seed: int, repeats: int) -> bool:
    """Fill the buffer up and shuffle it; True where the stream has ended."""
    parts = [] if state.rows is None else [state.rows]
    held = sum(len(part) for part in parts)
    ended = False
    while held < buffer_rows and not ended:
        batch = next(batches, None)
        if batch is None:
            ended = True
            break
        state.batches_taken += 1
        rows = batch.rows() if isinstance(batch, ActivationBatch) else batch
        parts += [rows.float()] * repeats
        held += len(rows) * repeats
    if not parts:
        return ended
    rows = torch.cat(parts)
    # torch's generator on the CPU looks at 32 bits of its seed, so both numbers have to go into those
    mixed = random.Random(f"{seed}/{state.refills}").getrandbits(32)
    generator = torch.Generator().manual_seed(mixed)
    state.rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    state.refills += 1
    # whole batches only, so that the small one comes last
    state.before_refill = len(rows) if ended else max(1, len(rows) // 2 // batch_rows) * batch_rows
    return ended
