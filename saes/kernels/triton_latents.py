"""What the GPU's step does a latent at a time, in Triton: both weight gradients, Adam, and the decoder row's length.

A program sums the gradients of a latent in registers, from the rows in which it fires, and spends them at once: no
gradient is ever as large as the weights. Firings are sorted by latent, each latent has one program, and what is summed
is summed in the same order every time. Latents that fire in many rows would keep one program long after the others are
done; whole spans of ``SPAN`` of their firings are therefore summed before, each by a program of its own.
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import BFloat16, Float, Int32
from torch import Tensor

from saes.kernels.triton_rows import row_shape

SPAN = 128
"""Firings of one latent that a program sums before the others start."""

PROGRAMS = 2048
"""Programs that share the latents; each leaves one partial sum for b_dec and for the norm."""


class SortedFirings(NamedTuple):
    """Firings in the order of their latents, and the vectors that their gradients are made of."""

    row: Int32[Tensor, " firing"]
    """Of ``left``; a row of ``x_in`` when below its length, else as many rows later: the rescue looks at rows again."""
    pull: Float[Tensor, " firing"]
    """What the firing adds of its row of ``left`` to the gradient of the latent's decoder row."""
    push: Float[Tensor, " firing"]
    """What it adds of its row of ``x_in`` to the gradient of the encoder's: the gradient of the pre-activation."""
    latent: Int32[Tensor, " firing"]
    """Ascending; d_sae for what fires nowhere."""
    offsets: Int32[Tensor, " latent_and_end"]
    """Where each latent begins."""
    left: Float[Tensor, "left_row d_in"]
    x_in: Float[Tensor, "row d_in"]


class LatentWeights(NamedTuple):
    """All that belongs to latents, a row each: weights with their first and second moments."""

    W_enc: tuple[Tensor, Tensor, Tensor]
    W_dec: tuple[Tensor, Tensor, Tensor]
    b_enc: tuple[Tensor, Tensor, Tensor]
    copy: BFloat16[Tensor, "d_sae d_in"]
    """W_enc rounded, for the product."""


class AdamRates(NamedTuple):
    """Adam's numbers at one step."""

    rate: float
    """Learning rate over the first moment's bias correction."""
    root: float
    """Square root of the second moment's bias correction."""
    fresh1: float
    """The share of the new gradient in the first moment, 1 - beta1: taken in float64, where it still has all digits."""
    beta2: float
    fresh2: float
    """1 - beta2."""
    eps: float

    @classmethod
    def at(cls, step: int, lr: float, betas: tuple[float, float], eps: float) -> "AdamRates":
        """Those of the step of that number; the first has number 1."""
        beta1, beta2 = betas
        return cls(lr / (1 - beta1**step), math.sqrt(1 - beta2**step), 1 - beta1, beta2, 1 - beta2, eps)


class LatentSums(NamedTuple):
    """What the gradients of all latents leave for the rest of the step."""

    b_enc_part: Float[Tensor, " d_in"]
    """Sum over latents of b_enc's gradient times the encoder row: how b_dec acts through the encoder's input."""
    squares: Float[Tensor, ""]
    """Squared norm of the gradients of W_enc, W_dec and b_enc."""


def sum_spans(firings: SortedFirings) -> tuple[Float[Tensor, "span two d_in"], Float[Tensor, " span"]]:
    """Gradients of the encoder and decoder row, and of b_enc, over every span that belongs to one latent.

    The others are left as they are in memory: nothing reads them.
    """
    d_in, device = firings.left.shape[1], firings.left.device
    spans = len(firings.latent) // SPAN
    rows = torch.empty(spans, 2, d_in, dtype=torch.float32, device=device)
    biases = torch.empty(spans, dtype=torch.float32, device=device)
    if spans:
        _sum_spans[(spans,)](
            *firings[:4], firings.left, firings.x_in, rows, biases,
            len(firings.offsets) - 1, len(firings.x_in), d_in, SPAN=SPAN, **row_shape(d_in, tiles=2),
        )  # fmt: skip
    return rows, biases


def latent_pass(
    firings: SortedFirings,
    spans: tuple[Tensor, Tensor],
    weights: LatentWeights,
    adam: AdamRates | None,
    scale: Float[Tensor, ""],
) -> LatentSums:
    """The gradients of every latent; with ``adam`` also its step down ``scale`` times them, in place."""
    d_sae, d_in = weights.copy.shape
    programs = min(d_sae, PROGRAMS)
    parts = torch.empty(programs, d_in, dtype=torch.float32, device=scale.device)
    squares = torch.empty(programs, dtype=torch.float32, device=scale.device)
    _latent_pass[(programs,)](
        firings.row, firings.pull, firings.push, firings.offsets, firings.left, firings.x_in, *spans,
        *weights.W_enc, *weights.W_dec, *weights.b_enc, weights.copy, scale, parts, squares,
        *(adam or AdamRates.at(1, 0.0, (0.9, 0.999), 1e-8)), d_sae, len(firings.x_in), d_in, programs,
        LEARN=adam is not None, SPAN=SPAN, **row_shape(d_in, tiles=2),
    )  # fmt: skip
    return LatentSums(parts.sum(0), squares.sum())


# ---- kernels


@triton.jit
def _sum_spans(
    row_of, pull, push, latent, left, x_in, span_rows, span_biases, d_sae, rows, d_in,
    SPAN: tl.constexpr, BLOCK_D: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    span = tl.program_id(0)
    first = span * SPAN
    whose = tl.load(latent + first)
    if (whose == tl.load(latent + first + SPAN - 1)) & (whose < d_sae):
        column = tl.arange(0, BLOCK_D)
        enc, dec = tl.zeros([BLOCK_D], tl.float32), tl.zeros([BLOCK_D], tl.float32)
        bias = tl.full([], 0.0, tl.float32)
        enc, dec, bias = _add_firings(
            enc, dec, bias, first, first + SPAN, row_of, pull, push, left, x_in, rows, d_in, column, TILE
        )
        to = span_rows + span.to(tl.int64) * 2 * d_in + column
        tl.store(to, enc, mask=column < d_in)
        tl.store(to + d_in, dec, mask=column < d_in)
        tl.store(span_biases + span, bias)


@triton.jit
def _latent_pass(
    row_of, pull, push, offsets, left, x_in, span_rows, span_biases,
    W_enc, enc_first, enc_second, W_dec, dec_first, dec_second, b_enc, bias_first, bias_second, copy,
    scale, parts, squares, rate, root, fresh1, beta2, fresh2, eps, d_sae, rows, d_in, programs,
    LEARN: tl.constexpr, SPAN: tl.constexpr, BLOCK_D: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, BLOCK_D)
    inside = column < d_in
    part, square = tl.zeros([BLOCK_D], tl.float32), tl.full([], 0.0, tl.float32)
    shrink = tl.load(scale)
    for latent in range(tl.program_id(0), d_sae, programs):
        begin, end = tl.load(offsets + latent), tl.load(offsets + latent + 1)
        at = tl.cast(latent, tl.int64) * d_in + column
        enc, dec = tl.zeros([BLOCK_D], tl.float32), tl.zeros([BLOCK_D], tl.float32)
        bias = tl.full([], 0.0, tl.float32)
        if begin < end:
            # [begin, whole) and [rest, end) firing by firing; between them whole spans.
            whole = tl.minimum(end, (begin + SPAN - 1) // SPAN * SPAN)
            rest = tl.maximum(whole, end // SPAN * SPAN)
            enc, dec, bias = _add_firings(
                enc, dec, bias, begin, whole, row_of, pull, push, left, x_in, rows, d_in, column, TILE
            )
            for span in range(whole // SPAN, rest // SPAN):
                summed = span_rows + tl.cast(span, tl.int64) * 2 * d_in + column
                enc += tl.load(summed, mask=inside, other=0.0)
                dec += tl.load(summed + d_in, mask=inside, other=0.0)
                bias += tl.load(span_biases + span)
            enc, dec, bias = _add_firings(
                enc, dec, bias, rest, end, row_of, pull, push, left, x_in, rows, d_in, column, TILE
            )
            part += bias * tl.load(W_enc + at, mask=inside, other=0.0)
            square += tl.sum(enc * enc + dec * dec, 0) + bias * bias
        if LEARN:
            enc *= shrink
            dec *= shrink
            bias *= shrink
            weights = _adam(
                W_enc + at, enc_first + at, enc_second + at, enc, inside, rate, root, fresh1, beta2, fresh2, eps
            )
            tl.store(W_enc + at, weights, mask=inside)
            tl.store(copy + at, weights.to(tl.bfloat16), mask=inside)
            weights = _adam(
                b_enc + latent, bias_first + latent, bias_second + latent, bias, latent < d_sae,
                rate, root, fresh1, beta2, fresh2, eps,
            )  # fmt: skip
            tl.store(b_enc + latent, weights)
            # Without its part along the row, which renormalising takes back, Adam's moments hold only what can be learned.
            direction = tl.load(W_dec + at, mask=inside, other=0.0)
            dec -= tl.sum(dec * direction, 0) * direction
            weights = _adam(
                W_dec + at, dec_first + at, dec_second + at, dec, inside, rate, root, fresh1, beta2, fresh2, eps
            )
            length = tl.sqrt(tl.sum(weights * weights, 0))
            tl.store(W_dec + at, weights / tl.maximum(length, 1e-12), mask=inside)
    tl.store(parts + tl.program_id(0).to(tl.int64) * d_in + column, part, mask=inside)
    tl.store(squares + tl.program_id(0), square)


@triton.jit
def _add_firings(
    enc, dec, bias, begin, end, row_of, pull, push, left, x_in, rows, d_in, column, TILE: tl.constexpr
):  # fmt: skip
    """The gradients of the encoder and decoder row and of b_enc, with those of some more firings of the latent."""
    for first in range(begin, end, TILE):
        place = first + tl.arange(0, TILE)
        there = place < end
        row = tl.load(row_of + place, mask=there, other=0).to(tl.int64)
        pulled, pushed = tl.load(pull + place, mask=there, other=0.0), tl.load(push + place, mask=there, other=0.0)
        inside = there[:, None] & (column < d_in)[None, :]
        lefts = tl.load(left + row[:, None] * d_in + column[None, :], mask=inside, other=0.0)
        row = tl.where(row < rows, row, row - rows)
        inputs = tl.load(x_in + row[:, None] * d_in + column[None, :], mask=inside, other=0.0)
        dec += tl.sum(lefts * pulled[:, None], 0)
        enc += tl.sum(inputs * pushed[:, None], 0)
        bias += tl.sum(pushed, 0)
    return enc, dec, bias


@triton.jit
def _adam(weights, first, second, grad, inside, rate, root, fresh1, beta2, fresh2, eps):
    """The weights after one step of Adam, whose moments it writes (arXiv:1412.6980, as torch.optim.Adam has it)."""
    moment = tl.load(first, mask=inside, other=0.0)
    moment += (grad - moment) * fresh1
    spread = tl.load(second, mask=inside, other=0.0) * beta2 + grad * grad * fresh2
    tl.store(first, moment, mask=inside)
    tl.store(second, spread, mask=inside)
    return tl.load(weights, mask=inside, other=0.0) - rate * moment / (tl.sqrt(spread) / root + eps)
