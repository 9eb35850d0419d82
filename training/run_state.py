"""The whole state of an unfinished run in one file, and the signals that ask for it to be written."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

RUN_STATE = "run_state"
"""Beside the run's other files until it is finished. Loaded as tensors and plain values alone: it can run no code."""

QUEUE_AGAIN = 75
"""The exit code of a run that the system asked to stop (SIGTERM, SIGUSR1): saved, and to be started again. 75 is what
sysexits.h calls a temporary failure, EX_TEMPFAIL; the job that `saes submit` writes goes back into the queue on it."""


class StoppedBySystem(KeyboardInterrupt):
    """A run that was asked to stop, by no Ctrl-C, and has saved its state."""

    exit_code = QUEUE_AGAIN


class StopRequest:
    """Says True when called once a signal has asked the process to stop, and gives the error to stop with."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def error(self, message: str) -> KeyboardInterrupt:
        """What to raise when all is saved: by Ctrl-C a plain KeyboardInterrupt, else (and where another process of the
        run was asked, and not this one) a StoppedBySystem."""
        return KeyboardInterrupt(message) if self.signal == signal.SIGINT else StoppedBySystem(message)


def save_run_state(folder: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` whole or not at all: after a full disk, the one before is still there."""
    path = Path(folder) / RUN_STATE

    def write(part: Path) -> None:
        with part.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # PyTorch closes its zip after a failed write, and complains of that instead
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    replace_file(path, write)


def load_run_state(folder: str | Path) -> dict[str, Any] | None:
    """What was saved last, or None; a ValueError where the file is damaged."""
    path = Path(folder) / RUN_STATE
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parts raise
        raise ValueError(
            f"{path} is damaged, so this run cannot be resumed: start it anew in another folder"
        ) from error


def remove_run_state(folder: str | Path) -> None:
    (Path(folder) / RUN_STATE).unlink(missing_ok=True)


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` a file beside ``path``, then move it there in one go; an OSError keeps its number and names ``path``."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(
            error.errno, f"could not write {path}, which stays as it was: {error.strerror or error}", str(path)
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """A question that says True once SIGINT, SIGTERM or SIGUSR1 came.

    A second Ctrl-C acts as it would have without us. A second SIGTERM or SIGUSR1 changes nothing: Slurm and torchrun both
    send theirs, and the state has to be written whole.
    """
    asked = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # where Python allows no signal handlers
        yield asked
        return
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, frame: Any) -> None:
        asked.signal = asked.signal or number
        if number == signal.SIGINT:
            give_back()

    def give_back() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield asked
    finally:
        give_back()
