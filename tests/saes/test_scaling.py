"""The measured scale, and what folding it must not change."""

import math

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder, freeze_threshold
from saes.scaling import fold_scale, measure_scale, measure_scales


def test_scaled_activations_have_length_sqrt_d_in():
    batches = [torch.randn(10, 9) * 3, torch.randn(30, 9) * 50]
    scale = measure_scale(iter(batches))
    assert float((torch.cat(batches) * scale).norm(dim=1).mean()) == pytest.approx(3.0, rel=1e-5)


def test_nothing_zero_or_nan_to_measure_is_refused():
    with pytest.raises(ValueError, match="no activations"):
        measure_scale([])
    with pytest.raises(ValueError, match="all zero"):
        measure_scale([torch.zeros(3, 2)])
    with pytest.raises(ValueError, match="NaN"):
        measure_scale([torch.full((3, 2), math.nan)])


@pytest.mark.parametrize("sparsity", ["relu", "topk", "jump_relu", "batch_topk", "gated"])
def test_folded_takes_raw_activations(sparsity):
    sae = SparseAutoencoder(SAEConfig(5, 24, sparsity, k=4, initial_threshold=0.4))
    with torch.no_grad():
        sae.b_dec.normal_()
        sae.bias.normal_()
        if sparsity == "gated":
            sae.r_mag.normal_(std=0.3)
            sae.b_mag.normal_(std=0.3)
    if sparsity == "batch_topk":
        sae.running_threshold.fill_(0.6)
    scale, x, before = 0.03, torch.randn(40, 5) * 30, {name: value.clone() for name, value in sae.state_dict().items()}
    folded = fold_scale(sae, scale)
    if sparsity == "batch_topk":
        torch.testing.assert_close(freeze_threshold(folded).threshold, freeze_threshold(sae).threshold / scale)
    z = sae.encode(x * scale)
    torch.testing.assert_close(folded.encode(x), z / scale, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.decode(folded.encode(x)), sae.decode(z) / scale, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.W_dec.norm(dim=1), torch.ones(24))
    assert all(torch.equal(sae.state_dict()[name], value) for name, value in before.items())
    assert folded.W_enc.T.is_contiguous()


@pytest.mark.parametrize("sparsity", ["relu", "topk", "jump_relu", "gated"])
def test_a_folded_transcoder_takes_and_gives_raw_activations(sparsity):
    config = SAEConfig(5, 24, sparsity, k=4, initial_threshold=0.4, apply_b_dec_to_input=False, d_out=3, skip=True)
    sae = SparseAutoencoder(config)
    with torch.no_grad():
        for parameter in (sae.b_dec, sae.bias, sae.W_skip):
            parameter.normal_()
    x = torch.randn(40, 5) * 30
    for scale, target_scale in ((0.03, 0.2), (torch.full((5,), 0.03), torch.full((3,), 0.2))):
        folded = fold_scale(sae, scale, target_scale)
        torch.testing.assert_close(folded.encode(x), sae.encode(x * 0.03) / 0.2, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(folded.reconstruct(x), sae.reconstruct(x * 0.03) / 0.2, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(folded.W_dec.norm(dim=1), torch.ones(24))


def test_each_site_of_a_crosscoder_has_its_own_scale():
    rows = torch.randn(50, 5) * torch.tensor([1.0, 1.0, 30.0, 30.0, 30.0])
    scales = measure_scales(rows, [2, 3])
    assert float((rows * scales)[:, :2].norm(dim=1).mean()) == pytest.approx(2**0.5, rel=1e-5)
    assert float((rows * scales)[:, 2:].norm(dim=1).mean()) == pytest.approx(3**0.5, rel=1e-5)
    for sparsity in ("topk", "jump_relu"):
        sae = SparseAutoencoder(SAEConfig(5, 24, sparsity, k=4, initial_threshold=0.4, sites=(("a", 2), ("b", 3))))
        with torch.no_grad():
            sae.b_dec.normal_()
            sae.b_enc.normal_()
        folded, z = fold_scale(sae, scales), sae.encode(rows * scales)
        torch.testing.assert_close(folded.encode(rows), z / scales.mean(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(folded.reconstruct(rows) * scales, sae.decode(z), rtol=1e-4, atol=1e-4)
