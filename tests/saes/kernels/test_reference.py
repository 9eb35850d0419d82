"""The reference step against torch.optim by hand, and what every sparsity must do when trained."""

import copy

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepSettings

SPARSITIES = ["topk", "batch_topk", "jump_relu", "relu", "gated"]


def planted(rows, d_in=12, latents=20, seed=0):
    """Activations that are sums of few fixed directions, with a mean."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(latents, d_in, generator=torch.Generator().manual_seed(99))
    codes = (torch.rand(rows, latents, generator=generator) < 0.15) * torch.rand(rows, latents, generator=generator)
    return codes @ directions + 1.0


def test_one_step_is_adam_on_the_projected_gradient():
    x = planted(32)
    sae = SparseAutoencoder(SAEConfig(12, 24, "topk", k=3), seed=5)
    names = ("W_enc", "W_dec", "b_enc", "b_dec")
    W_enc, W_dec, b_enc, b_dec = by_hand = [getattr(sae, name).detach().clone().requires_grad_() for name in names]
    pre = (x - b_dec) @ W_enc + b_enc
    values, latents = pre.topk(3)
    z = torch.zeros_like(pre).scatter(1, latents, values.relu())
    (z @ W_dec + b_dec - x).square().sum(1).mean().backward()
    with torch.no_grad():
        W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
        torch.optim.Adam(by_hand, lr=1e-2).step()
        W_dec /= W_dec.norm(dim=1, keepdim=True)
    ReferenceStep(sae, StepSettings())(x, 1e-2)
    for name, expected in zip(names, by_hand, strict=True):
        torch.testing.assert_close(getattr(sae, name), expected, msg=name)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_training_lowers_the_loss_and_keeps_directions_at_length_one(sparsity):
    sae = SparseAutoencoder(SAEConfig(12, 40, sparsity, k=4))
    step = ReferenceStep(sae, StepSettings(l1_coefficient=0.05, l0_coefficient=0.005))
    x = planted(256)
    first = step(x, 1e-2)
    for seed in range(60):
        step(planted(256, seed=seed), 1e-2)
    last = step(x, 1e-2)
    assert float(last.loss) < 0.5 * float(first.loss)
    assert float(last.explained_variance) > 0.5 > float(first.explained_variance)
    assert float(last.loss) == pytest.approx(sum(float(term) for term in last.terms.values()), rel=1e-5)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(40))


def test_penalties_make_the_code_sparser():
    def l0_after(sparsity, weight):
        sae = SparseAutoencoder(SAEConfig(12, 40, sparsity))
        step = ReferenceStep(sae, StepSettings(l1_coefficient=weight, l0_coefficient=weight))
        return float([step(planted(128, seed=seed), 1e-2) for seed in range(80)][-1].l0)

    assert l0_after("relu", 1.0) < 0.7 * l0_after("relu", 0.0)
    assert l0_after("jump_relu", 0.3) < 0.7 * l0_after("jump_relu", 0.0)
    assert l0_after("gated", 2.0) < 0.7 * l0_after("gated", 0.0)


def test_batch_topk_follows_its_threshold_from_the_first_batch_on():
    sae = SparseAutoencoder(SAEConfig(12, 40, "batch_topk", k=4))
    step = ReferenceStep(sae, StepSettings(threshold_decay=0.5))
    smallest = []
    for seed in range(3):
        z = sae.encode(planted(64, seed=seed)).detach()
        smallest.append(float(z[z > 0].min()))
        step(planted(64, seed=seed), 1e-3)
    assert float(sae.running_threshold) == pytest.approx(smallest[0] / 4 + smallest[1] / 4 + smallest[2] / 2, rel=1e-5)


def test_rows_since_fired_counts_rows():
    sae = SparseAutoencoder(SAEConfig(12, 40, "topk", k=4))
    with torch.no_grad():
        sae.b_enc[7] = -100.0
        sae.b_enc[8] = 100.0
    step = ReferenceStep(sae, StepSettings(dead_after_rows=60))
    shares = [float(step(planted(32), 1e-4).dead) for _ in range(4)]
    assert step.rows_since_fired[7] == 128
    assert step.rows_since_fired[8] == 0
    assert shares[:2] == [0.0, 0.0]
    assert shares[2] > 0


def test_rescue_brings_dead_latents_back():
    def living(coefficient):
        sae = SparseAutoencoder(SAEConfig(12, 40, "topk", k=4))
        with torch.no_grad():
            sae.b_enc[20:] = -5.0
        step = ReferenceStep(sae, StepSettings(auxk_coefficient=coefficient, dead_after_rows=256, k_aux=8))
        for seed in range(150):
            step(planted(128, seed=seed), 1e-2)
        return int((step.rows_since_fired[20:] < 256).sum())

    assert living(0.0) <= 2
    assert living(1 / 32) >= 8


def test_the_gradient_is_clipped_over_all_parameters():
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(5))
    free = SparseAutoencoder(SAEConfig(6, 20, "topk", k=3), seed=1)
    clipped = copy.deepcopy(free)
    seen = []
    for sae, limit in ((free, None), (clipped, 0.01)):
        step = ReferenceStep(sae, StepSettings(clip_norm=limit))
        before = step.update.optimiser.step

        def note(before=before, sae=sae):
            seen.append(torch.stack([parameter.grad.norm() for parameter in sae.parameters()]).norm())
            before()

        step.update.optimiser.step = note
        step(x, 1e-3)
    assert seen[0] > 0.1
    assert 0.005 < seen[1] <= 0.01  # a little below: the decoder's part along its rows is taken off after the clipping


def recovered(sparsity, steps=400, lr=5e-3, d_in=16, latents=20, sae=None, **settings):
    """Cosine of each planted direction with the nearest of the SAE's, after training on them."""
    directions = torch.nn.functional.normalize(torch.randn(latents, d_in, generator=torch.Generator().manual_seed(99)))
    sae = sae or SparseAutoencoder(SAEConfig(d_in, 40, sparsity, k=3), seed=2)
    step = ReferenceStep(sae, StepSettings(dead_after_rows=5000, k_aux=8, **settings))
    generator = torch.Generator().manual_seed(1)
    for number in range(steps):
        codes = (torch.rand(256, latents, generator=generator) < 0.1) * (
            2 + torch.rand(256, latents, generator=generator)
        )
        step(codes @ directions, lr * min(1.0, 4 * (1 - number / steps)))
    return (directions @ sae.directions.T).max(1).values


def test_a_gated_one_recovers_planted_directions():
    cosines = recovered("gated", lr=2e-2, l1_coefficient=3.0)
    assert cosines.median() > 0.97
    assert cosines.mean() > 0.9
