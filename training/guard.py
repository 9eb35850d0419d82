"""When a run has gone wrong: a loss or a weight that is no number, a loss far above its median, weights that explode."""

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from training.run_state import RUN_STATE

WINDOW = 50
"""Looks over which the medians run."""
ENOUGH = 10
"""Looks before the first judgement: at the very start a loss may still rise."""


class Guard:
    """Looks at a run now and then, and raises a ValueError where it has gone wrong.

    A loss ``factor`` times its running median is a spike, a length of all weights together so many times its own an
    explosion; 0 lets both pass. The median moves slowly and does not mind a few outliers; a loss that falls, as in any
    run that goes well, is never above it.
    """

    def __init__(self, factor: float = 10.0):
        self.factor = factor
        self.good = "no state had been saved yet"
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.lengths: deque[float] = deque(maxlen=WINDOW)

    def saved(self, step: int, folder: Path) -> None:
        """A state that was judged good is on disk."""
        self.good = f"the last good state, of step {step}, is in {folder / RUN_STATE}"

    @torch.no_grad()
    def look(self, step: int, losses: Mapping[str, float], sae: nn.Module) -> None:
        """Judge the run by what the step saw (``loss`` and its terms) and by the weights that it left."""
        if not all(math.isfinite(value) for name, value in losses.items() if name.startswith("loss")):
            raise self._stopped(f"the loss is NaN or infinite at step {step}")
        length = math.sqrt(sum(float(torch.linalg.vector_norm(weight)) ** 2 for weight in sae.parameters()))
        if not math.isfinite(length):  # a loss is from before its step
            raise self._stopped(f"weights are NaN or infinite at step {step}")
        for what, value, seen in (("the loss", losses["loss"], self.losses), ("the weights", length, self.lengths)):
            usual = median(seen) if len(seen) >= ENOUGH else math.inf
            if self.factor and value > self.factor * usual:
                verb = "is" if what == "the loss" else "have the length"
                raise self._stopped(
                    f"{what} at step {step} {verb} {value:.3g}, more than {self.factor:g} times the running median "
                    f"{usual:.3g}",
                    "; --spike-factor 0 lets such pass",
                )
            seen.append(value)

    def state_dict(self) -> dict[str, Any]:
        return {"losses": list(self.losses), "lengths": list(self.lengths)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses.extend(state["losses"])
        self.lengths.extend(state["lengths"])

    def _stopped(self, what: str, more: str = "") -> ValueError:
        return ValueError(f"stopped, for {what}: {self.good}. A lower lr or a clip_norm may do{more}")
