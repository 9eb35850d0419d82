"""The learning rate of each step."""


def learning_rate(step: int, steps: int, peak: float, warmup: float, decay: float) -> float:
    """Rises evenly over the first ``warmup`` of the steps and falls to zero over the last ``decay`` of them.

    ``step`` counts from 0. The first step is above zero and the last one, too, so that none is for nothing.
    """
    rising = (step + 1) / max(1.0, warmup * steps)
    falling = (steps - step) / max(1.0, decay * steps)
    return peak * min(1.0, rising, falling)
