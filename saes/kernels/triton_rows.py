"""What the GPU's step computes a row of activations at a time, in Triton: exact scores, decoding, values' gradients.

A program holds its row in registers and reads the weights of the latents that fire there, ``TILE`` latents at a time.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int32, Int64
from torch import Tensor


def scores(
    x_in: Float[Tensor, "row d_in"],
    W_enc: Float[Tensor, "d_sae d_in"],
    b_enc: Float[Tensor, " d_sae"],
    latents: Int32[Tensor, " slot"],
    offsets: Int64[Tensor, " row_and_end"],
) -> Float[Tensor, " slot"]:
    """The float32 pre-activations of the latents of each row; -inf where a slot holds no latent (-1)."""
    found = torch.empty(latents.shape, dtype=torch.float32, device=latents.device)
    _scores[(len(x_in),)](x_in, W_enc, b_enc, latents, offsets, found, x_in.shape[1], **row_shape(x_in.shape[1]))
    return found


def decode_into(
    left: Float[Tensor, "row d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    values: Float[Tensor, " slot"],
    latents: Int32[Tensor, " slot"],
    offsets: Int64[Tensor, " row_and_end"],
    scale: Float[Tensor, ""],
) -> tuple[Float[Tensor, " row"], Float[Tensor, " slot"]]:
    """Add each row's decoded code to ``left``, in place; give the squared length of each row of it, and the gradient of
    every value where the gradient of ``left`` is ``scale`` times itself."""
    squares = torch.empty(len(left), dtype=torch.float32, device=left.device)
    value_grad = torch.empty_like(values)
    _decode_into[(len(left),)](
        left, W_dec, values, latents, offsets, scale, squares, value_grad, left.shape[1], **row_shape(left.shape[1])
    )
    return squares, value_grad


def row_shape(d_in: int, tiles: int = 1) -> dict[str, int]:
    """How a program lays out rows of ``d_in``: up to 64 numbers of all its tiles in each thread, and never so many
    threads that two hold the same number: one might read a weight that the other has written already.

    It follows from the sizes alone, not from a search by time: another shape adds in another order, and a run that is
    resumed must add in the same.
    """
    block = max(32, triton.next_power_of_2(d_in))
    warps = min(16, max(1, block * tiles // 512))
    return {"BLOCK_D": block, "TILE": min(16, max(1, 64 * 32 * warps // block // tiles)), "num_warps": warps}


# ---- kernels: one program a row


@triton.jit
def _scores(
    x_in, W_enc, b_enc, latents, offsets, found, d_in, BLOCK_D: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK_D)
    x = tl.load(x_in + row * d_in + column, mask=column < d_in, other=0.0)
    last = tl.load(offsets + row + 1)
    for first in range(tl.load(offsets + row), last, TILE):
        place = first + tl.arange(0, TILE)
        latent = tl.load(latents + place, mask=place < last, other=-1)
        weights = weight_rows(W_enc, latent, column, d_in)
        score = tl.sum(weights * x[None, :], 1) + tl.load(b_enc + latent, mask=latent >= 0, other=0.0)
        tl.store(found + place, tl.where(latent >= 0, score, float("-inf")), mask=place < last)


@triton.jit
def _decode_into(
    left, W_dec, values, latents, offsets, scale, squares, value_grad, d_in,
    BLOCK_D: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK_D)
    rest = tl.load(left + row * d_in + column, mask=column < d_in, other=0.0)
    begin, last = tl.load(offsets + row), tl.load(offsets + row + 1)
    for first in range(begin, last, TILE):
        place = first + tl.arange(0, TILE)
        latent = tl.load(latents + place, mask=place < last, other=-1)
        value = tl.load(values + place, mask=latent >= 0, other=0.0)
        rest += tl.sum(weight_rows(W_dec, latent, column, d_in) * value[:, None], 0)
    tl.store(left + row * d_in + column, rest, mask=column < d_in)
    tl.store(squares + row, tl.sum(rest * rest, 0))
    pull = rest * tl.load(scale)
    for first in range(begin, last, TILE):  # the same rows again, now mostly from the cache
        place = first + tl.arange(0, TILE)
        latent = tl.load(latents + place, mask=place < last, other=-1)
        grad = tl.sum(weight_rows(W_dec, latent, column, d_in) * pull[None, :], 1)
        tl.store(value_grad + place, grad, mask=place < last)


@triton.jit
def weight_rows(W, latent, column, d_in):
    """The rows of ``W`` of some latents; zeros for -1."""
    there = (latent >= 0)[:, None] & (column < d_in)[None, :]
    return tl.load(W + latent.to(tl.int64)[:, None] * d_in + column[None, :], mask=there, other=0.0)
