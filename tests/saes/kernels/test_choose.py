"""Which kernel is chosen, that it is said, and what cannot be forced."""

import logging

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.choose import choose_step, lacking_for_gpu
from saes.kernels.cpu import SparseStep
from saes.kernels.native import compiled
from saes.kernels.native_step import NativeStep
from saes.kernels.reference import ReferenceStep
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
