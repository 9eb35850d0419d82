"""Dead latents start anew where rows are explained badly, and nothing else changes."""

import copy

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.reference import ReferenceStep
from saes.kernels.resample import resample
from saes.kernels.step import StepSettings

SPARSITIES = ["topk", "batch_topk", "jump_relu", "relu", "gated"]


def activations(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(20, 12, generator=torch.Generator().manual_seed(99))
    codes = (torch.rand(rows, 20, generator=generator) < 0.15) * torch.rand(rows, 20, generator=generator)
    return codes @ directions + 1.0


def with_dead_half(sparsity, **settings):
    """A step whose last twenty latents have never fired."""
    sae = SparseAutoencoder(SAEConfig(12, 40, sparsity, k=4), seed=1)
    sae.start_at_mean(activations(200))
    with torch.no_grad():
        sae.bias[20:] = -5.0
    settings = {
        "dead_after_rows": 256,
        "auxk_coefficient": 0.0,
        "l1_coefficient": 0.02,
        "l0_coefficient": 0.002,
        **settings,
    }
    return ReferenceStep(sae, StepSettings(**settings))


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_dead_latents_take_the_directions_of_lossy_rows(sparsity):
    step = with_dead_half(sparsity)
    for seed in range(2):
        step(activations(128, seed=seed), 1e-3)
    x = activations(64, seed=9)
    lossy = torch.arange(64) < 25  # all others are explained perfectly
    before = copy.deepcopy(step.sae)
    dead = torch.arange(40) >= 20
    resample(step.update, dead, x, x, lossy.float())
    sae = step.sae
    cosine = torch.nn.functional.normalize(x - sae.b_dec) @ sae.W_dec[20:].T
    row = cosine.argmax(0)
    torch.testing.assert_close(cosine.max(0).values, torch.ones(20))
    assert (row < 25).all()
    assert len(set(row.tolist())) > 15  # different rows, of which some are alike
    cosine = torch.nn.functional.cosine_similarity(sae.W_enc.T[20:], sae.W_dec[20:])
    torch.testing.assert_close(cosine, torch.ones(20))
    assert (sae.pre_activations(x)[row, torch.arange(20, 40)] > 0).all()
    for name, parameter in sae.named_parameters():
        old = getattr(before, name)
        columns = (slice(None), dead) if name == "W_enc" else (dead,)
        others = (slice(None), ~dead) if name == "W_enc" else (~dead,)
        moments = step.update.optimiser.state[parameter]
        if name == "b_dec":
            assert torch.equal(parameter, old)
            continue
        assert torch.equal(parameter[others], old[others])
        assert moments["exp_avg"][columns].abs().sum() == moments["exp_avg_sq"][columns].abs().sum() == 0
    assert step.update.optimiser.state[sae.W_dec]["exp_avg"][:20].abs().sum() > 0
    assert (step.rows_since_fired[20:] == 0).all()


@pytest.mark.parametrize("sparsity", ["topk", "relu"])
def test_resampling_brings_dead_latents_back(sparsity):
    def living(every):
        step = with_dead_half(sparsity, resample_every=every)
        for seed in range(40):
            step(activations(128, seed=seed), 1e-3)
        return int((step.rows_since_fired[20:] < 256).sum())

    assert living(None) <= 2
    assert living(5) >= 15


def test_a_transcoder_s_new_latents_read_one_site_and_write_the_other():
    sae = SparseAutoencoder(SAEConfig(12, 40, k=4, apply_b_dec_to_input=False, d_out=3), seed=1)
    step = ReferenceStep(sae, StepSettings())
    x = activations(64)
    target = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    step(x, 1e-3, target)
    dead = torch.arange(40) >= 38
    resample(step.update, dead, x, target, (torch.arange(64) == 7).float())
    torch.testing.assert_close(sae.W_dec[38], torch.nn.functional.normalize(target[7] - sae.b_dec, dim=0))
    pre = sae.pre_activations(x)[:, 38]
    assert pre[7] > 0
    assert abs(pre.mean()) < 1e-4  # the mean of all rows is taken off


def test_no_steps_between_two_times_is_refused():
    with pytest.raises(ValueError, match="resample_every must be at least 1"):
        StepSettings(resample_every=0)
