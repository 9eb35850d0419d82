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

from saes.autoencoder import SAEConfig
from saes.kernels.choose import knows
from saes.losses import PENALTIES
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
    parts = [
        Part(one, one.sae_config(lambda _: outline.d_model), world, kernel_of(one, device, world)) for one in members
    ]
    return Plan(
        spec=spec,
        world=world,
        device=device,
        kernel=kernel,
        parameters=sum(part.whole for part in parts),
        model_parameters=outline.parameters,
        memory=_memory(spec, outline, world, parts, context),
        communication=_communication(spec, outline, world, parts),
        disk=_disk(spec, outline, parts),
        seconds=_seconds(spec, outline, device, world, parts, context),
        seconds_once=_seconds_once(spec, outline, device, world, context),
    )


@dataclass(frozen=True)
class Part:
    """One SAE of the run, and what of it and of each step falls to one device."""

    spec: TrainSpec
    config: SAEConfig
    world: World
    kernel: str

    @property
    def d_in(self) -> int:
        return self.config.d_in

    @property
    def d_out(self) -> int:
        return self.d_in if self.config.d_out is None else self.config.d_out

    @property
    def everywhere(self) -> int:
        """Parameters that belong to no latent: b_dec, and the matrix of a skip transcoder."""
        return self.d_out * (1 + self.d_in * self.config.skip)

    @property
    def whole(self) -> int:
        """Parameters of the whole SAE."""
        vectors = {"jump_relu": 2, "gated": 3}.get(self.config.sparsity, 1)  # b_enc, and more
        return self.config.d_sae * (self.d_in + self.d_out + vectors) + self.everywhere

    @property
    def own(self) -> float:
        """Parameters on the device: those of latents are shared out."""
        return (self.whole - self.everywhere) / self.world.latent_ranks + self.everywhere

    @property
    def rows(self) -> float:
        return self.spec.batch_rows / self.world.data_ranks

    @property
    def latents(self) -> float:
        return self.config.d_sae / self.world.latent_ranks

    @property
    def l0(self) -> float:
        """Latents that fire a row. Where values are free the penalty decides, so it is target_l0 or a guess: k."""
        return self.spec.target_l0 or self.spec.k

    @property
    def firings(self) -> float:
        return self.rows * self.l0 / self.world.latent_ranks

    @property
    def reconstructions(self) -> int:
        """How many of each row a step makes: that of each prefix, and that of a gated one's open gates."""
        return max(1, len(self.config.prefixes)) + (self.config.sparsity == "gated")

    @property
    def dense_for_a_while(self) -> bool:
        """Whether some steps are dense: all, or those before the penalty has made a free code sparse."""
        return self.kernel == "dense" or self.config.sparsity in PENALTIES

    @property
    def at_work(self) -> float:
        """Bytes that come and go within a step."""
        written = (1 + self.reconstructions) * self.rows * self.d_out * 4
        sparse = written + (2 * self.d_in + 2 * self.d_out) * self.rows * 4 + CHUNK_BYTES + self.rows * self.l0 * 40
        dense = written + 2 * self.d_in * self.rows * 4 + 6 * self.rows * self.latents * 4
        return max(sparse, dense) if self.dense_for_a_while else sparse

    def step_seconds(self, device: Device) -> float:
        costs = device.sparse if self.kernel == "sparse" else device.dense
        gated, product = self.config.sparsity == "gated", 2 * self.rows * self.d_out
        # a prefix costs a row about what a firing does; what gates open is decoded, and differentiated, beside what fires
        further = max(0, len(self.config.prefixes) - 1) * self.rows + gated * self.firings * 2 / 3
        flops = 2 * product * (self.d_in * self.config.skip + (self.latents * gated if self.kernel == "dense" else 0))
        work = work_of(
            self.kernel, self.rows, self.d_in, self.latents, self.firings + further, self.own, self.d_out, flops
        )
        return sum(amount * cost for amount, cost in zip(work, vars(costs).values(), strict=True))


def kernel_of(spec: TrainSpec, device: Device, world: World) -> str:
    """Whether the step goes over firing latents only, as saes/kernels/choose.py decides it where a compiler is.

    relu, jump_relu and gated ones begin dense, until few of their latents fire: that while is not in the time.
    """
    if spec.kernels == "reference":
        return "dense"
    if spec.kernels != "auto":
        return "sparse"
    if device.kind == "cpu":
        kernels = "native" if world.size == 1 or (world.latent_ranks == 1 and spec.sparsity == "topk") else "cpu"
    elif world.size == 1:
        kernels = "gpu"
    else:
        return "dense"
    return "sparse" if knows(kernels, spec.sae_config(lambda _: 1), spec.step_settings()) else "dense"


def kind_of_text(spec: TrainSpec) -> str:
    """Which of a Device's constants tells what reading the corpus costs."""
    return "storyworld" if spec.corpus.partition(":")[0] == "storyworld" else "files"


def shares_of(spec: TrainSpec, world: World) -> int:
    """Into how many parts the reading, and the shuffle buffer, are cut."""
    return world.size if spec.reading == "own" else 1


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


def _memory(spec: TrainSpec, outline: Outline, world: World, parts: Sequence[Part], context: int) -> dict[str, float]:
    number, windows = BYTES[spec.dtype], spec.window_batch * context
    reading = windows * (len(spec.hook_names) * outline.d_model + 5 * outline.d_model + 2 * outline.widest) * number
    logits = 3 * min(LOGITS_AT_ONCE, windows * outline.vocabulary) * 4
    own = sum(part.own for part in parts)
    return {
        "weights": 4 * own,
        "Adam": 8 * own,
        # several processes have to send them
        "gradients": 4 * max((part.own for part in parts if part.dense_for_a_while or world.size > 1), default=0),
        "bfloat16 copy": 2 * sum(part.latents * part.d_in for part in parts if part.kernel == "sparse"),
        "shuffle buffer": _buffer_bytes(spec, outline) / shares_of(spec, world),
        "language model": outline.parameters * number,
        # a step, a harvest and the judgement at the end never run together
        "at work": max(*(part.at_work for part in parts), reading, logits),
    }


def _buffer_bytes(spec: TrainSpec, outline: Outline) -> float:
    return len(spec.hook_names) * spec.buffer_rows * outline.d_model * BYTES[spec.buffer_dtype]


def _communication(spec: TrainSpec, outline: Outline, world: World, parts: Sequence[Part]) -> dict[str, float]:
    """Along the latent axis no weight gradient travels; along the data axis nothing but gradients."""
    share = (world.latent_ranks - 1) / world.latent_ranks
    read = sum(part.rows * (part.d_in if part.config.d_out is None else part.d_in + part.d_out) * 4 for part in parts)
    # the dense step sums the whole reconstruction beside those of prefixes and gates
    written = sum(part.rows * part.d_out * 4 * (part.reconstructions + bool(part.config.prefixes)) for part in parts)
    competing = sum(part.rows * part.spec.k * 4 for part in parts if part.config.sparsity == "topk")
    harvested = 0.0
    if not spec.activations and shares_of(spec, world) == 1:
        harvested = len(spec.hook_names) * spec.batch_rows / spec.repeats * outline.d_model
    return {
        # each rank reads its part of the windows and shuffles what all have read, unless it reads for itself alone
        "harvested activations": (world.size - 1) / world.size * harvested * BYTES[spec.dtype],
        "all-gather of activations": share * read,
        "merge of candidates": (world.latent_ranks - 1)
        * competing,  # of a batch_topk three histograms, too small to count
        # a reduce-scatter, and the sums gathered again: every rank's latents learn from whole errors
        "sums of reconstructions": 2 * share * written,
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
        "text and tokens": 0.0 if spec.activations else harvested * _text_seconds(spec, device, world),
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
        "scale and buffer": read
        * (outline.flops_a_token(context) * flop / world.size + _text_seconds(spec, device, world)),
        "quality": judged * flop,
    }


def _text_seconds(spec: TrainSpec, device: Device, world: World) -> float:
    """A token of text, of all that all processes read, in each of them."""
    return device.told[kind_of_text(spec)] + device.token / shares_of(spec, world)


def work_of(
    kernel: str,
    rows: float,
    d_in: int,
    latents: float,
    firings: float,
    parameters: float,
    d_out: int | None = None,
    further_flops: float = 0.0,
) -> tuple[float, float, float, float, float]:
    """How much of each unit of StepCosts a step does: a sparse one has one dense product, a dense one five, of which two
    are the encoder's."""
    d_out = d_in if d_out is None else d_out
    if kernel == "sparse":
        flops = 2 * rows * d_in * latents
        return flops + further_flops, rows * latents, firings * (d_in + d_out) / 2, parameters, 1.0
    flops = 2 * rows * (2 * d_in + 3 * d_out) * latents
    return flops + further_flops, rows * latents, 0.0, parameters, 1.0


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB"
