"""A shuffle buffer: batches of activations in, rows in random order out, and a state from which it goes on exactly."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

Rows = Mapping[str, Float[Tensor, "row d_in"]]
"""The same tokens' activations at every site: hook name -> rows."""


@dataclass
class ShuffleState:
    """Where a shuffle stands; ``shuffled_rows`` keeps it up to date between any two of its yields."""

    batches_taken: int = 0
    """How many batches of the stream have gone in whole: to resume, give ``shuffled_rows`` the stream from there on."""
    rows_taken: int = 0
    """How many rows of the next batch have gone in, too."""
    rounds: int = 0
    """How often an order was drawn in which slots give out their rows."""
    position: int = 0
    """How many slots of that order have done so."""
    ended: bool = False
    """Whether the stream is over, so that this round is the last."""
    rows: dict[str, Tensor] = field(default_factory=dict)
    """hook name -> the slots, [slot, d_in]; empty before the first row."""
    left: Int32[Tensor, " slot"] | None = None
    """How often each slot's row is still to come (in the last round: was, when it began); on the CPU."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs, as tensors and numbers. The slots are no copy: save them before going on."""
        return {**vars(self), "rows": {name: slots.detach().cpu() for name, slots in self.rows.items()}}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], device: torch.device | str = "cpu") -> "ShuffleState":
        """The state again, with its slots on ``device``."""
        return cls(**{**state, "rows": {name: slots.to(device) for name, slots in state["rows"].items()}})


def shuffled_rows(
    batches: Iterable[Rows],
    buffer_rows: int,
    batch_rows: int,
    seed: int | str = 0,
    state: ShuffleState | None = None,
    repeats: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Iterator[dict[str, Float[Tensor, "row d_in"]]]:
    """All rows of ``batches`` as float32, ``batch_rows`` at a time, in an order that depends on ``seed`` alone.

    Rows stay aligned: the n-th row of one site and the n-th of another come from the same token. Each row comes
    ``repeats`` times: where reading a row costs more than learning from it, that is time well spent.

    The buffer is a block of ``buffer_rows`` slots (in ``dtype``), allocated once. A random order of the slots is drawn;
    half of them, in that order, give out their rows and get the next ones of the stream in their place; then a new
    order is drawn. So a row is written and read, and nothing else is ever moved; it waits for its round to end, and
    then for several rounds or none. The last batch may be smaller.
    """
    if not 1 <= batch_rows <= buffer_rows // 2:
        raise ValueError(f"a batch of {batch_rows} rows needs a buffer of at least {2 * batch_rows}, got {buffer_rows}")
    state = ShuffleState() if state is None else state
    unread = _Unread(iter(batches), state)
    if state.left is None:
        state.left = torch.zeros(buffer_rows, dtype=torch.int32)
        _fill(state, torch.arange(buffer_rows), unread, repeats, dtype)
    order = _order(state, batch_rows, seed)
    while state.rows:
        if state.position >= len(order):
            if state.ended:
                return
            state.rounds, state.position = state.rounds + 1, 0
            order = _order(state, batch_rows, seed)
        slots = order[state.position : state.position + batch_rows]
        state.position += len(slots)
        batch = {name: rows[slots.to(rows.device)].float() for name, rows in state.rows.items()}
        if not state.ended:
            state.left[slots] -= 1
            _fill(state, slots[state.left[slots] == 0], unread, repeats, dtype)
            if state.ended:
                order = _order(state, batch_rows, seed)
        yield batch


class _Unread:
    """The rest of the stream, a few rows at a time."""

    def __init__(self, batches: Iterator[Rows], state: ShuffleState):
        self.batches, self.state = batches, state
        self.batch: Rows | None = None

    def take(self, most: int) -> Rows | None:
        """The next rows, at most so many; None at the end."""
        state = self.state
        while self.batch is None:
            self.batch = next(self.batches, None)
            if self.batch is None:
                return None
            self._done_with_a_whole_batch()
        start = state.rows_taken
        part = {name: rows[start : start + most] for name, rows in self.batch.items()}
        state.rows_taken += count(part)
        self._done_with_a_whole_batch()
        return part

    def _done_with_a_whole_batch(self) -> None:
        if self.batch is not None and self.state.rows_taken >= count(self.batch):
            self.batch, self.state.rows_taken = None, 0
            self.state.batches_taken += 1


def count(rows: Rows) -> int:
    """How many tokens these are the activations of."""
    return len(next(iter(rows.values())))


def _fill(
    state: ShuffleState, slots: Int64[Tensor, " slot"], unread: _Unread, repeats: int, dtype: torch.dtype
) -> None:
    """Give each of the slots the next row of the stream; where that ends, begin the last round."""
    assert state.left is not None
    while len(slots):
        part = unread.take(len(slots))
        if part is None:
            state.ended, state.rounds, state.position = True, state.rounds + 1, 0
            return
        here, slots = slots[: count(part)], slots[count(part) :]
        for name, rows in part.items():
            if name not in state.rows:
                state.rows[name] = torch.empty(len(state.left), rows.shape[1], dtype=dtype, device=rows.device)
            state.rows[name].index_copy_(0, here.to(rows.device), rows.to(dtype))
        state.left[here] = repeats


def _order(state: ShuffleState, batch_rows: int, seed: int | str) -> Int64[Tensor, " slot"]:
    """The slots in the order of this round: half of them, or all that the last round still has to give."""
    assert state.left is not None
    # torch's generator on the CPU looks at 32 bits of its seed, so both numbers have to go into those
    generator = torch.Generator().manual_seed(random.Random(f"{seed}/{state.rounds}").getrandbits(32))
    if state.ended:
        slots = torch.arange(len(state.left)).repeat_interleave(state.left)
        return slots[torch.randperm(len(slots), generator=generator)]
    slots = torch.randperm(len(state.left), generator=generator)
    return slots[: len(slots) // 2 // batch_rows * batch_rows].clone()  # whole batches, so that the small one is last
