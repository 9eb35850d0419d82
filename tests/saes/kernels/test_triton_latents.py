"""A pass over latents against the gradients written out densely, with spans, with and without learning."""

import pytest
import torch

from tests.saes.kernels.interpreter import device_for_triton

DEVICE = device_for_triton()

from saes.kernels import triton_latents  # noqa: E402
from saes.kernels.triton_latents import AdamRates, LatentWeights, SortedFirings, latent_pass, sum_spans  # noqa: E402

ROWS, D_IN, D_SAE = 6, 19, 5


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.fixture
def firings(monkeypatch):
    """Latent 1 fires 14 times, from the middle of one span over two whole ones into the last; latent 3 never."""
    monkeypatch.setattr(triton_latents, "SPAN", 4)
    monkeypatch.setattr(triton_latents, "PROGRAMS", 2)
    latent = torch.tensor([0] * 2 + [1] * 14 + [2] + [4] * 4 + [D_SAE] * 3, dtype=torch.int32, device=DEVICE)
    row = (torch.arange(len(latent), device=DEVICE) % (ROWS + 2)).int()  # two rows are looked at again
    offsets = torch.searchsorted(latent, torch.arange(D_SAE + 1, device=DEVICE).int(), out_int32=True)
    left, x_in = drawn(ROWS + 2, D_IN, seed=1), drawn(ROWS, D_IN, seed=2)
    return SortedFirings(row, drawn(len(latent), seed=3), drawn(len(latent), seed=4), latent, offsets, left, x_in)


def weights():
    def with_moments(*shape, seed):
        return drawn(*shape, seed=seed), torch.zeros(*shape, device=DEVICE), torch.zeros(*shape, device=DEVICE)

    copy = torch.zeros(D_SAE, D_IN, dtype=torch.bfloat16, device=DEVICE)
    W_enc, W_dec = with_moments(D_SAE, D_IN, seed=5), with_moments(D_SAE, D_IN, seed=6)
    return LatentWeights(W_enc, W_dec, with_moments(D_SAE, seed=7), copy)


def by_hand(firings):
    """The gradients of W_enc, W_dec and b_enc."""
    fires = firings.latent < D_SAE
    row, latent = firings.row[fires].long(), firings.latent[fires].long()
    pull, push = firings.pull[fires, None], firings.push[fires, None]
    shape = (D_SAE, D_IN)
    x_in = torch.cat([firings.x_in, firings.x_in[:2]])
    W_enc = torch.zeros(shape, device=DEVICE).index_add_(0, latent, x_in[row] * push)
    W_dec = torch.zeros(shape, device=DEVICE).index_add_(0, latent, firings.left[row] * pull)
    return W_enc, W_dec, torch.zeros(D_SAE, device=DEVICE).index_add_(0, latent, push[:, 0])


def test_a_look_changes_nothing_and_gives_the_norm(firings):
    state, before = weights(), weights()
    W_enc, W_dec, b_enc = by_hand(firings)
    sums = latent_pass(firings, sum_spans(firings), state, None, torch.ones((), device=DEVICE))
    torch.testing.assert_close(sums.squares, W_enc.square().sum() + W_dec.square().sum() + b_enc.square().sum())
    torch.testing.assert_close(sums.b_enc_part, b_enc @ before.W_enc[0])
    for name in ("W_enc", "W_dec", "b_enc"):
        assert all(map(torch.equal, getattr(state, name), getattr(before, name)))


def test_learning_is_adam_on_scaled_and_projected_gradients(firings):
    state, before = weights(), weights()
    W_enc, W_dec, b_enc = (gradient * 0.5 for gradient in by_hand(firings))
    direction = before.W_dec[0]
    W_dec -= (W_dec * direction).sum(1, keepdim=True) * direction
    expected = [torch.nn.Parameter(one[0].clone()) for one in (before.W_enc, before.W_dec, before.b_enc)]
    for parameter, gradient in zip(expected, (W_enc, W_dec, b_enc), strict=True):
        parameter.grad = gradient
    torch.optim.Adam(expected, lr=1e-2, betas=(0.8, 0.95), eps=1e-3).step()
    adam = AdamRates.at(1, 1e-2, (0.8, 0.95), 1e-3)
    latent_pass(firings, sum_spans(firings), state, adam, torch.full((), 0.5, device=DEVICE))
    torch.testing.assert_close(state.W_enc[0], expected[0].detach())
    torch.testing.assert_close(state.W_dec[0], torch.nn.functional.normalize(expected[1].detach()))
    torch.testing.assert_close(state.b_enc[0], expected[2].detach())
    torch.testing.assert_close(state.copy.float(), state.W_enc[0], rtol=2**-7, atol=0)
