"""Muon: orthogonal steps of a known size, and a problem on which it arrives."""

import pytest
import torch

from training.language_models.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(3, 24, 40), (2, 40, 24), (1, 16, 16)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    done = orthogonalised(matrices)
    values = torch.linalg.svdvals(done)
    assert values.min() > 0.3
    assert values.max() < 1.3
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ done @ vh.mT  # diagonal where the singular vectors are kept
    off = inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-3


def test_an_update_is_on_adamws_scale_whatever_the_shape():
    torch.manual_seed(0)
    for shape in ((32, 128), (128, 32), (64, 64)):
        weight = torch.nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape) * 1e-3
        Muon([weight], lr=0.01).step()
        assert weight.square().mean().sqrt().item() == pytest.approx(0.002, rel=0.35)


def test_it_solves_a_least_squares_problem():
    torch.manual_seed(0)
    truth, x = torch.randn(12, 8), torch.randn(64, 8)
    weight = torch.nn.Parameter(torch.zeros(12, 8))
    optimiser = Muon([weight], lr=0.05)
    for step in range(300):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
        loss = (x @ (weight - truth).T).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss.item() < 0.01 * (x @ truth.T).square().mean().item()


def test_weight_decay_is_decoupled():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))


def test_only_matrices():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
