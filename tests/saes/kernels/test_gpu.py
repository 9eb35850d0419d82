"""The GPU's step against the reference in float64, step after step; its bits, its state; that it compiles."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepSettings
from tests.saes.kernels.interpreter import device_for_triton

DEVICE = device_for_triton()

from saes.kernels import triton_candidates, triton_latents  # noqa: E402
from saes.kernels.gpu import GpuStep  # noqa: E402

SETTINGS = {"dead_after_rows": 20, "k_aux": 3, "auxk_rows": 7, "eps": 1e-3}
"""The eps keeps Adam from making a whole step of a gradient that is nothing but rounding."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Sizes at which every loop goes round more than once."""
    monkeypatch.setattr(triton_candidates, "GROUPS", 16)
    monkeypatch.setattr(triton_latents, "SPAN", 4)
    monkeypatch.setattr(triton_latents, "PROGRAMS", 7)


def activations(rows, d_in, seed):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(24, d_in, generator=torch.Generator().manual_seed(77))
    codes = (torch.rand(rows, 24, generator=generator) < 0.15) * torch.rand(rows, 24, generator=generator) * 3
    return (codes @ directions + 0.1 * torch.randn(rows, d_in, generator=generator) + 0.5).to(DEVICE)


def autoencoder(sparsity, d_in=20, d_sae=40, k=3, **settings):
    sae = SparseAutoencoder(SAEConfig(d_in, d_sae, sparsity, k=k, **settings), seed=2).to(DEVICE)
    with torch.no_grad():
        sae.b_enc.copy_(0.05 * torch.randn(d_sae, generator=torch.Generator().manual_seed(1)))
        sae.b_enc[5] = 2.0  # fires in nearly every row: more firings than a span
        sae.b_enc[20:26] = -9.0  # fire nowhere: the rescue is theirs
    return sae


def compare(sparsity, steps, rows, settings, **config):
    sae = autoencoder(sparsity, **config)
    truth = copy.deepcopy(sae).double()
    started = copy.deepcopy(sae)
    fast, plain = GpuStep(sae, settings), ReferenceStep(truth, settings)
    for seed in range(steps):
        x = activations(rows, sae.d_in, seed)
        found, expected = fast(x, 1e-2), plain(x.double(), 1e-2)
        assert expected.terms.keys() <= found.terms.keys()
        for name, term in expected.terms.items():
            assert float(found.terms[name]) == pytest.approx(float(term), rel=1e-4), name
        for name in ("loss", "explained_variance", "l0", "dead"):
            value = float(getattr(expected, name))
            assert float(getattr(found, name)) == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert torch.equal(fast.rows_since_fired, plain.rows_since_fired)
    for name, expected in truth.named_parameters():
        moved = (expected - getattr(started, name)).norm()
        assert (getattr(sae, name) - expected).norm() < 1e-4 * moved, name
    if sparsity == "batch_topk":
        assert float(sae.running_threshold) == pytest.approx(float(truth.running_threshold), rel=1e-5)
    return found


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_steps_are_the_references(sparsity, clip_norm):
    last = compare(sparsity, 3, 12, StepSettings(**SETTINGS, clip_norm=clip_norm))
    assert set(last.terms) == {"reconstruction", "auxk"}
    assert float(last.terms["auxk"]) > 0


@pytest.mark.parametrize(
    ("sparsity", "d_in", "d_sae", "k", "rows"), [("topk", 100, 33, 1, 5), ("batch_topk", 3, 70, 2, 9)]
)
def test_odd_sizes(sparsity, d_in, d_sae, k, rows):
    compare(sparsity, 1, rows, StepSettings(**SETTINGS), d_in=d_in, d_sae=d_sae, k=k, apply_b_dec_to_input=False)


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(sparsity):
    settings = StepSettings(**SETTINGS, clip_norm=1.0)
    sae = autoencoder(sparsity)
    step = GpuStep(sae, settings)
    for seed in range(2):
        step(activations(10, 20, seed), 1e-2)
    resumed = autoencoder(sparsity)
    other = GpuStep(resumed, settings)
    resumed.load_state_dict(copy.deepcopy(sae.state_dict()))
    other.load_state_dict(copy.deepcopy(step.state_dict()))
    for one in (step, other):
        one(activations(10, 20, 2), 1e-2)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in sae.state_dict().items())
    assert torch.equal(step.copy, other.copy)
    rounding = 2**-7 if DEVICE.type == "cpu" else 0  # the interpreter cuts digits off
    torch.testing.assert_close(step.copy, sae.W_enc.detach().T.bfloat16(), rtol=rounding, atol=0)


def test_either_kernel_goes_on_from_the_others_state():
    settings = StepSettings(**SETTINGS)
    sae = autoencoder("topk")
    step = GpuStep(sae, settings)
    step(activations(10, 20, 0), 1e-2)
    twin = copy.deepcopy(sae)
    other = ReferenceStep(twin, settings)
    other.load_state_dict(copy.deepcopy(step.state_dict()))
    for one in (step, other):
        one(activations(10, 20, 1), 1e-2)
    torch.testing.assert_close(sae.W_enc, twin.W_enc, rtol=1e-4, atol=1e-6)
    step.load_state_dict(copy.deepcopy(other.state_dict()))
    assert step.steps == 2
    step(activations(10, 20, 2), 1e-2)


def test_a_batch_in_which_nothing_fires():
    sae = autoencoder("batch_topk")
    with torch.no_grad():
        sae.b_enc.fill_(-1e6)
    nothing = GpuStep(sae, StepSettings(**SETTINGS))(activations(6, 20, 0), 1e-2)
    assert float(nothing.l0) == 0
    assert float(sae.running_threshold) == 0


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the tests above have compiled the kernels")
@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles(capability, tmp_path):
    compile_for = Path(__file__).with_name("compile_for.py")
    outside = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    outside |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([".", *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, str(compile_for), str(capability), "100", "64", "4"],
        capture_output=True, text=True, env=outside, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    sizes = json.loads(done.stdout.splitlines()[-1])
    assert set(sizes) == {
        "_largest_of_rows", "_group_maxima", "_count_keys", "_count_reached", "_write_batch",
        "_scores", "_decode_into", "_sum_spans", "_latent_pass",
    }  # fmt: skip
    assert all(size > 0 for size in sizes.values())
