"""The candidates of the encoder's bfloat16 product, found in Triton: the largest of each row, or of the whole batch.

A bfloat16 has 16 bits, so its order is that of a small integer, its key. A row is read as columns of ``GROUPS``
groups: as many values as groups reach the level that ``kept`` of the groups' maxima reach, and few more, so one pass
for the maxima and one for what reaches the level replace a sort. Wherever few groups hold too many of them, the level
is found exactly, by bisection over the keys.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import BFloat16, Bool, Int32, Int64
from torch import Tensor

GROUPS = 1024
"""Groups of a row, at least: with four times as many as are kept, few groups hold two of them."""

KEYS = 2**16
"""Keys that a bfloat16 can have."""

LOWEST = tl.constexpr(-(2**15) + 1)
HIGHEST = tl.constexpr(2**15 - 1)
NOTHING = tl.constexpr(-(2**15))  # the key of what must not win


def largest_of_rows(
    pre: BFloat16[Tensor, "row d_sae"], kept: int, allowed: Bool[Tensor, " d_sae"] | None = None
) -> Int32[Tensor, "row slot"]:
    """The columns of the ``kept`` largest values of each row, and of a few more; empty slots hold -1.

    With ``allowed``, only of those columns: fewer where there are not as many.
    """
    rows, d_sae = pre.shape
    slots = min(kept + kept // 4 + 8, d_sae)
    found = torch.full((rows, slots), -1, dtype=torch.int32, device=pre.device)
    mask = found if allowed is None else allowed.view(torch.int8)  # without a mask any pointer does: it is not read
    _largest_of_rows[(rows,)](
        pre.view(torch.int16), mask, found, d_sae, kept, slots, MASKED=allowed is not None, **_shape(kept, d_sae)
    )
    return found


def largest_of_batch(
    pre: BFloat16[Tensor, "row d_sae"], wanted: int
) -> tuple[Int32[Tensor, " wanted"], Int64[Tensor, " row_and_end"]]:
    """The columns of the ``wanted`` largest values of all rows together, row by row, and where each row begins.

    Of equal values at the end the first win, so the outcome is always the same.
    """
    rows, d_sae = pre.shape
    keys, shape = pre.view(torch.int16), _shape(-(-wanted // rows), d_sae)
    maxima = torch.empty(rows, shape["GROUPS"], dtype=torch.int16, device=pre.device)
    _group_maxima[(rows,)](keys, maxima, d_sae, **shape)
    floor = maxima.flatten().topk(wanted, sorted=False).values.min().int()
    counts = torch.zeros(KEYS, dtype=torch.int32, device=pre.device)
    _count_keys[(rows,)](keys, floor, counts, d_sae, **shape)

    reached = torch.nn.functional.pad(counts.flip(0).cumsum(0).flip(0), (0, 1))  # values at or above each key
    level = (reached >= wanted).sum() - 1
    ties_left = wanted - reached.gather(0, level[None] + 1)
    level = (level + int(NOTHING)).int()
    above, ties = torch.empty(2, rows, dtype=torch.int32, device=pre.device)
    _count_reached[(rows,)](keys, level, above, ties, d_sae, **shape)
    ties_taken = (ties_left - (ties.cumsum(0) - ties)).clamp(min=0).minimum(ties).int()
    offsets = torch.nn.functional.pad((above + ties_taken).cumsum(0), (1, 0))
    found = torch.empty(wanted, dtype=torch.int32, device=pre.device)
    _write_batch[(rows,)](keys, level, ties_taken, offsets, found, d_sae, **shape)
    return found, offsets


def _shape(kept: int, d_sae: int) -> dict[str, int]:
    groups = min(triton.next_power_of_2(d_sae), max(GROUPS, triton.next_power_of_2(4 * kept)))
    return {"GROUPS": groups, "num_warps": 4 if groups <= 2048 else 8}


# ---- kernels: one program a row


@triton.jit
def _largest_of_rows(
    pre, allowed, found, d_sae, kept, slots, MASKED: tl.constexpr, GROUPS: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    best = _maxima(pre, row, allowed, d_sae, MASKED, GROUPS)
    level, high = tl.full([], LOWEST, tl.int32), tl.full([], HIGHEST, tl.int32)
    for _ in range(16):  # the highest level that ``kept`` groups reach, or the lowest of all
        middle = (level + high + 1) >> 1
        enough = tl.sum((best >= middle).to(tl.int32), 0) >= kept
        level = tl.where(enough, middle, level)
        high = tl.where(enough, high, middle - 1)
    ties = slots
    if _reached(pre, row, allowed, level, d_sae, MASKED, GROUPS) > slots:
        high = tl.full([], HIGHEST, tl.int32)
        while level < high:
            middle = (level + high + 1) >> 1
            enough = _reached(pre, row, allowed, middle, d_sae, MASKED, GROUPS) >= kept
            level = tl.where(enough, middle, level)
            high = tl.where(enough, high, middle - 1)
        ties = slots - _reached(pre, row, allowed, level + 1, d_sae, MASKED, GROUPS)
    _write(pre, row, allowed, level, ties, found + row * slots, d_sae, MASKED, GROUPS)


@triton.jit
def _group_maxima(pre, maxima, d_sae, GROUPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best = _maxima(pre, row, pre, d_sae, False, GROUPS)
    tl.store(maxima + row * GROUPS + tl.arange(0, GROUPS), best.to(tl.int16))


@triton.jit
def _count_keys(pre, floor, counts, d_sae, GROUPS: tl.constexpr):
    # Whole numbers are added, in any order to the same sum: the only atomics there are.
    row = tl.program_id(0).to(tl.int64)
    level = tl.load(floor)
    for first in range(0, d_sae, GROUPS):
        key = _keys(pre, row, pre, first + tl.arange(0, GROUPS), d_sae, False)
        tl.atomic_add(counts + (key - NOTHING), 1, mask=(key >= level) & (key > NOTHING), sem="relaxed")


@triton.jit
def _count_reached(pre, level, above, ties, d_sae, GROUPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.load(level)
    higher = _reached(pre, row, pre, at + 1, d_sae, False, GROUPS)
    tl.store(above + row, higher)
    tl.store(ties + row, _reached(pre, row, pre, at, d_sae, False, GROUPS) - higher)


@triton.jit
def _write_batch(pre, level, ties_taken, offsets, found, d_sae, GROUPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    begin, ties = tl.load(offsets + row), tl.load(ties_taken + row)
    _write(pre, row, pre, tl.load(level), ties, found + begin, d_sae, False, GROUPS)


# ---- what they share


@triton.jit
def _keys(pre, row, allowed, column, d_sae, MASKED: tl.constexpr):
    """Whole numbers in the order of the bfloat16 values."""
    there = column < d_sae
    bits = tl.load(pre + row * d_sae + column, mask=there, other=0).to(tl.int32)
    if MASKED:
        there &= tl.load(allowed + column, mask=there, other=0) != 0
    return tl.where(there, tl.where(bits < 0, -(bits & 0x7FFF), bits), NOTHING)


@triton.jit
def _maxima(pre, row, allowed, d_sae, MASKED: tl.constexpr, GROUPS: tl.constexpr):
    """The highest key of each group."""
    best = tl.full([GROUPS], NOTHING, tl.int32)
    for first in range(0, d_sae, GROUPS):
        best = tl.maximum(best, _keys(pre, row, allowed, first + tl.arange(0, GROUPS), d_sae, MASKED))
    return best


@triton.jit
def _reached(pre, row, allowed, level, d_sae, MASKED: tl.constexpr, GROUPS: tl.constexpr):
    """How many keys of the row are ``level`` or higher."""
    count = tl.zeros([GROUPS], tl.int32)
    for first in range(0, d_sae, GROUPS):
        key = _keys(pre, row, allowed, first + tl.arange(0, GROUPS), d_sae, MASKED)
        count += (key >= level).to(tl.int32)
    return tl.sum(count, 0)


@triton.jit
def _write(pre, row, allowed, level, ties, found, d_sae, MASKED: tl.constexpr, GROUPS: tl.constexpr):
    """The columns above ``level`` and the first ``ties`` at it, in the order of columns."""
    written, met = tl.full([], 0, tl.int32), tl.full([], 0, tl.int32)
    for first in range(0, d_sae, GROUPS):
        column = first + tl.arange(0, GROUPS)
        key = _keys(pre, row, allowed, column, d_sae, MASKED)
        if tl.max(key, 0) >= level:
            tie = (key == level).to(tl.int32)
            wins = (key > level) | ((tie > 0) & (met + tl.cumsum(tie, 0) <= ties))
            place = written + tl.cumsum(wins.to(tl.int32), 0) - 1
            tl.store(found + place, column, mask=wins)
            written += tl.sum(wins.to(tl.int32), 0)
            met += tl.sum(tie, 0)
