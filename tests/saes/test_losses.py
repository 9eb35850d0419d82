"""The terms of the loss on numbers small enough to check by hand."""

import pytest
import torch

from saes.losses import Loss, auxk, l0, l1, lengths, lp, nested, reconstruction, tanh, target_l0, through_gate


def test_total_is_the_sum_of_the_terms():
    loss = Loss.of(reconstruction=torch.tensor(2.0), l1=torch.tensor(0.5))
    assert float(loss.total) == 2.5
    assert set(loss.terms) == {"reconstruction", "l1"}


def test_reconstruction_sums_over_the_vector_and_averages_over_rows():
    assert float(reconstruction(torch.zeros(2, 3), torch.tensor([[1.0, 2, 0], [0, 0, 1]]))) == 3.0


def test_l1_counts_the_length_of_directions():
    z, W_dec = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert float(l1(z, lengths(W_dec))) == 3.5


def test_l0_counts_firing_latents_and_pushes_thresholds_up():
    threshold = torch.tensor([1.0, 1.0], requires_grad=True)
    count = l0(torch.tensor([[1.01, 5.0], [0.5, 2.0]]), threshold, 0.1)
    assert count.item() == 1.5
    count.backward()
    assert threshold.grad[0] < 0  # descending raises the threshold that has a row close by
    assert threshold.grad[1] == 0


def test_auxk_uses_the_best_dead_latents_only():
    W_dec = torch.eye(3).requires_grad_()
    pre = torch.tensor([[9.0, 1.0, -0.5]])
    dead = torch.tensor([False, True, True])
    residual = torch.tensor([[0.0, 1.0, -0.5]])
    assert float(auxk(residual, pre, dead, W_dec, 2)) == pytest.approx(0.0)
    loss = auxk(residual, pre, dead, W_dec, 1)
    assert float(loss) == pytest.approx(0.25)  # only latent 1 may help; the -0.5 is left over
    loss.backward()
    assert W_dec.grad[0].abs().sum() == 0
    assert float(auxk(residual, pre, dead, W_dec, 8)) == pytest.approx(0.0)
    assert float(auxk(residual * 2, pre, dead, W_dec, 8)) == pytest.approx((1 + 0.25) * 2 / 8)


def test_through_gate_teaches_the_gate_and_leaves_the_decoder():
    gate = torch.tensor([[2.0, -1.0]], requires_grad=True)
    W_dec, b_dec = torch.eye(2).requires_grad_(), torch.zeros(2, requires_grad=True)
    loss = through_gate(torch.tensor([[1.0, 1.0]]), gate, W_dec, b_dec)
    assert loss.item() == 2.0
    loss.backward()
    assert gate.grad.tolist() == [[2.0, 0.0]]
    assert W_dec.grad is None
    assert b_dec.grad is None


def test_nested_is_the_mean_over_the_prefixes():
    x, z, W_dec, b_dec = torch.randn(5, 3), torch.rand(5, 8), torch.randn(8, 3), torch.randn(3)
    by_hand = [reconstruction(x, z[:, :width] @ W_dec[:width] + b_dec) for width in (2, 5, 8)]
    torch.testing.assert_close(nested(x, z, W_dec, b_dec, (2, 5, 8)), torch.stack(by_hand).mean())
    torch.testing.assert_close(nested(x, z, W_dec, b_dec, (8,)), by_hand[-1])


def test_tanh_and_lp_lie_between_l1_and_a_count():
    z, length = torch.tensor([[2.0, 0.5, 0.0], [0.0, 3.0, 0.0]], dtype=torch.float64), torch.ones(3).double()
    assert float(lp(z, length, 1.0)) == pytest.approx(float(l1(z, length)))
    assert float(lp(z, length, 0.01)) == pytest.approx(3 / 2, abs=0.2)  # three fire, in two rows; small p falls short
    assert float(tanh(z, length, 1000.0)) == pytest.approx(3 / 2)
    assert float(tanh(z, length, 1e-3)) == pytest.approx(1e-3 * float(l1(z, length)), rel=1e-4)


@pytest.mark.parametrize("penalty", [lambda z, length: tanh(z, length, 4.0), lambda z, length: lp(z, length, 0.3)])
def test_gradients_of_penalties_are_finite_differences_and_finite_at_zero(penalty):
    z = torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    length = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(penalty, (z.requires_grad_(), length.requires_grad_()))
    silent = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(penalty(silent.relu(), length), silent)
    assert slope.isfinite().all()


def test_target_l0_is_zero_at_its_target_and_pulls_towards_it():
    def pull(target):
        threshold = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
        loss = target_l0(torch.tensor([[1.01, 5.0, 0.2], [0.99, 2.0, 7.0]]), threshold, 0.1, target)
        loss.backward()
        return loss.item(), float(threshold.grad[0])

    assert pull(2.0) == (0.0, 0.0)
    assert pull(1.0)[0] == 1.0
    assert pull(1.0)[1] < 0 < pull(4.0)[1]  # too many fire: descending raises the threshold; too few: lowers it


def test_lengths_add_up_over_the_sites_of_a_crosscoder():
    W_dec = torch.tensor([[3.0, 4.0, 0.0], [0.0, 3.0, 4.0]])
    assert lengths(W_dec).tolist() == [5.0, 5.0]
    assert lengths(W_dec, [2, 1]).tolist() == [5.0, 7.0]  # a latent at two sites pays more than one at one
