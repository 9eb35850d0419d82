"""Qualities of codes and reconstructions whose answer is known."""

import pytest
import torch

from saes.quality import dead, density, explained_variance, l0
from saes.sparsity import SparseCode

Z = torch.tensor([[1.0, 0, 2.0, 0], [0, 0, 3.0, 0], [0, 0, 0, 0]])


def test_explained_variance_of_perfect_mean_and_half():
    x = torch.randn(50, 4) + 10
    assert float(explained_variance(x, x)) == 1.0
    assert float(explained_variance(x, x.mean(0).expand_as(x))) == pytest.approx(0.0, abs=1e-6)
    half = x.mean(0) + (x - x.mean(0)) * 0.5
    assert float(explained_variance(x, half)) == pytest.approx(0.75, abs=1e-5)


def test_l0_counts_firings_not_padding():
    assert float(l0(Z)) == 1.0
    assert float(l0(SparseCode.from_dense(Z))) == 1.0


def test_density_and_dead_share():
    shares = density(SparseCode.from_dense(Z), 4)
    assert shares.tolist() == pytest.approx([1 / 3, 0, 2 / 3, 0])
    assert float(dead(shares)) == 0.5
    assert density(SparseCode.from_dense(Z[:0]), 4).tolist() == [0, 0, 0, 0]
