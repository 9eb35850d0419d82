"""The compiled kernels of native.cpp: built once where a C++ compiler is found, and opened without any binding library."""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("native.cpp")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")
WIDE = "-mprefer-vector-width=512"
"""For processors with AVX-512: without it the compiler uses half of their width."""


class Firings(ctypes.Structure):
    """Firings sorted by latent, with what their rows' errors became; the fields are explained in native.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("ptr", "row_of", "value", "slope", "grad")),
        ("rows", ctypes.c_int64),
    ]


class Gradients(ctypes.Structure):
    """What both passes over the latents read."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("d_sae", "d_in", "d_out", "prefixes", "slopes_reach_bias")),
        ("bounds", ctypes.c_void_p),
        ("x_in", ctypes.c_void_p),
        ("fit", Firings),
        ("rescue", Firings),
        ("kept", ctypes.c_void_p),
    ]


class Moments(ctypes.Structure):
    """A weight and Adam's two moments of it."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("weight", "first", "second")]


class Adam(ctypes.Structure):
    """One step of Adam, and how long each latent's row has stood still."""

    _fields_ = [
        *((name, ctypes.c_float) for name in ("lr", "beta1", "beta2", "eps", "correction1", "correction2")),
        ("step", ctypes.c_int64),
        ("last", ctypes.c_void_p),
        ("missed", ctypes.c_void_p),
    ]


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's numbers begin."""
    if tensor is None:
        return None
    assert tensor.is_contiguous(), "the compiled kernels read contiguous arrays"
    return tensor.data_ptr()


def compiled() -> ctypes.CDLL | None:
    """The kernels, or None where they cannot be had; why is logged once."""
    try:
        return _library()
    except (OSError, subprocess.SubprocessError) as error:
        log.info("no compiled kernels: %s", error)
        return None


@functools.cache
def _library() -> ctypes.CDLL:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise OSError("no C++ compiler found (c++, g++, clang++, or one named by CXX)")
    flags = (*FLAGS, WIDE) if torch.backends.cpu.get_cpu_capability() == "AVX512" else FLAGS
    library = ctypes.CDLL(str(_built(compiler, flags)))
    p, n, i, f = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
    signatures = {
        "gather_candidates": (p, i, n, p, p, n, n, n, i, i, n, p, p, p, p),
        "keep_best": (n, i, n, p, p, p),
        "nth_largest": (n, n, p, p, n),
        "cut": (n, f, n, p, p, p),
        "score_exactly": (n, n, p, p, p, n, p, p, p),
        "pack": (n, n, p, p, p, p, p, p),
        "decode_rows": (n, n, i, p, p, p, n, p, p, p, p, f, p, p, p),
        "sort_by_latent": (n, n, p, p, p, p, p, p, p, p),
        "gradient_size": (p, p, p, p),
        "row_lengths": (n, n, p, p),
        "update_latents": (p, p, f, p, p, p, p, p, p, p),
        "catch_up": (n, n, n, p, p, p, p, p, p),
    }
    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    library.nth_largest.restype, library.gradient_size.restype = ctypes.c_float, ctypes.c_double
    return library


def _built(compiler: str, flags: tuple[str, ...]) -> Path:
    """The shared library for this source, compiler and processor, from the user's cache or made now."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    kind = "\n".join((SOURCE.read_text(), compiler, version, *flags, _processor()))
    path = _cache() / f"native-{hashlib.sha256(kind.encode()).hexdigest()[:16]}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent
    ) as room:  # two processes may build at once: each moves its own there
        made = Path(room) / path.name
        done = subprocess.run([compiler, *flags, "-o", str(made), str(SOURCE)], capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{compiler} could not build {SOURCE.name}: {done.stderr.strip().splitlines()[-1:]}")
        os.replace(made, path)
    return path


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "emotion-saes"


def _processor() -> str:
    """What -march=native stands for here, as far as a home folder shared by several machines needs it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
