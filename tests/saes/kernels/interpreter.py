"""Triton for tests: compiled where there is a GPU, else interpreted on the CPU."""

import os

import pytest
import torch

NEEDS_TRITON = "Triton comes with torch's CUDA builds; elsewhere: pip install triton"


def device_for_triton() -> torch.device:
    """Where kernels run here; skips the module that asks where Triton is not installed.

    To be called before anything imports the kernels: Triton decides then whether it compiles or interprets them.
    """
    if torch.cuda.is_available():
        pytest.importorskip("triton", reason=NEEDS_TRITON)
        return torch.device("cuda")
    os.environ["TRITON_INTERPRET"] = "1"
    pytest.importorskip("triton", reason=NEEDS_TRITON)
    _mend_interpreter()
    return torch.device("cpu")


def _mend_interpreter() -> None:
    """Let whole numbers be whole numbers under NumPy 2.4, and prepare Triton's language once, not at every call."""
    from triton.runtime import interpreter

    if hasattr(interpreter, "mended"):
        return
    prepare, prepared, scope = interpreter._patch_lang, set(), interpreter._LangPatchScope
    languages = (interpreter.tl, interpreter.tl.core)

    def prepare_once(fn):
        seen = frozenset(i for i, one in enumerate(languages) if any(one is name for name in fn.__globals__.values()))
        if seen not in prepared:
            prepare(fn)
            interpreter.tl.tensor.__index__ = lambda self: int(self.handle.data.item())
            prepared.add(seen)
        return scope()  # with nothing to undo

    interpreter._patch_lang = prepare_once
    interpreter.mended = True
