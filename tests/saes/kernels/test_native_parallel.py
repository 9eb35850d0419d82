"""The compiled kernels on data ranks against one process's step on the whole batch."""

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.choose import choose_step
from saes.kernels.native import compiled
from saes.kernels.native_step import NativeStep
from saes.kernels.slices import latents_of, whole_sae
from saes.kernels.step import StepSettings
from tests.processes import on_ranks

pytestmark = pytest.mark.skipif(compiled() is None, reason="no C++ compiler that builds the kernels here")

D_IN, D_OUT, D_SAE, ROWS, STEPS = 24, 10, 320, 60, 8
CASES = {
    "clipped, with rescue": ({}, {}),
    "one row for the rescue": ({}, {"auxk_rows": 1}),
    "unclipped": ({}, {"clip_norm": None, "auxk_coefficient": 0.0}),
    "prefixes": ({"prefixes": (40, 100)}, {}),
    "skip transcoder": ({"d_out": D_OUT, "apply_b_dec_to_input": False, "skip": True}, {}),
}


def activations(seed):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(64, D_IN, generator=torch.Generator().manual_seed(77))
    codes = (torch.rand(ROWS, 64, generator=generator) < 0.08) * torch.rand(ROWS, 64, generator=generator) * 3
    return codes @ directions + 0.1 * torch.randn(ROWS, D_IN, generator=generator) + 0.5


def learned(case, axes, resumed=False):
    """The metrics of each step and the settled SAE; of a resumed one, saved and made anew in the middle."""
    changes, settings = CASES[case]
    settings = StepSettings(**{"dead_after_rows": 100, "k_aux": 9, "auxk_rows": 41, "clip_norm": 0.5} | settings)
    sae = SparseAutoencoder(SAEConfig(**{"d_in": D_IN, "d_sae": D_SAE, "k": 6} | changes), seed=2)
    sae = latents_of(sae, axes)
    step, metrics = choose_step(sae, settings, "native"), []
    assert isinstance(step, NativeStep)
    for seed in range(STEPS):
        x = activations(seed)
        target = None if sae.config.d_out is None else axes.own(x[:, :D_OUT] * 2 + 1)
        seen = step(axes.own(x), 3e-3, target)
        told = {name: getattr(seen, name) for name in ("loss", "explained_variance", "l0", "dead")} | seen.terms
        metrics.append({name: float(value) for name, value in told.items()})
        if resumed and seed == STEPS // 2:
            saved = [whole_sae(sae), step.state_dict()]
            torch.distributed.broadcast_object_list(saved)
            sae = latents_of(saved[0], axes)
            step = choose_step(sae, settings, "native")
            step.load_state_dict(saved[1])
    rested = int((step.rest.last < step.rest.steps).sum())
    step.settle()
    return metrics, {name: value.clone() for name, value in sae.state_dict().items()}, rested, step.rows_since_fired


def every_case():
    from training.ranks import join_ranks

    axes = join_ranks(1, ROWS, "cpu").axes
    return {(case, resumed): learned(case, axes, resumed) for case in CASES for resumed in (False, True)}


@pytest.fixture(scope="module")
def outcomes():
    return on_ranks(2, every_case)


@pytest.mark.parametrize("case", CASES)
def test_data_ranks_learn_what_one_process_learns(outcomes, case):
    from saes.kernels.axes import ALONE

    truth, weights, rested, silent = learned(case, ALONE)
    metrics, found, rested_there, silent_there = outcomes[0][case, False]
    for mine, its in zip(metrics, truth, strict=True):
        assert mine == pytest.approx(its, rel=1e-4, abs=1e-5)
    assert rested == rested_there > 20
    assert torch.equal(silent, silent_there)
    for name, tensor in weights.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}"
        )


@pytest.mark.parametrize("case", CASES)
def test_ranks_stay_alike_and_resumed_they_make_the_same_bits(outcomes, case):
    first, second = (one[case, False][1] for one in outcomes)
    resumed = outcomes[0][case, True][1]
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), f"{name} has drifted apart"
        assert torch.equal(tensor, resumed[name]), f"{name} is another after a resume"
    if "unclipped" not in case:
        assert outcomes[0][case, False][0][-1]["auxk"] > 0
