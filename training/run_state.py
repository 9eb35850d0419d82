"""The whole state of an unfinished run, the last few times it was saved, and the signals that ask for it to be written."""

import contextlib
import hashlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

log = logging.getLogger(__name__)

RUN_STATE, SHARES = "run_state", "shares"
"""A folder beside the run's other files until it is finished. A state in it is called NUMBER-SHA256, so that it is seen
at once whether it is whole. They are loaded as tensors and plain values alone: they can run no code.

What only one of several processes knows is a share of the state: in the folder shares, called NUMBER-RANK-SHA256 after
the state that it belongs to. All shares are written before that state, which holds their hashes."""

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


def save_run_state(folder: str | Path, state: dict[str, Any], keep: int = 2) -> None:
    """Write ``state`` whole or not at all, and keep the last ``keep``: after a full disk, those before are still there."""
    states = Path(folder) / RUN_STATE
    states.mkdir(exist_ok=True)
    remove_parts(states)
    _write(states, f"{next_number(folder):08d}", state)
    for path in _saved(states)[:-keep]:
        path.unlink()
    kept = {path.name.split("-")[0] for path in _saved(states)}
    for path in (states / SHARES).glob("*-*-*"):
        if path.name.split("-")[0] not in kept:
            path.unlink()


def next_number(folder: str | Path) -> int:
    """The number of the state that will be saved next."""
    return 1 + max((int(path.name.split("-")[0]) for path in _saved(Path(folder) / RUN_STATE)), default=0)


def save_share(folder: str | Path, number: int, rank: int, share: dict[str, Any]) -> str:
    """Write what belongs to one ``rank``, whole or not at all, before state ``number`` is saved; gives its hash."""
    shares = Path(folder) / RUN_STATE / SHARES
    shares.mkdir(parents=True, exist_ok=True)
    for left in (*shares.glob(f".*-{rank}.*.tmp"), *shares.glob(f"{number:08d}-{rank}-*")):
        left.unlink(missing_ok=True)  # of a process that was killed before that state was there
    return _write(shares, f"{number:08d}-{rank}", share)


def load_share(folder: str | Path, state: dict[str, Any], rank: int) -> dict[str, Any]:
    """What ``rank`` saved for itself with a state that load_run_state gave it, which has looked at its hash."""
    return torch.load(_share_of(folder, state, rank), map_location="cpu", weights_only=True)


def _share_of(folder: str | Path, state: dict[str, Any], rank: int) -> Path:
    return Path(folder) / RUN_STATE / SHARES / f"{state['number']:08d}-{rank}-{state['shares'][rank]}"


def _write(states: Path, name: str, state: dict[str, Any]) -> str:
    """A file called name-SHA256, and its hash."""
    part = states / f".{name}.{os.getpid()}.tmp"
    with _whole_or_not_at_all(states, part):
        with part.open("wb") as file:
            hashed = _Hashed(file)
            try:
                torch.save(state, hashed)  # type: ignore[arg-type]  # of a file it asks only to be written
            except RuntimeError as error:  # PyTorch closes its zip after a failed write, and complains of that instead
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, states / f"{name}-{hashed.digest.hexdigest()}")
    return hashed.digest.hexdigest()


def load_run_state(folder: str | Path, rank: int = 0, until: int | None = None) -> dict[str, Any] | None:
    """What was saved last and is whole, or None where nothing was saved; a ValueError where all of it is damaged.

    A state with shares is whole where that of ``rank`` is, too; no state after number ``until`` is looked at.
    """
    saved = _saved(Path(folder) / RUN_STATE)
    for path in reversed(saved):
        if until is not None and int(path.name.split("-")[0]) > until:
            continue
        damaged = path
        if _is_whole(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
            if rank >= len(state.get("shares", [])):
                return state
            damaged = _share_of(folder, state, rank)
            if _is_whole(damaged):
                return state
        log.warning("%s is damaged: going on from the state that was saved before it, if there is one", damaged)
    if saved:
        raise ValueError(f"{damaged} is damaged, so this run cannot be resumed: start it anew in another folder")
    return None


def remove_run_state(folder: str | Path) -> None:
    shutil.rmtree(Path(folder) / RUN_STATE, ignore_errors=True)


def remove_parts(folder: str | Path) -> None:
    """Take away what a killed process had begun to write: the hidden files that were to be moved into place."""
    for part in Path(folder).glob(".*.tmp"):
        part.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Whether a file has the hash that its name ends in."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.name.rsplit("-", 1)[1]


def _saved(states: Path) -> list[Path]:
    """The states there are, the oldest first."""
    return sorted(path for path in states.glob("*-*") if path.name.split("-")[0].isdecimal())


class _Hashed:
    """A file whose SHA-256 is known as soon as it is written."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, part: Any) -> int:
        self.digest.update(part)
        return self.file.write(part)

    def flush(self) -> None:
        self.file.flush()


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` a file beside ``path``, then move it there in one go; an OSError keeps its number and names ``path``."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _whole_or_not_at_all(path, part):
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)


@contextmanager
def _whole_or_not_at_all(path: Path, part: Path) -> Iterator[None]:
    """Whatever goes wrong inside, ``part`` is gone afterwards; an OSError says that ``path`` stays as it was."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno, f"could not write {path}, which stays as it was: {error.strerror or error}", str(path)
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def asked_to_stop(patient: bool = False) -> Iterator[StopRequest]:
    """A question that says True once SIGINT, SIGTERM or SIGUSR1 came.

    A second Ctrl-C acts as it would have without us. A second SIGTERM or SIGUSR1 changes nothing: Slurm and torchrun both
    send theirs, and the state has to be written whole. A ``patient`` one takes Ctrl-C the same way: under torchrun it
    comes from the terminal and from there.
    """
    asked = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # where Python allows no signal handlers
        yield asked
        return
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, frame: Any) -> None:
        asked.signal = asked.signal or number
        if number == signal.SIGINT and not patient:
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
