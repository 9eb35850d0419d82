"""The step over many ranks against one process's step on the whole batch: every sparsity, both axes, both ways."""

import dataclasses

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.parallel import ParallelStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.slices import latents_of, whole_sae
from saes.kernels.step import StepSettings
from tests.processes import on_ranks

D_IN, D_OUT, D_SAE, K, ROWS, STEPS = 12, 7, 64, 5, 48, 6
LEARNS = StepSettings(
    dead_after_rows=60, k_aux=7, auxk_rows=20, clip_norm=2.0, l1_coefficient=0.05, l0_coefficient=0.05, bandwidth=0.5
)
SPARSITIES = ("topk", "batch_topk", "relu", "jump_relu", "gated")
CASES = {
    **{f"{sparsity}/dense": (sparsity, None, {}, {}) for sparsity in SPARSITIES},
    **{f"{sparsity}/sparse": (sparsity, torch.float32, {}, {}) for sparsity in SPARSITIES[:2]},
    "topk/bf16": ("topk", torch.bfloat16, {}, {}),
    "batch_topk/bf16": ("batch_topk", torch.bfloat16, {}, {}),
    "b_dec stays out of the encoder, dense": ("topk", None, {"apply_b_dec_to_input": False}, {}),
    "b_dec stays out of the encoder, sparse": ("topk", torch.float32, {"apply_b_dec_to_input": False}, {}),
    "k above a rank's latents": ("topk", torch.float32, {"k": 30}, {}),
    "k above a rank's latents, dense": ("batch_topk", None, {"k": 30}, {}),
    "one row for the rescue": ("topk", torch.float32, {}, {"auxk_rows": 1}),
    "one row for the rescue, dense": ("topk", None, {}, {"auxk_rows": 1}),
    "prefixes": ("batch_topk", None, {"prefixes": (3, 20, 40)}, {}),
    "transcoder": ("topk", None, {"d_out": D_OUT, "apply_b_dec_to_input": False}, {}),
    "skip transcoder": ("gated", None, {"d_out": D_OUT, "apply_b_dec_to_input": False, "skip": True}, {}),
    "crosscoder": ("topk", torch.float32, {"sites": (("a", 5), ("b", D_IN - 5))}, {}),
    "crosscoder with a penalty": ("relu", None, {"sites": (("a", 5), ("b", D_IN - 5))}, {}),
    "tanh": ("jump_relu", None, {}, {"penalty": "tanh"}),
    "target_l0": ("jump_relu", None, {}, {"penalty": "target_l0", "target_l0": 9.0}),
    "p_anneal": ("relu", None, {}, {"penalty": "p_anneal", "total_steps": STEPS, "p_end": 0.3}),
    "resampled/": ("relu", None, {}, {"resample_every": 2}),
    "resampled topk": ("topk", None, {}, {"resample_every": 4}),
    "resampled gated transcoder": (
        "gated",
        None,
        {"d_out": D_OUT, "apply_b_dec_to_input": False},
        {"resample_every": 2},
    ),
    "unclipped, no rescue": ("topk", torch.float32, {}, {"clip_norm": None, "auxk_coefficient": 0.0}),
}
"""name -> sparsity, candidates, changes of the SAE's config, changes of the step's settings."""
MESHES = {(2, 1): "/", (1, 2): "/", (2, 2): "", (1, 4): "/"}
"""Data ranks x latent ranks -> what the name of a case has in it that is tried there: all with both axes at once."""


def activations(seed):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(77))
    codes = (torch.rand(ROWS, 40, generator=generator) < 0.1) * torch.rand(ROWS, 40, generator=generator) * 3
    # Some rows are far louder: a batch_topk's budget then falls unevenly on the ranks.
    loud = 1 + 9.0 * (torch.arange(ROWS) % 4 == 1)
    return (codes @ directions + 0.1 * torch.randn(ROWS, D_IN, generator=generator)) * loud[:, None] + 0.5


def cases_at(*mesh):
    return [case for case in CASES if MESHES[mesh] in case]


def target_of(sae, seed):
    """What a transcoder is to write."""
    return None if sae.config.d_out is None else 2 * activations(seed)[:, :D_OUT] + 1


def autoencoder(case):
    sparsity, _, changes, _ = CASES[case]
    sae = SparseAutoencoder(SAEConfig(**{"d_in": D_IN, "d_sae": D_SAE, "sparsity": sparsity, "k": K} | changes), seed=2)
    sae.start_at_mean(activations(999), target_of(sae, 999))
    with torch.no_grad():
        sae.bias.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
        sae.bias[3::5] -= 50  # dead: unevenly many on each rank
        sae.bias[:20] -= 50
    return sae


def learned(step, own, steps):
    metrics = []
    for seed in steps:
        target = target_of(step.sae, seed)
        seen = step(own(activations(seed)), 3e-3, None if target is None else own(target))
        told = {name: getattr(seen, name) for name in ("loss", "explained_variance", "l0", "dead")} | seen.terms
        metrics.append({name: float(value) for name, value in told.items()})
    return metrics


def one_process(case):
    sae = autoencoder(case)
    step = ReferenceStep(sae, dataclasses.replace(LEARNS, **CASES[case][3]))
    metrics = learned(step, lambda rows: rows, range(STEPS))
    return sae.state_dict(), step.state_dict(), metrics


def all_cases(latent_ranks):
    """Every case on this rank; on the first, what came out of it. In the middle, each step is saved and made anew."""
    from training.ranks import join_ranks

    outcomes = {}
    for ranks_of_latent in latent_ranks:
        axes = join_ranks(ranks_of_latent, ROWS, "cpu").axes
        for case in cases_at(axes.data.size, axes.latent.size):
            settings = dataclasses.replace(LEARNS, **CASES[case][3])
            share = latents_of(autoencoder(case), axes)
            step = ParallelStep(share, settings, CASES[case][1])
            metrics = learned(step, axes.own, range(STEPS // 2))
            saved = [whole_sae(share), step.state_dict()]
            torch.distributed.broadcast_object_list(saved)
            share = latents_of(saved[0], axes)
            step = ParallelStep(share, settings, CASES[case][1])
            step.load_state_dict(saved[1])
            metrics += learned(step, axes.own, range(STEPS // 2, STEPS))
            whole, state = whole_sae(share), step.state_dict()
            same_b_dec = torch.equal(axes.world.stacked(share.b_dec.data).amin(0), share.b_dec.data)
            if axes.world.first:
                outcomes[ranks_of_latent, case] = (whole.state_dict(), state, metrics, same_b_dec)
            else:
                assert whole is None
                assert state == {}
    return outcomes


@pytest.fixture(scope="module")
def truths():
    return {case: one_process(case) for case in CASES}


@pytest.fixture(scope="module")
def outcomes():
    """(data ranks, latent ranks, case) -> what came out."""
    found = {}
    for size, latent_ranks in ((2, (1, 2)), (4, (2, 4))):
        for (latent, case), outcome in on_ranks(size, all_cases, latent_ranks)[0].items():
            found[size // latent, latent, case] = outcome
    return found


@pytest.mark.parametrize(("mesh", "case"), [(mesh, case) for mesh in MESHES for case in cases_at(*mesh)])
def test_many_ranks_learn_what_one_process_learns(outcomes, truths, mesh, case):
    weights, state, metrics, same_b_dec = outcomes[(*mesh, case)]
    truth, truth_state, truth_metrics = truths[case]
    for found, expected in zip(metrics, truth_metrics, strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert set(weights) == set(truth)
    for name, tensor in truth.items():
        torch.testing.assert_close(
            weights[name], tensor, rtol=1e-4, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}"
        )
    assert weights["W_enc"].T.is_contiguous()
    assert torch.equal(state["rows_since_fired"], truth_state["rows_since_fired"])
    assert state["rows_seen"] == truth_state["rows_seen"] == STEPS * ROWS
    for index, moments in truth_state["optimiser"]["state"].items():
        for name, tensor in moments.items():
            torch.testing.assert_close(state["optimiser"]["state"][index][name], tensor, rtol=1e-3, atol=1e-4)
    assert same_b_dec, "what every rank holds whole has drifted apart"


def test_the_cases_reach_what_they_are_for(truths):
    _, _, metrics = truths["topk/dense"]
    assert metrics[-1]["auxk"] > 0
    assert 0.2 < metrics[-1]["dead"] < 1
    dead = {case: [step["dead"] for step in metrics] for case, (_, _, metrics) in truths.items()}
    assert dead["relu/dense"][2] > 0.1
    assert dead["resampled/"][2] == 0, "no latent came back"
    assert dead["resampled gated transcoder"][2] < dead["gated/dense"][2]
    assert dead["resampled topk"][4] < 0.5 * dead["resampled topk"][3]
    free = one_process("unclipped, no rescue")[0]["W_dec"]
    assert not torch.allclose(free, truths["topk/dense"][0]["W_dec"], atol=1e-4), (
        "neither clipping nor rescue did anything"
    )
