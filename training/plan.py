"""What a training run will cost before anything is started: memory, communication, disk, time. Arithmetic alone.

The model of the costs is small on purpose: a step is a dense product, a look through what it gave, some gathering and an
update of every parameter, one after the other; of all this only the reading of text overlaps with the rest, beside a
GPU. Constants are in training/costs.py. For the CPU it is checked by benchmarks/plan.py; for GPUs it is computed from
data sheets.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from training.costs import CPU, DEVICES, Device, shared_out
from training.evaluate import LOGITS_AT_ONCE
from training.language_models.opening import choose_device
from training.language_models.outline import Outline, outline
from training.spec import TrainSpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
USABLE = 0.92
"""The share of a device's memory that is left by drivers, fragments and others."""
JUDGING_PASSES = 4
"""Forward passes of the whole model in which training/patched_loss.py compares what an SAE leaves of it."""
CHUNK_BYTES = 2**24
"""What a sparse step holds of its pre-activations at a time."""


@dataclass(frozen=True)
class World:
    """The processes of a run: a device each."""

    nodes: int = 1
    devices: int = 1
    """Of each node."""
    latent_ranks: int = 1
    """How many share one copy of the dictionary, each with its part of the latents."""

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.devices < 1 or self.latent_ranks < 1:
            raise ValueError("nodes, gpus and latent_ranks must be at least 1")
        if self.size % self.latent_ranks:
            raise ValueError(
                f"{self.size} processes cannot be shared out in groups of {self.latent_ranks} (latent_ranks); "
                f"it must divide {self.size}"
            )

    @property
    def size(self) -> int:
        return self.nodes * self.devices

    @property
    def data_ranks(self) -> int:
        return self.size // self.latent_ranks


@dataclass(frozen=True)
class Plan:
    """The costs of one run; bytes and seconds, of one device where not said otherwise."""

    spec: TrainSpec
    world: World
    device: Device
    kernel: str
    """How a step is computed, sparse or dense."""
    parameters: int
    """Of the SAE, or of all in a sweep, on all ranks of a copy together."""
    model_parameters: int
    memory: dict[str, float]
    communication: dict[str, float]
    """Bytes that a device receives in a step."""
    disk: dict[str, float]
    """Bytes, of the whole run."""
    seconds: dict[str, float]
    """Of a step."""
    seconds_once: dict[str, float]
    """Of the run's beginning and end."""

    @property
    def memory_total(self) -> float:
        return sum(self.memory.values())

    @property
    def step_seconds(self) -> float:
        """Of a step as it is. Beside a GPU, text is tokenised while the step before runs; a CPU does one after the other."""
        text = self.seconds["text and tokens"]
        others = sum(self.seconds.values()) - text
        return others + text if self.device.kind == "cpu" else max(others, text)

    @property
    def tokens_per_second(self) -> float:
        """Activations learned from, by all devices together."""
        return self.spec.batch_rows / self.step_seconds

    @property
    def hours(self) -> float:
        return (self.spec.steps * self.step_seconds + sum(self.seconds_once.values())) / 3600

    @property
    def room(self) -> float:
        """Bytes of memory that one process can have."""
        if self.device.memory is not None:
            return USABLE * self.device.memory
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return USABLE * machine / self.world.devices

    @property
    def fits(self) -> bool:
        return self.memory_total <= self.room

    def as_dict(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters,
            "model_parameters": self.model_parameters,
            "device": self.device.kind,
            "constants": self.device.source,
            "kernel": self.kernel,
            **asdict(self.world),
            "devices_in_all": self.world.size,
            "data_ranks": self.world.data_ranks,
            "memory": self.memory | {"total": self.memory_total, "room": self.room},
            "communication": self.communication | {"total": sum(self.communication.values())},
            "disk": self.disk | {"total": sum(self.disk.values())},
            "seconds_a_step": self.seconds | {"total": self.step_seconds},
            "seconds_once": self.seconds_once,
            "steps": self.spec.steps,
            "tokens_per_second": self.tokens_per_second,
            "hours": self.hours,
            "fits": self.fits,
        }


def plan(spec: TrainSpec, outline: Outline, device: Device = CPU, world: World = World()) -> Plan:
    """The costs of the run that ``spec`` describes, on a model of this outline; of a sweep, of all its SAEs together."""
    members = spec.members()
    for one in members:
        if one.d_sae % world.latent_ranks or spec.batch_rows % world.size:
            raise ValueError(
                f"d_sae ({one.d_sae}) must be divisible by latent_ranks ({world.latent_ranks}) and batch_rows "
                f"({spec.batch_rows}) by the number of processes ({world.size})"
            )
    context = min(outline.context, 512) if spec.context is None else spec.context
    kernel = kernel_of(spec, device, world)
    if device.kind == "cpu":
        device = shared_out(device, world.devices)
    parts = [Part(one, outline.d_model, world, kernel_of(one, device, world)) for one in members]
    return Plan(
        spec=spec,
        world=world,
        device=device,
        kernel=kernel,
        parameters=sum(part.whole for part in parts),
        model_parameters=outline.parameters,
        memory=_memory(spec, outline, parts, context),
        communication=_communication(spec, outline, world, parts),
        disk=_disk(spec, outline, parts),
        seconds=_seconds(spec, outline, device, world, parts, context),
        seconds_once=_seconds_once(spec, outline, device, world, context),
    )


@dataclass(frozen=True)
class Part:
    """One SAE of the run, and what of it and of each step falls to one device."""

    spec: TrainSpec
    d_in: int
    world: World
    kernel: str

    @property
    def whole(self) -> int:
        """Parameters of the whole SAE."""
        vectors = {"jump_relu": 2, "gated": 3}.get(self.spec.sparsity, 1)  # b_enc, and more
        return 2 * self.spec.d_sae * self.d_in + vectors * self.spec.d_sae + self.d_in

    @property
    def own(self) -> float:
        """Parameters on the device: all latents' are shared out, b_dec is everywhere."""
        return (self.whole - self.d_in) / self.world.latent_ranks + self.d_in

    @property
    def rows(self) -> float:
        return self.spec.batch_rows / self.world.data_ranks

    @property
    def latents(self) -> float:
        return self.spec.d_sae / self.world.latent_ranks

    @property
    def firings(self) -> float:
        return self.rows * self.spec.k / self.world.latent_ranks

    @property
    def at_work(self) -> float:
        """Bytes that come and go within a step."""
        if self.kernel == "sparse":
            return 6 * self.rows * self.d_in * 4 + CHUNK_BYTES + self.rows * self.spec.k * 40
        return 6 * self.rows * self.latents * 4 + 4 * self.rows * self.d_in * 4

    def step_seconds(self, device: Device) -> float:
        costs = device.sparse if self.kernel == "sparse" else device.dense
        work = work_of(self.kernel, self.rows, self.d_in, self.latents, self.firings, self.own)
        return sum(amount * cost for amount, cost in zip(work, vars(costs).values(), strict=True))


def kernel_of(spec: TrainSpec, device: Device, world: World) -> str:
    """Whether the step goes over firing latents only, as saes/kernels/choose.py decides it.

    relu, jump_relu and gated are planned as dense, as they are at their beginning: once few latents fire, compiled kernels are
    faster than this.
    """
    if spec.kernels == "reference":
        return "dense"
    if spec.kernels != "auto":
        return "sparse"
    if spec.sparsity not in ("topk", "batch_topk"):
        return "dense"
    return "dense" if device.kind != "cpu" and world.size > 1 else "sparse"


def what_fits(made: Plan, outline: Outline) -> str:
    """One line: how much memory is missing, and what would do."""
    spec, world, device = made.spec, made.world, made.device
    said = (
        f"{_gigabytes(made.memory_total)} of memory a process, and {'an ' if device.kind[0] in 'ah' else 'a '}{device.kind} "
        f"has {_gigabytes(made.room)} to give"
    )
    alone = made.memory["language model"]
    if alone > made.room:
        smaller = "dtype bfloat16 would halve it" if BYTES[spec.dtype] == 4 else "a smaller one is needed"
        return f"too little: {said}; the language model alone takes {_gigabytes(alone)}: {smaller}"

    def fits(changed: TrainSpec, inside: World) -> bool:
        try:
            return plan(changed, outline, CPU if device.kind == "cpu" else device, inside).fits
        except ValueError:  # not divisible
            return False

    found = []
    ranks = [2**power for power in range(1, 12) if 2**power > world.latent_ranks]
    shared = next((n for n in ranks if n <= world.size and fits(spec, replace(world, latent_ranks=n))), None)
    more = next((n for n in ranks if device.kind != "cpu" and fits(spec, _of(n, world))), None)
    if shared is not None:
        found.append(f"latent_ranks {shared}")
    elif more is not None:
        found.append(f"latent_ranks {more} on {more} devices")
    halves = (spec.d_sae >> power for power in range(1, 24))
    d_sae = next((n for n in halves if n >= spec.k and fits(spec.with_fields(d_sae=n), world)), None)
    if d_sae is not None:
        found.append(f"d_sae {d_sae}")
    for name, least in (("buffer_rows", 2 * spec.batch_rows), ("window_batch", 1)):
        if least < getattr(spec, name) and fits(spec.with_fields(**{name: least}), world):
            found.append(f"{name} {least}")
    return f"too little: {said}; {' or '.join(found) + ' would fit' if found else 'no single change would fit'}"


def refuse_what_cannot_fit(spec: TrainSpec, latent_ranks: int = 1, processes: int = 1, here: int = 1) -> None:
    """A ValueError, in one line, where this machine's memory cannot hold the run; reads the model's config alone.

    ``here`` of the ``processes`` run on this machine. A model whose config is not here yet is let pass.
    """
    try:
        found = outline(spec.model, spec.hook_names, spec.revision)
    except (OSError, ValueError):
        return  # whoever opens it knows better what is wrong
    device = torch.device(choose_device(spec.device))
    machine = CPU
    if device.type == "cuda":
        machine = replace(
            DEVICES["h100"], kind="gpu", memory=float(torch.cuda.get_device_properties(device).total_memory)
        )
    made = plan(spec, found, machine, World(processes // here, here, latent_ranks))
    if not made.fits:
        raise ValueError(what_fits(made, found))


def _of(n: int, world: World) -> World:
    """``n`` devices that share one copy, as many a node as before."""
    devices = min(n, max(world.devices, 8))
    return World(max(1, n // devices), devices, n)


# ---- the sums


def _memory(spec: TrainSpec, outline: Outline, parts: Sequence[Part], context: int) -> dict[str, float]:
    number, windows = BYTES[spec.dtype], spec.window_batch * context
    reading = windows * (len(spec.hook_names) * outline.d_model + 5 * outline.d_model + 2 * outline.widest) * number
    logits = 3 * min(LOGITS_AT_ONCE, windows * outline.vocabulary) * 4
    own = sum(part.own for part in parts)
    return {
        "weights": 4 * own,
        "Adam": 8 * own,
        "gradients": 4 * max((part.own for part in parts if part.kernel == "dense"), default=0),
        "bfloat16 copy": 2 * sum(part.latents * part.d_in for part in parts if part.kernel == "sparse"),
        "shuffle buffer": _buffer_bytes(spec, outline),
        "language model": outline.parameters * number,
        # a step, a harvest and the judgement at the end never run together
        "at work": max(*(part.at_work for part in parts), reading, logits),
    }


def _buffer_bytes(spec: TrainSpec, outline: Outline) -> float:
    return len(spec.hook_names) * spec.buffer_rows * outline.d_model * BYTES[spec.buffer_dtype]


def _communication(spec: TrainSpec, outline: Outline, world: World, parts: Sequence[Part]) -> dict[str, float]:
    """Along the latent axis no weight gradient travels; along the data axis nothing but gradients."""
    share = (world.latent_ranks - 1) / world.latent_ranks
    vectors = sum(part.rows * part.d_in * 4 for part in parts)
    harvested = 0.0 if spec.activations else len(spec.hook_names) * spec.batch_rows / spec.repeats * outline.d_model
    return {
        # each rank reads its part of the windows and shuffles what all have read
        "harvested activations": (world.size - 1) / world.size * harvested * BYTES[spec.dtype],
        "all-gather of activations": share * vectors,
        "merge of candidates": (world.latent_ranks - 1) * sum(part.rows * part.spec.k * 4 for part in parts),
        # a reduce-scatter, and the sums gathered again: every rank's latents learn from whole errors
        "sums of reconstructions": 2 * share * vectors,
        "gradients (data axis)": 2 * (world.data_ranks - 1) / world.data_ranks * sum(4 * part.own for part in parts),
    }


def _disk(spec: TrainSpec, outline: Outline, parts: Sequence[Part]) -> dict[str, float]:
    parameters = sum(part.whole for part in parts)
    state = 12 * parameters + _buffer_bytes(spec, outline)
    return {"checkpoints": 4 * parameters, "saved states": (spec.keep_states + 1) * state}  # one while it is written


def shards_bytes(spec: TrainSpec, outline: Outline) -> float:
    """The activations of the run on disk, as `saes harvest` writes them in bfloat16."""
    return len(spec.hook_names) * spec.tokens / spec.repeats * outline.d_model * 2


def _seconds(
    spec: TrainSpec, outline: Outline, device: Device, world: World, parts: Sequence[Part], context: int
) -> dict[str, float]:
    harvested = spec.batch_rows / spec.repeats  # by all, for a step
    reading = harvested / world.size * outline.flops_a_token(context) * device.model_flop[spec.dtype]
    sent = _communication(spec, outline, world, parts)
    inner = device.link if world.latent_ranks <= world.devices else device.network
    outer = device.link if world.nodes == 1 else device.network
    of_latents = sent["all-gather of activations"] + sent["merge of candidates"] + sent["sums of reconstructions"]
    others = sent["harvested activations"] + sent["gradients (data axis)"]
    return {
        "training step": sum(part.step_seconds(device) for part in parts),
        "language model": 0.0 if spec.activations else reading,
        "text and tokens": 0.0 if spec.activations else harvested * device.token,
        "communication": of_latents / inner + others / outer,
    }


def _seconds_once(spec: TrainSpec, outline: Outline, device: Device, world: World, context: int) -> dict[str, float]:
    """Before the first step the scale is measured and the buffer filled; after the last the quality, by one process."""
    batch = spec.window_batch * context
    read = 0.0 if spec.activations else spec.scale_batches * batch + spec.buffer_rows / spec.repeats
    whole = 2 * outline.parameters + 2 * outline.layers * outline.d_model * context
    judged = (
        len(spec.members())
        * max(spec.held_out_tokens, batch)
        * (JUDGING_PASSES * whole + outline.flops_a_token(context))
    )
    flop = device.model_flop[spec.dtype]
    return {
        "scale and buffer": read * (outline.flops_a_token(context) * flop / world.size + device.token),
        "quality": judged * flop,
    }


def work_of(
    kernel: str, rows: float, d_in: int, latents: float, firings: float, parameters: float
) -> tuple[float, float, float, float, float]:
    """How much of each unit of StepCosts a step does: a sparse one has one dense product, a dense one five."""
    if kernel == "sparse":
        return 2 * rows * d_in * latents, rows * latents, firings * d_in, parameters, 1.0
    return 5 * 2 * rows * d_in * latents, rows * latents, 0.0, parameters, 1.0


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB"
