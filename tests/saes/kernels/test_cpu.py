"""The sparse step against float64 autograd, against the reference's loss curve, and its choice of winners."""

import copy

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.cpu import SparseStep
from saes.kernels.reference import ReferenceStep, loss_of
from saes.kernels.step import StepSettings

D_IN, D_SAE, K = 16, 256, 6
LEARNS = StepSettings(dead_after_rows=128, k_aux=5, auxk_rows=48)


def activations(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(64, D_IN, generator=torch.Generator().manual_seed(77))
    codes = (torch.rand(rows, 64, generator=generator) < 0.08) * torch.rand(rows, 64, generator=generator) * 3
    return codes @ directions + 0.1 * torch.randn(rows, D_IN, generator=generator) + 0.5


def autoencoder(sparsity, **settings):
    sae = SparseAutoencoder(SAEConfig(D_IN, D_SAE, sparsity, k=K, **settings), seed=2)
    sae.start_at_mean(activations(100))
    with torch.no_grad():
        sae.b_enc.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    return sae


def gradients_of(step, x):
    """The gradients that ``step`` hands to its update, which is held back."""
    taken = {}

    def take(lr, fired, rows):
        taken.update({name: parameter.grad.clone() for name, parameter in step.sae.named_parameters()})

    step.update.apply = take
    metrics = step(x, 0.0)
    return taken, metrics


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
@pytest.mark.parametrize("candidates", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_dead", [False, True])
@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
def test_gradients_are_those_of_float64_autograd(sparsity, candidates, with_dead, apply_b_dec_to_input):
    sae, x = autoencoder(sparsity, apply_b_dec_to_input=apply_b_dec_to_input), activations(96, seed=3)
    step = SparseStep(sae, LEARNS, candidates)
    dead = None
    if with_dead:
        dead = torch.arange(D_SAE) % 9 == 0
        step.update.rows_seen, step.update.rows_since_fired[dead] = 10_000, 10_000
    truth = copy.deepcopy(sae).double()
    pre = truth.pre_activations(x.double())
    z = truth.activate(pre)
    loss = loss_of(truth, LEARNS, x.double(), pre, z, truth.decode(z), dead)
    loss.total.backward()
    found, metrics = gradients_of(step, x)
    assert set(metrics.terms) == set(loss.terms) == ({"reconstruction", "auxk"} if with_dead else {"reconstruction"})
    assert float(metrics.loss) == pytest.approx(loss.total.item(), rel=1e-5)
    assert float(metrics.l0) == pytest.approx(float((z > 0).sum(1).double().mean()))
    for name, parameter in truth.named_parameters():
        error = (found[name].double() - parameter.grad).norm() / parameter.grad.norm()
        assert error < 1e-5, name


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
@pytest.mark.parametrize("candidates", [torch.float32, torch.bfloat16])
def test_winners_are_those_of_the_exact_code(sparsity, candidates):
    sae, x = autoencoder(sparsity), activations(200, seed=4)
    code = SparseStep(sae, LEARNS, candidates).select(sae.centred(x).detach())
    found = torch.zeros(200, D_SAE).index_put_((code.row, code.latents), code.values.detach())
    torch.testing.assert_close(found, sae.encode(x).detach())


@pytest.mark.parametrize("candidates", [torch.float32, torch.bfloat16])
def test_batch_topk_wins_even_when_the_first_rows_are_unlike_the_rest(candidates):
    sae = autoencoder("batch_topk")
    x = torch.cat([activations(64, seed=5) * 20, activations(200, seed=6) * 0.1])
    code = SparseStep(sae, LEARNS, candidates).select(sae.centred(x).detach())
    found = torch.zeros(264, D_SAE).index_put_((code.row, code.latents), code.values.detach())
    torch.testing.assert_close(found, sae.encode(x).detach())
    quiet = autoencoder("batch_topk")
    with torch.no_grad():
        quiet.b_enc.fill_(-1e6)
    nothing = SparseStep(quiet, LEARNS, candidates)(x, 1e-3)
    assert float(nothing.l0) == 0
    assert quiet.running_threshold == 0


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
@pytest.mark.parametrize("candidates", [torch.float32, torch.bfloat16])
def test_loss_curve_is_the_references(sparsity, candidates):
    sparse, plain = autoencoder(sparsity), autoencoder(sparsity)
    steps = SparseStep(sparse, LEARNS, candidates), ReferenceStep(plain, LEARNS)
    curves = [[], []]
    for seed in range(60):
        for step, curve in zip(steps, curves, strict=True):
            curve.append(float(step(activations(64, seed=seed), 3e-3).loss))
    first, last = torch.tensor(curves)[:, :5], torch.tensor(curves)[:, -20:].mean(1)
    torch.testing.assert_close(first[0], first[1], rtol=1e-4, atol=0)
    assert last[1] < 0.6 * first[1, 0]
    assert float(last[0]) == pytest.approx(float(last[1]), rel=0.02)


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
def test_a_resumed_run_is_the_uninterrupted_one(sparsity):
    sae = autoencoder(sparsity)
    step = SparseStep(sae, LEARNS, torch.float32)
    for seed in range(5):
        step(activations(64, seed=seed), 1e-3)
    saved = copy.deepcopy((sae.state_dict(), step.state_dict()))
    resumed = autoencoder(sparsity)
    resumed.load_state_dict(saved[0])
    other = SparseStep(resumed, LEARNS, torch.float32)
    other.load_state_dict(saved[1])
    for seed in range(5, 10):
        step(activations(64, seed=seed), 1e-3)
        other(activations(64, seed=seed), 1e-3)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in sae.state_dict().items())
    assert torch.equal(step.rows_since_fired, other.rows_since_fired)


def test_either_kernel_goes_on_from_the_others_state():
    sae = autoencoder("topk")
    step = SparseStep(sae, LEARNS, torch.float32)
    for seed in range(3):
        step(activations(64, seed=seed), 1e-3)
    twin = copy.deepcopy(sae)
    other = ReferenceStep(twin, LEARNS)
    other.load_state_dict(copy.deepcopy(step.state_dict()))
    for seed in range(3, 6):
        step(activations(64, seed=seed), 1e-3)
        other(activations(64, seed=seed), 1e-3)
    torch.testing.assert_close(sae.W_enc, twin.W_enc, rtol=1e-4, atol=1e-5)
    step.load_state_dict(copy.deepcopy(other.state_dict()))
    step(activations(64, seed=6), 1e-3)
