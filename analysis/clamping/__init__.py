"""From held labels to validated ones: clamps against matched controls, judged by a rule written down before. `validate` is
the whole journey."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "validate":  # only when asked for: it loads torch, which a reader of verdicts need not
        from analysis.clamping.journey import validate

        return validate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
