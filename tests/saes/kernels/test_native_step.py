"""The compiled kernels against the reference, step for step, and against their own interruptions."""

import copy

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.native import compiled
from saes.kernels.native_step import DENSE_SHARE, NativeStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepSettings

LIBRARY = compiled()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no C++ compiler that builds the kernels here")

D_IN, D_SAE, K = 24, 320, 6
SPARSITIES = ["topk", "batch_topk", "relu", "jump_relu", "gated"]
PRODUCTS = [torch.float32, torch.bfloat16]


def activations(rows, seed=0, d_in=D_IN):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(64, d_in, generator=torch.Generator().manual_seed(77))
    codes = (torch.rand(rows, 64, generator=generator) < 0.08) * torch.rand(rows, 64, generator=generator) * 3
    return codes @ directions + 0.1 * torch.randn(rows, d_in, generator=generator) + 0.5


def autoencoder(sparsity, d_in=D_IN, d_sae=D_SAE, **settings):
    sae = SparseAutoencoder(SAEConfig(d_in, d_sae, sparsity, k=min(K, d_sae), **settings), seed=2)
    if sae.config.d_out is None:
        sae.start_at_mean(activations(100, d_in=d_in))
    with torch.no_grad():
        sae.bias.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
        if sparsity not in ("topk", "batch_topk"):
            sae.bias.sub_(7.0)  # some per cent of the latents fire
        if sparsity == "gated":
            sae.r_mag.normal_(std=0.2, generator=torch.Generator().manual_seed(3))
            sae.b_mag.copy_(sae.bias + 2)
    return sae


def settings(**changes):
    return StepSettings(**{"dead_after_rows": 200, "k_aux": 9, "auxk_rows": 40, "l1_coefficient": 0.05, "l0_coefficient": 0.01,
                           "bandwidth": 0.3, **changes})  # fmt: skip


def both(sae, chosen, candidates=torch.float32):
    twin = copy.deepcopy(sae)
    return NativeStep(sae, chosen, LIBRARY, candidates), ReferenceStep(twin, chosen)


def assert_same_weights(one, other, rtol):
    for (name, mine), (_, theirs) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert (mine - theirs).norm() <= rtol * theirs.norm() + 1e-7, name


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("candidates", PRODUCTS)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
def test_learns_what_the_reference_learns(sparsity, candidates, clip_norm, apply_b_dec_to_input):
    sae = autoencoder(sparsity, apply_b_dec_to_input=apply_b_dec_to_input)
    step, reference = both(sae, settings(clip_norm=clip_norm), candidates)
    for seed in range(8):
        step.settle()  # no row is read while it rests: the two then differ by rounding alone
        x = activations(96, seed=seed)
        mine, truth = step(x, 1e-3), reference(x, 1e-3)
        assert set(mine.terms) == set(truth.terms)
        for name in truth.terms:
            assert float(mine.terms[name]) == pytest.approx(float(truth.terms[name]), rel=2e-3), name
        for name in ("loss", "explained_variance", "l0", "dead"):
            assert float(getattr(mine, name)) == pytest.approx(float(getattr(truth, name)), rel=2e-3, abs=1e-4), name
    if sparsity not in ("topk", "batch_topk"):
        assert float(mine.l0) < DENSE_SHARE * D_SAE, "the sparse path was to be tested"
    else:
        assert "auxk" in mine.terms
    step.settle()
    assert_same_weights(step.sae, reference.sae, 2e-3)
    assert torch.equal(step.rows_since_fired, reference.rows_since_fired)
    if sparsity == "batch_topk":
        assert float(step.sae.running_threshold) == pytest.approx(float(reference.sae.running_threshold), rel=1e-3)


KINDS = [
    ("topk", {"prefixes": (20, 100)}, {}),
    ("batch_topk", {"prefixes": (64, 65, 300)}, {}),
    ("topk", {"d_out": 10, "apply_b_dec_to_input": False}, {}),
    ("batch_topk", {"d_out": 40, "apply_b_dec_to_input": False, "skip": True, "prefixes": (32,)}, {}),
    ("jump_relu", {"d_out": 10, "apply_b_dec_to_input": False, "skip": True}, {}),
    ("gated", {"d_out": 10, "apply_b_dec_to_input": False, "skip": True}, {"penalty": "tanh"}),
    ("relu", {}, {"penalty": "tanh", "tanh_scale": 0.5}),
    ("gated", {}, {"penalty": "tanh"}),
    ("jump_relu", {}, {"penalty": "tanh", "l0_coefficient": 0.1}),
    ("jump_relu", {}, {"penalty": "target_l0", "target_l0": 5.0, "l0_coefficient": 1.0}),
    ("topk", {"sites": (("a", 10), ("b", 14))}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("sparsity", "shape", "changes"), KINDS, ids=str)
@pytest.mark.parametrize("candidates", PRODUCTS)
def test_every_kind_learns_what_the_reference_learns(sparsity, shape, changes, candidates):
    sae = autoencoder(sparsity, **shape)
    step, reference = both(sae, settings(clip_norm=2.0, **changes), candidates)
    turned = torch.randn(D_IN, sae.d_out, generator=torch.Generator().manual_seed(9))
    for seed in range(6):
        step.settle()
        x = activations(96, seed=seed)
        target = (x @ turned).relu() if sae.config.d_out is not None else None
        mine, truth = step(x, 1e-3, target), reference(x, 1e-3, target)
        assert set(mine.terms) == set(truth.terms)
        for name in truth.terms:
            assert float(mine.terms[name]) == pytest.approx(float(truth.terms[name]), rel=2e-3), name
        for name in ("loss", "explained_variance", "l0", "dead"):
            assert float(getattr(mine, name)) == pytest.approx(float(getattr(truth, name)), rel=2e-3, abs=1e-3), name
    step.settle()
    assert_same_weights(step.sae, reference.sae, 3e-3)
    assert torch.equal(step.rows_since_fired, reference.rows_since_fired)


def test_a_transcoder_needs_its_target():
    sae = autoencoder("topk", d_out=10, apply_b_dec_to_input=False)
    with pytest.raises(ValueError, match="needs the target"):
        NativeStep(sae, settings(), LIBRARY)(activations(30), 1e-3)


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize(("d_in", "d_sae", "rows"), [(5, 7, 3), (17, 130, 33), (48, 1000, 70)])
def test_odd_sizes(sparsity, d_in, d_sae, rows):
    step, reference = both(autoencoder(sparsity, d_in, d_sae), settings())
    x = activations(rows, seed=3, d_in=d_in)
    mine, truth = step(x, 1e-3), reference(x, 1e-3)
    assert float(mine.loss) == pytest.approx(float(truth.loss), rel=1e-4)
    assert_same_weights(step.sae, reference.sae, 1e-4)


@pytest.mark.parametrize("candidates", PRODUCTS)
def test_winners_are_those_of_the_exact_code(candidates):
    for sparsity in ("topk", "batch_topk"):
        sae, x = autoencoder(sparsity), activations(200, seed=4)
        step = NativeStep(sae, settings(), LIBRARY, candidates)
        code, _ = step._firings(step._candidates(sae.centred(x).detach()))
        row = torch.repeat_interleave(torch.arange(200), code.start.diff())
        found = torch.zeros(200, D_SAE).index_put_((row, code.latent.long()), code.value)
        torch.testing.assert_close(found, sae.encode(x).detach())


@pytest.mark.parametrize("candidates", PRODUCTS)
def test_batch_topk_wins_though_a_few_rows_take_nearly_all(candidates):
    sae = autoencoder("batch_topk", d_sae=4000)
    step = NativeStep(sae, settings(), LIBRARY, candidates)
    step.capacity = 8  # so that rows overflow at first
    for x in (activations(200, seed=1), torch.cat([activations(20, seed=5) * 10, activations(180, seed=6) * 0.1])):
        code, _ = step._firings(step._candidates(sae.centred(x).detach()))
        row = torch.repeat_interleave(torch.arange(200), code.start.diff())
        found = torch.zeros(200, 4000).index_put_((row, code.latent.long()), code.value)
        torch.testing.assert_close(found, sae.encode(x).detach())


def test_nothing_fires():
    for sparsity in SPARSITIES:
        sae = autoencoder(sparsity)
        with torch.no_grad():
            sae.bias.fill_(-1e6)
        before = sae.W_dec.detach().clone()
        metrics = NativeStep(sae, settings(), LIBRARY)(activations(50), 1e-3)
        assert float(metrics.l0) == 0
        assert torch.equal(sae.W_dec, before)


@pytest.mark.parametrize("sparsity", ["relu", "jump_relu", "gated"])
def test_what_is_not_sparse_yet_is_learned_by_the_reference(sparsity):
    sae = autoencoder(sparsity)
    with torch.no_grad():
        sae.bias.add_(6.8)
    step, reference = both(sae, settings())
    for seed in range(3):
        x = activations(64, seed=seed)
        mine, truth = step(x, 1e-3), reference(x, 1e-3)
        assert float(mine.l0) > DENSE_SHARE * D_SAE
        assert float(mine.loss) == pytest.approx(float(truth.loss), rel=1e-5)
    with torch.no_grad():  # and back: from one path to the other with Adam's memory
        for one in (sae, reference.sae):
            one.bias.sub_(7.0)
    x = activations(64, seed=9)
    mine, truth = step(x, 1e-3), reference(x, 1e-3)
    assert float(mine.l0) < DENSE_SHARE * D_SAE
    step.settle()
    assert_same_weights(sae, reference.sae, 1e-4)


@pytest.mark.parametrize("sparsity", ["relu", "jump_relu", "gated"])
def test_the_lengths_that_tell_how_far_a_product_strays_are_those_of_the_rows(sparsity):
    sae = autoencoder(sparsity)
    with torch.no_grad():
        sae.bias.sub_(2.0)
    step = NativeStep(sae, settings(), LIBRARY, torch.bfloat16)
    for seed in range(4):
        step(activations(64, seed=seed), 1e-3)
        torch.testing.assert_close(step.lengths, sae.W_enc.detach().norm(dim=0))
    assert (step.rest.last < step.rest.steps).any(), "some rows were to rest"
    step.settle()
    torch.testing.assert_close(step.lengths, sae.W_enc.detach().norm(dim=0))
    with torch.no_grad():
        sae.bias.add_(8.8)
    step(activations(64, seed=4), 1e-3)  # a dense one
    torch.testing.assert_close(step.lengths, sae.W_enc.detach().norm(dim=0))


@pytest.mark.parametrize("candidates", PRODUCTS)
def test_a_row_that_rested_goes_where_dense_adam_would_have_taken_it(candidates):
    sae = autoencoder("topk")
    step, reference = both(sae, settings(auxk_coefficient=0.0), candidates)
    shown = activations(32, seed=1)
    for seed in range(40):  # the first rows wake latents that the others hardly use
        x = shown if seed < 2 else activations(32, seed=2) * 0.01 + 5
        step(x, 1e-3)
        reference(x, 1e-3)
    rested = (step.rest.last > 0) & (step.rest.last <= 2)
    assert rested.sum() > 50, "many were to rest, after they had learned something"
    far = [(sae.W_dec - reference.sae.W_dec)[rested].norm(dim=1).max()]
    step.settle()
    far.append((sae.W_dec - reference.sae.W_dec)[rested].norm(dim=1).max())
    assert far[0] > 0.01
    assert far[1] < 2e-4  # what is left is the bending of the path along the sphere
    assert (sae.W_enc - reference.sae.W_enc)[:, rested].norm(dim=0).max() < 2e-4
    assert (sae.W_dec.norm(dim=1) - 1).abs().max() < 1e-5
    settled = sae.W_dec.detach().clone()
    step.settle()
    assert torch.equal(settled, sae.W_dec), "a second time changes nothing"


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_a_resumed_run_is_the_uninterrupted_one(sparsity):
    sae = autoencoder(sparsity)
    step = NativeStep(sae, settings(clip_norm=1.0), LIBRARY, torch.bfloat16)
    for seed in range(5):
        step(activations(64, seed=seed), 1e-3)
    saved = copy.deepcopy((sae.state_dict(), step.state_dict()))
    resumed = autoencoder(sparsity)
    resumed.load_state_dict(saved[0])
    other = NativeStep(resumed, settings(clip_norm=1.0), LIBRARY, torch.bfloat16)
    other.load_state_dict(saved[1])
    for seed in range(5, 10):
        step(activations(64, seed=seed), 1e-3)
        other(activations(64, seed=seed), 1e-3)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in sae.state_dict().items())
    assert torch.equal(step.rows_since_fired, other.rows_since_fired)


def test_goes_on_from_the_references_state():
    sae = autoencoder("topk")
    reference = ReferenceStep(sae, settings())
    for seed in range(3):
        reference(activations(64, seed=seed), 1e-3)
    twin = copy.deepcopy(sae)
    step = NativeStep(twin, settings(), LIBRARY)
    step.load_state_dict(copy.deepcopy(reference.state_dict()))
    x = activations(64, seed=4)
    step(x, 1e-3)
    reference(x, 1e-3)
    step.settle()
    assert_same_weights(twin, sae, 1e-4)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_loss_curve_is_the_references_though_rows_rest(sparsity):
    step, reference = both(autoencoder(sparsity), settings(), torch.bfloat16)
    curves = [[], []]
    for seed in range(60):
        for one, curve in zip((step, reference), curves, strict=True):
            curve.append(float(one(activations(64, seed=seed), 3e-3).terms["reconstruction"]))
    ends = torch.tensor(curves)[:, -20:].mean(1)
    assert ends[1] < 0.95 * curves[1][0]
    assert float(ends[0]) == pytest.approx(float(ends[1]), rel=0.02)


def test_a_kept_gradient_is_the_one_made_twice(monkeypatch):
    ends = []
    for values in (0, 2**23):
        monkeypatch.setattr("saes.kernels.native_step.KEPT_VALUES", values)
        sae = autoencoder("topk")
        step = NativeStep(sae, settings(clip_norm=0.5), LIBRARY)
        for seed in range(6):
            step(activations(64, seed=seed), 1e-3)
        ends.append([parameter.detach().clone() for parameter in sae.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
