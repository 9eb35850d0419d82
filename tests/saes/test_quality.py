"""Qualities of codes and reconstructions whose answer is known."""

import pytest
import torch

from saes.quality import (
    dead,
    density,
    density_histogram,
    encoder_decoder_cosine,
    explained_variance,
    l0,
    max_decoder_cosine,
)
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


def test_the_histogram_counts_living_latents_by_powers_of_ten():
    found = density_histogram(torch.tensor([0.0, 1.0, 0.5, 0.02, 1e-9]))
    assert found["log10_density"][0] == -7
    assert found["log10_density"][-1] == 0
    assert len(found["log10_density"]) == len(found["latents"]) + 1
    assert found["latents"][-1] == 2  # 1.0 and 0.5
    assert found["latents"][10] == 1  # 10^-2 .. 10^-1.5
    assert found["latents"][0] == 1  # below the lowest edge
    assert sum(found["latents"]) == 4


def test_the_nearest_direction_is_another_s_not_its_own():
    directions = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 1.0, 1.0], [0, 0, -1.0]])
    assert max_decoder_cosine(directions).tolist() == pytest.approx([0, 0.5**0.5, 0.5**0.5, 0], abs=1e-6)
    assert len(max_decoder_cosine(torch.randn(300, 4), looked_at=7)) == 7
    assert max_decoder_cosine(torch.randn(1, 4)).tolist() == [0]


def test_cosine_of_reading_and_writing():
    W_dec = torch.tensor([[1.0, 0], [0, 1.0], [1.0, 1.0]])
    W_enc = torch.tensor([[2.0, 0], [3.0, 0], [-1.0, -1.0]]).T
    assert encoder_decoder_cosine(W_enc, W_dec).tolist() == pytest.approx([1, 0, -1])
