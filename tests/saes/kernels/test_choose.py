"""Which kernel is chosen, that it is said, and what cannot be forced."""

import copy
import logging

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.axes import Axes, Axis
from saes.kernels.choose import choose_step, lacking_for_gpu, settled
from saes.kernels.cpu import SparseStep
from saes.kernels.native import compiled
from saes.kernels.native_step import NativeStep
from saes.kernels.parallel import ParallelStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.slices import latents_of
from saes.kernels.step import StepSettings

COMPILES = compiled() is not None
FASTEST = NativeStep if COMPILES else SparseStep


@pytest.mark.parametrize(
    ("sparsity", "kernels", "kind"),
    [
        ("topk", "auto", FASTEST),
        ("batch_topk", "auto", FASTEST),
        ("relu", "auto", FASTEST if COMPILES else ReferenceStep),
        ("jump_relu", "auto", FASTEST if COMPILES else ReferenceStep),
        ("topk", "cpu", SparseStep),
        ("topk", "reference", ReferenceStep),
    ],
)
def test_choice(sparsity, kernels, kind, caplog):
    sae = SparseAutoencoder(SAEConfig(4, 16, sparsity, k=2))
    with caplog.at_level(logging.INFO):
        step = choose_step(sae, StepSettings(), kernels=kernels)
    assert isinstance(step, kind)
    assert "training step" in caplog.text
    step(torch.randn(8, 4), 1e-3)
    step.load_state_dict(step.state_dict())


@pytest.mark.skipif(not COMPILES, reason="no C++ compiler")
def test_a_kernel_that_moves_every_row_can_go_on_from_one_that_lets_rows_rest():
    def batch(seed):
        return torch.randn(32, 8, generator=torch.Generator().manual_seed(seed)) + 2 * (seed % 3)

    settings = StepSettings()
    sae = SparseAutoencoder(SAEConfig(8, 128, k=2))
    native = choose_step(sae, settings, "native")
    for seed in range(8):
        native(batch(seed), 1e-3)
    weights, state = settled(sae.config, settings, *copy.deepcopy((sae.state_dict(), native.state_dict())))
    assert "rest" not in state
    other = SparseAutoencoder(sae.config)
    other.load_state_dict(weights)
    assert not torch.equal(other.W_dec, sae.W_dec), "no row was at rest"
    native.settle()
    assert torch.equal(other.W_dec, sae.W_dec)
    assert settled(sae.config, settings, weights, state) == (weights, state)
    reference = ReferenceStep(other, settings)
    reference.load_state_dict(state)
    native(batch(9), 1e-3)
    reference(batch(9), 1e-3)
    native.settle()
    torch.testing.assert_close(other.W_dec, sae.W_dec, rtol=1e-3, atol=5e-4)


def test_many_processes_have_their_own_kernel():
    axes = Axes(Axis(None, 0, 2), Axis(), Axis(None, 0, 2))
    part = latents_of(SparseAutoencoder(SAEConfig(4, 16, k=2)), axes)
    assert isinstance(choose_step(part, kernels="cpu"), ParallelStep)
    assert choose_step(part, kernels="cpu").sparse is not None
    assert choose_step(part, kernels="reference").sparse is None
    assert isinstance(choose_step(part), NativeStep if COMPILES else ParallelStep)
    assert choose_step(latents_of(SparseAutoencoder(SAEConfig(4, 16, "relu")), axes)).sparse is None
    among_latents = latents_of(
        SparseAutoencoder(SAEConfig(4, 16, k=2)), Axes(Axis(), Axis(None, 0, 2), Axis(None, 0, 2))
    )
    assert isinstance(choose_step(among_latents), ParallelStep)
    with pytest.raises(ValueError, match="trains topk SAEs, where latent_ranks is 1 and a"):
        choose_step(among_latents, kernels="native")
    with pytest.raises(ValueError, match="without prefixes or target"):
        choose_step(part, kernels="gpu")


def test_what_the_sparse_steps_do_not_know_goes_to_the_reference():
    plain = SparseAutoencoder(SAEConfig(4, 16, "topk", k=2))
    assert isinstance(choose_step(plain, StepSettings(resample_every=5)), ReferenceStep)
    relu = SparseAutoencoder(SAEConfig(4, 16, "relu"))
    assert isinstance(choose_step(relu, StepSettings(penalty="p_anneal", total_steps=9)), ReferenceStep)
    crosscoder = SparseAutoencoder(SAEConfig(4, 16, "relu", sites=(("a", 2), ("b", 2))))
    assert isinstance(choose_step(crosscoder), ReferenceStep)
    nested = SparseAutoencoder(SAEConfig(4, 16, "topk", k=2, prefixes=(4,)))
    assert isinstance(choose_step(nested), FASTEST if COMPILES else ReferenceStep)
    with pytest.raises(ValueError, match="without prefixes or target"):
        choose_step(nested, kernels="cpu")


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="not this relu SAE"):
        choose_step(SparseAutoencoder(SAEConfig(4, 16, "relu")), kernels="cpu")
    with pytest.raises(ValueError, match=r"in torch\.float64"):
        choose_step(SparseAutoencoder(SAEConfig(4, 16, k=2)).double(), kernels="native")
    with pytest.raises(ValueError, match="on a CUDA device, without prefixes or target, not this SAE"):
        choose_step(SparseAutoencoder(SAEConfig(4, 16, k=2)), kernels="gpu")
    with pytest.raises(ValueError, match="unknown kernels"):
        choose_step(SparseAutoencoder(SAEConfig(4, 16, k=2)), kernels="fast")
    with pytest.raises(ValueError, match="at least 1"):
        StepSettings(auxk_rows=0)


def test_what_the_gpu_kernels_lack_is_said(monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert lacking_for_gpu(device) == "the package triton"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    assert "Ampere" in lacking_for_gpu(device)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    assert lacking_for_gpu(device) is None
