"""What a model loses without its labelled features: sweeps of ablations beside matched random groups. `ablate` is the whole
journey."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "ablate":  # only when asked for: it loads torch, which a reader of the tables need not
        from analysis.ablation.journey import ablate

        return ablate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
