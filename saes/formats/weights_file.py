"""A file of weights, as tensors or arrays, or one line that says that it cannot be read."""

import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

_DAMAGE = (
    SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error,
    EOFError, KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What the libraries raise at files that were cut off or are something else."""


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Around the library's call that reads ``path``: whatever it stumbles over becomes a ValueError of one line."""
    try:
        yield
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: permission denied") from error
    except _DAMAGE as error:
        said = " ".join(str(error).split("\n")[0].split())
        raise ValueError(f"{path} is truncated or corrupted: {said or type(error).__name__}") from error


def tensors_in(path: Path) -> dict[str, Tensor]:
    """What a safetensors file holds."""
    with guarded(path):
        return safetensors.torch.load_file(path)


def arrays_in(path: Path) -> dict[str, np.ndarray]:
    """What an npz holds; never a pickle."""
    with guarded(path), np.load(path, allow_pickle=False) as arrays:
        return {name: np.ascontiguousarray(arrays[name]) for name in arrays.files}
