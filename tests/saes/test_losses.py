"""The terms of the loss on numbers small enough to check by hand."""

import pytest
import torch

from saes.losses import Loss, auxk, l0, l1, reconstruction, through_gate


def test_total_is_the_sum_of_the_terms():
    loss = Loss.of(reconstruction=torch.tensor(2.0), l1=torch.tensor(0.5))
    assert float(loss.total) == 2.5
    assert set(loss.terms) == {"reconstruction", "l1"}


def test_reconstruction_sums_over_the_vector_and_averages_over_rows():
    assert float(reconstruction(torch.zeros(2, 3), torch.tensor([[1.0, 2, 0], [0, 0, 1]]))) == 3.0


def test_l1_counts_the_length_of_directions():
    z, W_dec = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert float(l1(z, W_dec)) == 3.5


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
