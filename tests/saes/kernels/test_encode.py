"""The quick code of a wide SAE is the plain one."""

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.dictionary import Directions
from saes.kernels import encode
from saes.kernels.encode import encode_quickly


@pytest.mark.parametrize("bfloat16", [True, False])
def test_the_same_latents_fire_as_much(bfloat16, monkeypatch):
    monkeypatch.setattr(encode, "multiplies_bfloat16", lambda: bfloat16)
    sae = SparseAutoencoder(SAEConfig(24, 4096, k=8), seed=1)
    x = torch.randn(50, 24, generator=torch.Generator().manual_seed(2))
    quick, plain = (code.dense(4096) for code in (encode_quickly(sae, x), sae.encode_sparse(x)))
    assert ((quick > 0) == (plain > 0)).all()
    torch.testing.assert_close(quick, plain)


@pytest.mark.parametrize(
    "dictionary",
    [SparseAutoencoder(SAEConfig(6, 4096, "relu")), SparseAutoencoder(SAEConfig(6, 16, k=4)), Directions(torch.eye(6))],
)
def test_any_other_dictionary_encodes_itself(dictionary):
    x = torch.randn(5, 6)
    for quick, plain in zip(encode_quickly(dictionary, x), dictionary.encode_sparse(x), strict=True):
        torch.testing.assert_close(quick, plain)
    assert not len(encode_quickly(dictionary, x[:0]).values)
