"""Which kernel is chosen, that it is said, and what cannot be forced."""

import logging

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.choose import choose_step
from saes.kernels.cpu import SparseStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepSettings


@pytest.mark.parametrize(
    ("sparsity", "kernels", "kind"),
    [
        ("topk", "auto", SparseStep),
        ("batch_topk", "auto", SparseStep),
        ("relu", "auto", ReferenceStep),
        ("jump_relu", "auto", ReferenceStep),
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
    sae = SparseAutoencoder(SAEConfig(4, 16, "topk", k=2, prefixes=(4,)))
    assert isinstance(choose_step(sae), ReferenceStep)
    plain = SparseAutoencoder(SAEConfig(4, 16, "topk", k=2))
    assert isinstance(choose_step(plain, StepSettings(resample_every=5)), ReferenceStep)
    with pytest.raises(ValueError, match="plain topk"):
        choose_step(sae, kernels="cpu")


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="not this relu"):
        choose_step(SparseAutoencoder(SAEConfig(4, 16, "relu")), kernels="cpu")
    with pytest.raises(ValueError, match="unknown kernels"):
        choose_step(SparseAutoencoder(SAEConfig(4, 16, k=2)), kernels="fast")
    with pytest.raises(ValueError, match="at least 1"):
        StepSettings(auxk_rows=0)
