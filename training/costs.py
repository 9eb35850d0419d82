"""What computing costs on a device: seconds a unit of work, each constant with where it comes from."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class StepCosts:
    """Seconds that a training step takes for each unit of its work."""

    flop: float
    """A floating-point operation of the dense products."""
    pre_activation: float
    """A pre-activation (row x latent) looked through for those that fire; in a dense step, all passes over it."""
    gathered: float
    """A number of a direction that is fetched for a firing: firings x d_in."""
    parameter: float
    """Of the SAE on this device: gradient, Adam, length one, the low-precision copy."""
    step: float
    """Whatever the size."""


@dataclass(frozen=True)
class Device:
    """One GPU, or the share of a machine that one process on CPUs has."""

    kind: str
    memory: float | None
    """In bytes; None where only the machine itself can say."""
    sparse: StepCosts
    """A step over the firing latents only (saes/kernels: cpu, native, gpu)."""
    dense: StepCosts
    """A step by autograd (saes/kernels/reference.py, and the step over many GPUs)."""
    model_flop: dict[str, float]
    """dtype -> seconds a floating-point operation of the language model."""
    told: dict[str, float]
    """storyworld or files -> seconds for reading a token of text, which every process does for the whole stream."""
    token: float
    """Seconds for tokenising it, which every process does for all that it is to see."""
    link: float
    """Bytes a second that a device sends while it receives as many, to others of its node."""
    network: float
    """... to other nodes."""
    source: str
    """Measured, or computed from what."""


GATHERS, GATHER_BYTES = 3, 4
"""Rounds in which a firing's directions are fetched (decoding, the values' gradient, the weights' gradients), float32."""
ADAM_BYTES = 26
"""A parameter's traffic in one fused pass: weight and two moments read and written in float32, a bfloat16 copy."""
AUTOGRAD_BYTES = 60
"""The same by autograd: gradient written, read for projection and Adam, and separate passes for the lengths."""
PASSES = 10
"""Passes of autograd over a float32 [row, d_sae] tensor, read or written: activation, top-k, scatter, masks, backward."""
LAUNCHES = 2e-4
"""Seconds a step in starting kernels on a GPU: about forty, at 5 microseconds each."""


def gpu(
    kind: str, memory_gb: float, bf16_tflops: float, fp32_tflops: float, bandwidth_tb: float, link_gb: float
) -> Device:
    """A GPU by its data sheet: 80 % of its peak in large products (what was measured on an H200 by others), 50 % in a
    language model, 85 % of its memory's bandwidth; links at 80 % of the sheet, one 400 Gb/s network card a GPU."""
    bf16, fp32 = 1 / (0.8e12 * bf16_tflops), 1 / (0.8e12 * fp32_tflops)
    byte = 1 / (0.85e12 * bandwidth_tb)
    return Device(
        kind=kind,
        memory=memory_gb * 1e9,
        sparse=StepCosts(bf16, 4 * byte, GATHERS * GATHER_BYTES * byte, ADAM_BYTES * byte, LAUNCHES),
        dense=StepCosts(fp32, 4 * PASSES * byte, 0.0, AUTOGRAD_BYTES * byte, LAUNCHES),
        model_flop={"bfloat16": 1.6 * bf16, "float16": 1.6 * bf16, "float32": 1.6 * fp32},
        told=TOLD,
        token=TOKENISED,
        link=0.8e9 * link_gb,
        network=0.8e9 * 50,
        source="computed from the data sheet, never measured",
    )


TOLD, TOKENISED = {"storyworld": 8e-7, "files": 1e-8}, 1.2e-6
"""Seconds a token of text: told by storyworld, or read from a .txt file; and tokenised, by one process (measured on a busy
machine, 2026-11)."""

CPU = Device(
    kind="cpu",
    memory=None,
    # Two cores of a Zen 4 (390 GFLOP/s in bfloat16, 150 in float32, 28 GB/s). Sparse: the parts of a compiled step, timed
    # at d_in 768, d_sae 16384, k 32. Dense: what SAELens' standard step took there, beside five float32 products.
    sparse=StepCosts(flop=2.6e-12, pre_activation=3.3e-10, gathered=4.5e-10, parameter=9e-10, step=1e-3),
    dense=StepCosts(flop=6.7e-12, pre_activation=3.3e-8, gathered=0.0, parameter=1.2e-8, step=2e-3),
    model_flop={
        "bfloat16": 5e-12,
        "float16": 5e-11,
        "float32": 1.5e-11,
    },  # float32: 13 k tokens/s of three small blocks
    told=TOLD,
    token=TOKENISED,
    link=1e9,
    network=1e8,
    source="measured on two cores of a Zen 4; --measure fits this machine",
)

DEVICES = {
    "cpu": CPU,
    "a100": gpu("a100", 80, 312, 19.5, 2.0, 300),
    "h100": gpu("h100", 80, 989, 67, 3.35, 450),
    "h200": gpu("h200", 141, 989, 67, 4.8, 450),
}
"""SXM boards; memory in decimal gigabytes, link one way."""


def shared_out(device: Device, processes: int) -> Device:
    """The part of a CPU that one of ``processes`` on it has."""

    def scaled(costs: StepCosts) -> StepCosts:
        return StepCosts(*(processes * value for value in vars(costs).values()))

    return replace(
        device,
        sparse=scaled(device.sparse),
        dense=scaled(device.dense),
        model_flop={dtype: processes * value for dtype, value in device.model_flop.items()},
        told={kind: processes * value for kind, value in device.told.items()},
        token=processes * device.token,
        memory=None if device.memory is None else device.memory / processes,
    )
