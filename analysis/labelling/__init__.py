"""From firings to labels: scores, the frozen choice, its check on held-out texts. `label` is the whole journey."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "label":  # only when asked for: it loads torch, which a reader of scores need not
        from analysis.labelling.journey import label

        return label
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
