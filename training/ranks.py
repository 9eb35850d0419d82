"""One process or many: where this one stands among those that torchrun started, and what they agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.rendezvous import rendezvous

from saes.kernels.axes import ALONE, Axes, Axis
from training.language_models.opening import choose_device

SPOKEN = "saes: a rank has said what went wrong"
"""A key in the store that the processes share; its value is the rank that set it."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run. By default there is one, and nothing here costs anything."""

    axes: Axes = ALONE
    """Data ranks x latent ranks; ``latent_ranks`` neighbours share one copy of the dictionary."""
    device: str = "cpu"
    """What this process computes on, made definite."""
    control: Any = None
    """A group for what is agreed between steps, on the CPU whatever the SAE's device: asking does not wait for a GPU."""

    @property
    def size(self) -> int:
        return self.axes.world.size

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and speaks to the user."""
        return self.axes.world.first

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any rank raised it: the same answer on all, which all must ask for."""
        if self.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX, group=self.control)
        return tuple(bool(flag) for flag in raised)

    def agree(self, value: int) -> bool:
        """Whether all ranks hold the same number."""
        ends = torch.tensor([value, -value])
        if self.size > 1:
            dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=self.control)
        return bool(ends[0] == -ends[1])

    def least(self, value: int) -> int:
        """The smallest of all ranks' numbers."""
        found = torch.tensor(value)
        if self.size > 1:
            dist.all_reduce(found, op=dist.ReduceOp.MIN, group=self.control)
        return int(found)

    def told(self, word: str) -> list[str]:
        """What every rank says, in their order."""
        words = [word] * self.size
        if self.size > 1:
            dist.all_gather_object(words, word, group=self.control)
        return words

    def share(self, reading: str) -> tuple[int, int]:
        """Which of how many shares of the text this process reads: the only one, unless each reads its own."""
        return (self.axes.world.rank, self.size) if reading == "own" else (0, 1)

    def wait(self) -> None:
        """Until all ranks are here, however long the first has to do alone."""
        if self.size > 1:
            dist.barrier(group=self.control)


ONE = Ranks()
"""The only process of a run."""


def join_ranks(latent_ranks: int, batch_rows: int, device: str) -> Ranks:
    """This process's place among those of torchrun's environment; one alone without it.

    Numbers that do not divide are a ValueError before anything is sent or loaded. Gloo carries what lies on CPUs, NCCL
    what lies on GPUs, of which every process of a machine takes its own.
    """
    size = world_size()
    check_ranks(size, latent_ranks, batch_rows)
    device = own_device(device, size)
    if size == 1:
        return Ranks(device=device)
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    mesh = init_device_mesh(
        "cuda" if on_gpu else "cpu", (size // latent_ranks, latent_ranks), mesh_dim_names=("data", "latent")
    )
    data, latent = (
        Axis(mesh.get_group(name), mesh.get_local_rank(name), mesh.size(at))
        for at, name in enumerate(("data", "latent"))
    )
    # A rank that waits for the first one's evaluation must not give up; torchrun ends it if another fails.
    control = dist.new_group(backend="gloo", timeout=timedelta(days=7))
    return Ranks(Axes(data, latent, Axis(dist.group.WORLD, dist.get_rank(), size)), device, control)


def world_size() -> int:
    """How many processes the run has."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def restarted() -> bool:
    """Whether torchrun has started this process again, after one failed: the run is then one to go on with."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def launched() -> bool:
    """Whether a launcher looks after this process: it passes signals on, and ends what does not end in time."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def check_ranks(size: int, latent_ranks: int, batch_rows: int) -> None:
    """A ValueError where so many processes cannot share the dictionary or a batch evenly."""
    if size % latent_ranks:
        raise ValueError(
            f"latent_ranks {latent_ranks} does not divide the {size} process{'es' * (size > 1)} of this run; "
            f"torchrun --nproc-per-node starts more"
        )
    if batch_rows % size:
        raise ValueError(
            f"batch_rows {batch_rows} cannot be shared evenly by {size} processes; {batch_rows // size * size or size} or "
            f"{(batch_rows // size + 1) * size} can"
        )


def own_device(device: str, size: int) -> str:
    """The device of this process: where several share a machine with GPUs, the one with its local number."""
    device = choose_device(device)
    if size == 1 or torch.device(device).type != "cuda":
        return device
    here, local_rank = processes_here(), int(os.environ.get("LOCAL_RANK", "0"))
    if torch.device(device).index is not None and here > 1:
        raise ValueError(f"device {device} is one GPU for {here} processes; with cuda each takes its own")
    if here > torch.cuda.device_count():
        raise ValueError(f"{here} processes on a machine with {torch.cuda.device_count()} GPUs; start one a GPU")
    return f"cuda:{local_rank}" if torch.device(device).index is None else device


@contextmanager
def one_voice() -> Iterator[bool]:
    """Gives whether this process is the one that tells the user what came out; and of all ranks that fail, lets only
    the first one's exception through: the others leave without a word.

    One that fails takes the others down: their next exchange with it breaks, and torchrun ends them. What they would
    say of a broken connection would only hide the reason.
    """
    if world_size() == 1:
        yield True
        return
    first = os.environ.get("RANK", "0") == "0"
    try:
        yield first
    except (Exception, KeyboardInterrupt) as error:
        stopped = isinstance(error, KeyboardInterrupt)  # all together, so nobody has to be asked
        if first if stopped else _first_to_speak():
            raise
        raise SystemExit(getattr(error, "exit_code", 130) if stopped else 1) from None
    if dist.is_initialized():
        dist.destroy_process_group()


def _first_to_speak() -> bool:
    """Whether no other rank has spoken before; also where nobody can be asked, since silence would be worse."""
    rank = os.environ.get("RANK", "0")
    try:
        store, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=20))))
        return store.compare_set(SPOKEN, "", rank).decode() == rank
    except (RuntimeError, ValueError):
        return True
