"""The arithmetic of a plan, by hand; and that what it says would fit does."""

import dataclasses
import re

import pytest

from saes.autoencoder import SparseAutoencoder
from training.costs import CPU, DEVICES
from training.language_models.outline import Outline
from training.plan import World, kernel_of, plan, shards_bytes, what_fits
from training.spec import TrainSpec

GEMMA = Outline(parameters=2_600_000_000, read=1_000_000_000, layers=26, layers_read=13, d_model=2304, widest=9216,
                vocabulary=256_000, context=8192)  # fmt: skip
SPEC = TrainSpec(d_sae=65536, k=64, batch_rows=8192, tokens=819_200, dtype="bfloat16", window_batch=16)


def test_the_parts_of_a_single_process():
    made = plan(SPEC, GEMMA, DEVICES["h200"])
    parameters = 2 * 65536 * 2304 + 65536 + 2304
    assert made.parameters == parameters
    assert made.memory["weights"] == pytest.approx(4 * parameters, rel=1e-3)
    assert made.memory["Adam"] == 2 * made.memory["weights"]
    assert made.memory["language model"] == 2 * GEMMA.parameters
    assert made.memory["shuffle buffer"] == 65536 * 2304 * 4
    assert sum(made.communication.values()) == 0
    assert made.disk["checkpoints"] == pytest.approx(4 * parameters, rel=1e-3)
    assert made.fits
    # the floor that was reckoned for an H200 by hand: 5 to 7 ms, of which the product is 3.1
    assert 0.004 < made.seconds["training step"] < 0.012
    assert made.seconds["training step"] > 2 * 8192 * 2304 * 65536 / 989e12
    assert made.step_seconds == pytest.approx(
        max(made.seconds["text and tokens"], made.seconds["training step"] + made.seconds["language model"])
    )
    assert made.tokens_per_second == pytest.approx(8192 / made.step_seconds)
    assert 3600 * made.hours == pytest.approx(100 * made.step_seconds + sum(made.seconds_once.values()))
    assert shards_bytes(SPEC, GEMMA) == 819_200 * 2304 * 2


def test_latents_shared_out_send_no_weight_gradients():
    one = plan(SPEC, GEMMA, DEVICES["h100"])
    made = plan(SPEC, GEMMA, DEVICES["h100"], World(devices=8, latent_ranks=8))
    assert made.memory["Adam"] == pytest.approx(one.memory["Adam"] / 8, rel=1e-3)
    assert made.memory["shuffle buffer"] == one.memory["shuffle buffer"]
    sent = made.communication
    assert sent["gradients (data axis)"] == 0
    assert sent["all-gather of activations"] == 7 / 8 * 8192 * 2304 * 4
    assert sent["merge of candidates"] == 7 * 8192 * 64 * 4
    assert sent["sums of reconstructions"] == 2 * sent["all-gather of activations"]


def test_copies_send_gradients_alone():
    made = plan(SPEC, GEMMA, DEVICES["h100"], World(devices=4))
    sent = made.communication
    assert sent["all-gather of activations"] == sent["merge of candidates"] == sent["sums of reconstructions"] == 0
    assert sent["gradients (data axis)"] == pytest.approx(2 * 3 / 4 * 4 * made.parameters, rel=1e-3)
    assert sent["harvested activations"] == 3 / 4 * 8192 * 2304 * 2
    across = plan(SPEC, GEMMA, DEVICES["h100"], World(nodes=4))
    assert across.seconds["communication"] > made.seconds["communication"]


def test_a_sweep_shares_the_reading():
    one = plan(SPEC, GEMMA, DEVICES["h200"])
    made = plan(SPEC.with_fields(grid={"k": [32, 64, 128]}), GEMMA, DEVICES["h200"])
    assert made.parameters == 3 * one.parameters
    assert made.memory["Adam"] == 3 * one.memory["Adam"]
    assert made.memory["shuffle buffer"] == one.memory["shuffle buffer"]
    assert made.seconds["language model"] == one.seconds["language model"]
    assert made.seconds["training step"] == pytest.approx(3 * one.seconds["training step"], rel=0.2)
    sites = plan(SPEC.with_fields(sites=["a", "b"], buffer_dtype="bfloat16"), GEMMA, DEVICES["h200"])
    assert sites.memory["shuffle buffer"] == one.memory["shuffle buffer"]


def test_shards_need_no_language_model_while_training():
    made = plan(SPEC.with_fields(activations="some/folder"), GEMMA, DEVICES["h200"])
    assert made.seconds["language model"] == made.seconds["text and tokens"] == 0
    assert made.seconds_once["scale and buffer"] == 0 < made.seconds_once["quality"]


def test_a_cpu_does_one_thing_after_the_other():
    made = plan(SPEC, GEMMA, CPU)
    assert made.step_seconds == pytest.approx(sum(made.seconds.values()))


def test_processes_on_one_cpu_share_it():
    one, two = (plan(SPEC, GEMMA, CPU, World(devices=n)) for n in (1, 2))
    assert two.seconds["training step"] == pytest.approx(one.seconds["training step"], rel=0.3)
    assert two.room == pytest.approx(one.room / 2)


@pytest.mark.parametrize(
    ("change", "kind", "world", "kernel"),
    [
        ({}, "h100", World(), "sparse"),
        ({"kernels": "reference"}, "h100", World(), "dense"),
        ({"sparsity": "relu"}, "h100", World(), "dense"),
        ({"prefixes": [64]}, "h100", World(), "dense"),
        ({}, "h100", World(devices=2), "dense"),
        ({"kernels": "gpu"}, "h100", World(devices=2), "sparse"),
        ({"sparsity": "relu"}, "cpu", World(), "sparse"),
        ({"sparsity": "jump_relu"}, "cpu", World(), "sparse"),
        ({"sparsity": "gated"}, "cpu", World(), "sparse"),
        ({"prefixes": [64]}, "cpu", World(), "sparse"),
        ({"sparsity": "relu", "penalty": "p_anneal"}, "cpu", World(), "dense"),
        ({"resample_every": 10}, "cpu", World(), "dense"),
        ({}, "cpu", World(devices=2), "sparse"),
        ({"prefixes": [64]}, "cpu", World(devices=2), "sparse"),
        ({"prefixes": [64]}, "cpu", World(devices=2, latent_ranks=2), "dense"),
        ({"sparsity": "relu"}, "cpu", World(devices=2), "dense"),
    ],
)
def test_which_step(change, kind, world, kernel):
    spec = SPEC.with_fields(**change)
    assert kernel_of(spec, DEVICES[kind], world) == kernel
    assert plan(spec, GEMMA, DEVICES[kind], world).kernel == kernel


def parameters_of(spec, width):
    return sum(weight.numel() for weight in SparseAutoencoder(spec.sae_config(lambda _: width)).parameters())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sparsity": "jump_relu"},
        {"sparsity": "gated"},
        {"target_hook_name": "b"},
        {"target_hook_name": "b", "skip": True},
        {"crosscoder_sites": ["a", "b", "c"], "hook_name": TrainSpec().hook_name},
        {"prefixes": [8]},
    ],
)
def test_the_parameters_are_those_of_the_sae(change):
    spec = SPEC.with_fields(hook_name="a").with_fields(d_sae=64, k=4, **change)
    small = dataclasses.replace(GEMMA, d_model=24)
    assert plan(spec, small).parameters == parameters_of(spec, 24)


def test_a_skip_transcoder_s_bypass_is_on_every_device():
    spec = SPEC.with_fields(target_hook_name="blocks.3.hook_mlp_out")
    world = World(devices=8, latent_ranks=8)
    plain, skip = (plan(one, GEMMA, DEVICES["h100"], world) for one in (spec, spec.with_fields(skip=True)))
    assert skip.memory["Adam"] - plain.memory["Adam"] == 8 * 2304**2
    # both the input and the target are gathered, and one of them is written
    sent = plain.communication
    assert sent["all-gather of activations"] == 2 * 7 / 8 * 8192 * 2304 * 4
    assert sent["sums of reconstructions"] == sent["all-gather of activations"]
    assert plain.memory["shuffle buffer"] == 2 * 65536 * 2304 * 4


def test_a_crosscoder_is_as_wide_as_its_sites():
    one = plan(SPEC, GEMMA, CPU)
    made = plan(SPEC.with_fields(crosscoder_sites=["a", "b", "c"]), GEMMA, CPU)
    assert made.memory["Adam"] == pytest.approx(3 * one.memory["Adam"], rel=1e-3)
    assert made.memory["shuffle buffer"] == 3 * one.memory["shuffle buffer"]
    assert 2 < made.seconds["training step"] / one.seconds["training step"] < 3


def test_prefixes_and_gates_cost_a_little_and_are_summed_over_latents():
    spec = SPEC.with_fields(batch_rows=65536, buffer_rows=131072)
    one, nested, gated = (
        plan(spec.with_fields(**change), GEMMA, CPU)
        for change in ({}, {"prefixes": [1024, 8192]}, {"sparsity": "gated"})
    )
    for made in (nested, gated):
        assert 1 < made.seconds["training step"] / one.seconds["training step"] < 1.3
    assert nested.memory["at work"] - one.memory["at work"] == 2 * 65536 * 2304 * 4
    assert gated.memory["gradients"] == gated.memory["weights"], "its first steps are dense"
    world = World(devices=8, latent_ranks=8)
    alone, whole = (
        plan(SPEC.with_fields(**change), GEMMA, DEVICES["h100"], world).communication["sums of reconstructions"]
        for change in ({}, {"prefixes": [1024, 8192]})
    )
    assert whole == 4 * alone  # three prefixes, the last of which is everything, and the reconstruction itself


def test_own_shares_are_smaller_and_send_nothing():
    world = World(nodes=8, devices=8)
    spec = SPEC.with_fields(corpus="some/folder")
    shared, own = (plan(spec.with_fields(reading=name), GEMMA, DEVICES["h100"], world) for name in ("shared", "own"))
    assert shared.communication["harvested activations"] > 0 == own.communication["harvested activations"]
    assert own.communication["gradients (data axis)"] == shared.communication["gradients (data axis)"]
    assert own.memory["shuffle buffer"] == shared.memory["shuffle buffer"] / 64
    assert own.disk == shared.disk
    assert own.seconds["language model"] == shared.seconds["language model"]
    assert own.seconds["text and tokens"] < shared.seconds["text and tokens"] / 30
    told = plan(spec.with_fields(reading="own", corpus="storyworld:1"), GEMMA, DEVICES["h100"], world)
    assert told.seconds["text and tokens"] > 10 * own.seconds["text and tokens"], "every process tells all stories"


def test_what_would_fit_does():
    spec = SPEC.with_fields(d_sae=2_097_152, kernels="gpu")
    made = plan(spec, GEMMA, DEVICES["a100"])
    assert not made.fits
    said = what_fits(made, GEMMA)
    ranks = re.search(r"latent_ranks (\d+) on (\d+) devices", said)
    width = re.search(r"d_sae (\d+)", said)
    assert ranks
    assert width
    assert plan(spec, GEMMA, DEVICES["a100"], World(devices=int(ranks[2]), latent_ranks=int(ranks[1]))).fits
    assert plan(spec.with_fields(d_sae=int(width[1])), GEMMA, DEVICES["a100"]).fits
    assert not plan(spec.with_fields(d_sae=2 * int(width[1])), GEMMA, DEVICES["a100"]).fits
    inside = plan(spec, GEMMA, DEVICES["a100"], World(devices=8))
    assert re.search(r"latent_ranks [248] or", what_fits(inside, GEMMA))
    large = plan(
        spec.with_fields(dtype="float32"),
        Outline(30 * 10**9, 10**10, 40, 20, 4096, 16384, 32000, 4096),
        DEVICES["h100"],
    )
    assert "language model alone takes 120 GB: dtype bfloat16 would halve it" in what_fits(large, GEMMA)
    buffered = plan(SPEC.with_fields(buffer_rows=10_000_000), GEMMA, DEVICES["h100"])
    assert "buffer_rows 16384 would fit" in what_fits(buffered, GEMMA)


def test_what_cannot_be_shared_out():
    with pytest.raises(ValueError, match="must divide 8"):
        World(devices=8, latent_ranks=3)
    with pytest.raises(ValueError, match="d_sae"):
        plan(SPEC.with_fields(d_sae=65537), GEMMA, CPU, World(devices=2, latent_ranks=2))
    with pytest.raises(ValueError, match="at least 1"):
        World(nodes=0)
