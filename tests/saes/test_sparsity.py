"""Each sparsity against what its name says, and the sparse code against the dense one."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saes.sparsity import FEW, SparseCode, batch_topk, fires, gated, jump_relu, largest, relu, topk


@given(
    rows=st.integers(0, 5),
    width=st.sampled_from([1, 7, 64, 100, 256]),
    k=st.integers(1, 40),
    seed=st.integers(0, 99),
    few=st.sampled_from([0, FEW]),
)
@settings(max_examples=100, deadline=None)
def test_largest_is_torch_topk_in_one_stage_or_two(rows, width, k, seed, few):
    pre = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    with patch("saes.sparsity.FEW", few):
        values, columns = largest(pre, k)
    assert torch.equal(values.sort(1).values, pre.topk(min(k, width)).values.flip(1))
    assert torch.equal(pre.gather(1, columns), values)
    assert all(len(set(row.tolist())) == len(row) for row in columns)


@given(rows=st.integers(0, 6), width=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_code_and_its_dense_form_hold_the_same(rows, width, seed):
    z = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)).relu()
    code = SparseCode.from_dense(z)
    assert code.rows == rows
    assert torch.equal(code.dense(width), z)
    assert (code.latents[code.values == 0] == 0).all()


def test_padding_does_not_overwrite_latent_zero():
    code = SparseCode(torch.tensor([[5.0, 0.0]]), torch.tensor([[0, 0]]))
    assert torch.equal(code.dense(2), torch.tensor([[5.0, 0.0]]))


def test_topk_keeps_k_positive_values_in_any_batch_shape():
    pre = torch.tensor([[[3.0, -1.0, 2.0, 1.0]], [[-1.0, -2.0, 0.5, -3.0]]])
    assert torch.equal(topk(pre, 2), torch.tensor([[[3.0, 0, 2.0, 0]], [[0, 0, 0.5, 0]]]))


def test_batch_topk_shares_its_budget_over_rows():
    pre = torch.tensor([[5.0, 4.0, 3.0], [1.0, 0.5, -1.0]])
    assert torch.equal(batch_topk(pre, 1), torch.tensor([[5.0, 4.0, 0], [0, 0, 0]]))
    assert torch.equal(batch_topk(-pre.abs(), 1), torch.zeros(2, 3))


def test_jump_relu_jumps_at_its_threshold():
    pre, threshold = torch.tensor([[0.5, 1.0, 1.5, -1.0]]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert torch.equal(jump_relu(pre, threshold), torch.tensor([[0, 0, 1.5, 0]]))
    assert torch.equal(fires(pre, threshold), torch.tensor([[0, 0, 1.0, 0]]))
    assert torch.equal(relu(pre), torch.tensor([[0.5, 1.0, 1.5, 0]]))


def test_straight_through_gradients_are_the_papers():
    threshold = torch.tensor([1.0, 1.0], requires_grad=True)
    pre = torch.tensor([[1.01, 3.0], [0.99, 0.2]], requires_grad=True)
    jump_relu(pre, threshold, 0.1).sum().backward()
    assert torch.equal(pre.grad, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert threshold.grad.tolist() == pytest.approx([-2 * 1.0 / 0.1, 0.0])  # two rows lie within the bandwidth
    threshold.grad = None
    fires(pre, threshold, 0.1).sum().backward()
    assert threshold.grad.tolist() == pytest.approx([-2 / 0.1, 0.0])


def test_gated_is_magnitude_where_the_gate_is_open():
    product = torch.tensor([[1.0, 1.0, -1.0, 0.5]])
    b_gate, r_mag, b_mag = torch.tensor([0.0, -2, 2, 0]), torch.tensor([0.0, 1, 0, 0.5]), torch.tensor([0.5, 9, 4, -5])
    z = gated(product + b_gate, b_gate, r_mag, b_mag)
    torch.testing.assert_close(z, torch.tensor([[1.5, 0.0, 3.0, 0.0]]))  # the last gate is open, its magnitude negative


def test_gated_sends_no_gradient_to_its_gate():
    generator = torch.Generator().manual_seed(1)
    product = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    b_gate, r_mag, b_mag = (torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in "grb")
    pre = product + b_gate
    weights = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    (gated(pre, b_gate, r_mag, b_mag) * weights).sum().backward()
    by_hand = weights * (pre > 0) * (product * r_mag.exp() + b_mag > 0)
    torch.testing.assert_close(product.grad, by_hand * r_mag.exp())
    torch.testing.assert_close(r_mag.grad, (by_hand * product * r_mag.exp()).sum(0))
    torch.testing.assert_close(b_mag.grad, by_hand.sum(0))
    torch.testing.assert_close(b_gate.grad, torch.zeros(4, dtype=torch.float64))
