"""One SAE: what it learns from, what it says, and its state."""

import copy

import pytest
import torch

from saes.autoencoder import freeze_threshold
from saes.site import Site
from training.learner import Learner

SITE = "blocks.1.hook_resid_post"


def at(rows):
    """Rows as a stream brings them, of the spec's site."""
    return {SITE: rows}


def begun(spec, rows):
    learner = Learner(spec, Site(spec.model, spec.hook_name), lambda name: rows.shape[1], torch.device("cpu"))
    learner.start([at(rows)])
    return learner


@pytest.fixture
def rows():
    return 3 * torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) + 1


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk", "jump_relu"])
def test_its_state_is_all_it_needs(spec, rows, sparsity):
    spec = spec.with_fields(sparsity=sparsity)
    one, other = begun(spec, rows), begun(spec.with_fields(seed=7), rows + 1)
    one.learn(at(rows), 0)
    other.load_state_dict(copy.deepcopy(one.state_dict()))  # as from a file
    for step in (1, 2):
        one.learn(at(rows), step)
        other.learn(at(rows), step)
    assert one.check(3) == other.check(3)
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(one.sae.parameters(), other.sae.parameters(), strict=True)
    )
    assert one.scale == other.scale != 1


def test_the_finished_one_takes_activations_as_they_are(spec, rows):
    learner = begun(spec.with_fields(sparsity="batch_topk"), rows)
    learner.learn(at(rows), 0)
    finished, frozen = learner.finished(), freeze_threshold(learner.sae)
    assert finished.config.sparsity == "jump_relu"
    scaled = frozen.decode(frozen.encode(rows * learner.scale)) / learner.scale
    torch.testing.assert_close(finished.decode(finished.encode(rows)), scaled, rtol=1e-4, atol=1e-4)


def test_a_loss_that_is_no_number_is_said(spec, rows):
    learner = begun(spec, rows)
    assert learner.check(0) == {}
    learner.learn(at(rows * torch.inf), 0)
    with pytest.raises(
        ValueError, match=r"the loss is NaN or infinite at step 1: no state had been saved yet\. A lower lr"
    ):
        learner.check(1)
