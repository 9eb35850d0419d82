"""Sentences about latents, written by a language model and scored on excerpts that it was not shown. `explain` is the whole journey."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "explain":  # only when asked for: it loads torch
        from analysis.explaining.journey import explain

        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
