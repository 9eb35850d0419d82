"""Scores, decoding and values' gradients of rows with empty slots, and of rows with none at all."""

import torch

from tests.saes.kernels.interpreter import device_for_triton

DEVICE = device_for_triton()

from saes.kernels.triton_rows import decode_into, row_shape, scores  # noqa: E402

OFFSETS = torch.tensor([0, 3, 3, 5], device=DEVICE)
ROW = torch.tensor([0, 0, 0, 2, 2], device=DEVICE)
LATENTS = torch.tensor([4, -1, 0, 6, 4], dtype=torch.int32, device=DEVICE)
D_IN = 37


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))).to(DEVICE)


def test_scores_are_products_with_the_latents_rows():
    x, W, bias = drawn(3, D_IN), drawn(7, D_IN), drawn(7)
    found = scores(x, W, bias, LATENTS, OFFSETS)
    expected = (x[ROW] * W[LATENTS.long()]).sum(1) + bias[LATENTS.long()]
    expected[1] = -torch.inf
    torch.testing.assert_close(found, expected)


def test_decoding_adds_to_what_is_there_and_gives_the_gradients():
    left, W, values = drawn(3, D_IN), drawn(7, D_IN), drawn(5)
    z = torch.zeros(3, 7, device=DEVICE).index_put_((ROW, LATENTS.long()), values * (LATENTS >= 0), accumulate=True)
    expected = left + z @ W
    squares, grad = decode_into(left, W, values, LATENTS, OFFSETS, torch.tensor(0.25, device=DEVICE))
    torch.testing.assert_close(left, expected)
    torch.testing.assert_close(squares, expected.square().sum(1))
    product = (expected[ROW] * W[LATENTS.long()]).sum(1) * 0.25
    torch.testing.assert_close(grad, product * (LATENTS >= 0))


def test_no_two_threads_share_a_number():
    for d_in in (3, 48, 100, 768, 2304, 4096, 16384):
        shape = row_shape(d_in, tiles=2)
        assert shape["BLOCK_D"] >= max(d_in, 32 * shape["num_warps"])
        assert shape["TILE"] >= 1
