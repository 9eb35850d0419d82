"""Planted spikes, NaN and explosions stop a run and name the last good state; noise and the shape of a run do not."""

import math
import random
from pathlib import Path

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from training.guard import ENOUGH, Guard

FOLDER = Path("runs/one")


@pytest.fixture
def sae():
    return SparseAutoencoder(SAEConfig(4, 8, k=2))


def falling(looks, seed=0, noise=0.3):
    """A loss as runs have it: falling to a floor, noisy, with an outlier of three times now and then."""
    draw = random.Random(seed)
    for step in range(looks):
        outlier = 3 if draw.random() < 0.03 else 1
        yield (1 + 50 * math.exp(-step / 20)) * math.exp(draw.gauss(0, noise)) * outlier


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_goes_well_is_let_be(sae, seed):
    guard = Guard()
    for step, loss in enumerate(falling(600, seed)):
        guard.look(step, {"loss": loss, "explained_variance": float("-inf")}, sae)


def test_a_planted_spike_stops_it(sae):
    guard = Guard()
    guard.saved(40, FOLDER)
    for step, loss in enumerate(falling(60)):
        guard.look(step, {"loss": loss}, sae)
    with pytest.raises(
        ValueError, match=r"the loss at step 60 is 100, more than 10 times .* of step 40, is in runs/one/"
    ):
        guard.look(60, {"loss": 100.0}, sae)
    lenient = Guard(factor=0)
    lenient.load_state_dict(guard.state_dict())
    lenient.look(60, {"loss": 100.0}, sae)


def test_a_spike_is_seen_after_a_resume_too(sae):
    before = Guard()
    for step, loss in enumerate(falling(ENOUGH)):
        before.look(step, {"loss": loss}, sae)
    after = Guard()
    after.load_state_dict(before.state_dict())
    with pytest.raises(ValueError, match="running median"):
        after.look(ENOUGH, {"loss": 10_000.0}, sae)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_planted_nan_stops_it_at_once(sae, value):
    with pytest.raises(ValueError, match="loss is NaN or infinite at step 3: no state had been saved yet"):
        Guard().look(3, {"loss": 1.0, "loss_auxk": value}, sae)
    with torch.no_grad():
        sae.b_enc[2] = value
    with pytest.raises(ValueError, match="weights are NaN or infinite at step 3"):
        Guard().look(3, {"loss": 1.0}, sae)


def test_weights_that_explode_stop_it(sae):
    guard = Guard()
    for step in range(30):
        guard.look(step, {"loss": 1.0}, sae)
        with torch.no_grad():
            sae.W_enc.mul_(1.05)  # as fast as a healthy run grows at its beginning
    with torch.no_grad():
        sae.W_enc.mul_(30)
    with pytest.raises(ValueError, match="the weights at step 30 have the length"):
        guard.look(30, {"loss": 1.0}, sae)
