"""Arms of different kinds made comparable: what a control does where it moves the model's output as far as a claim does.

A control is run at a few pushes. Its effect at any other strength is read off its own curve, linear in the logarithm of
its KL. Below its weakest push the effect falls with the root of the KL, to nothing at nothing: a small push moves what it
moves in proportion to itself, and the KL by its square. Above its strongest one the effect is unknown, and the control is
no match.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

SLACK = 1.25
"""How many times a control's largest KL the claim's may be for the control's strongest push still to count as a match."""
NOTHING = 0.05
"""Nats a token: a fluency cost up to here is none to speak of, and any push is its match."""
PUSHES = 3
"""At which every control is run."""
GRID = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pushes tried on choosing prompts, in units of the claims' middle push, to see how far each control moves the output."""


def kl_weights(
    kl: Float[np.ndarray, "control push"], at: float
) -> tuple[Float[np.ndarray, "control push"], Bool[np.ndarray, " control"]]:
    """How much each push counts for the effect of each control where its KL is `at`, and which controls get that far.

    The effect is the weighted sum over pushes; weights add up to less than 1 below a control's weakest push.
    """
    weights = np.zeros(kl.shape)
    order = np.argsort(kl, axis=1, kind="stable")
    for row, places in enumerate(order):
        known = kl[row, places]
        above = int(np.searchsorted(known, at))
        if above == 0:
            weights[row, places[0]] = np.sqrt(at / known[0]) if known[0] > 0 else 0.0
        elif above == len(known):
            weights[row, places[-1]] = 1.0
        else:
            low, high = known[above - 1], known[above]
            share = (np.log(at) - np.log(low)) / (np.log(high) - np.log(low)) if low > 0 else (at - low) / (high - low)
            weights[row, places[above - 1]], weights[row, places[above]] = 1 - share, share
    return weights, at <= SLACK * kl.max(axis=1)


def cost_weights(cost: Float[np.ndarray, " push"], at: float) -> tuple[Float[np.ndarray, " push"], bool]:
    """How much each push (from weak to strong) counts where the fluency cost is `at`: the strongest push that keeps to it;
    and whether any push gets that far (the cost of the strongest may fall short of it by `SLACK`).

    Between pushes the cost is taken to rise linearly, from nothing at no push. A cost that cannot be known (nothing was
    written) is beyond any bound; where `at` itself cannot be, no push counts.
    """
    weights = np.zeros(len(cost))
    if np.isnan(at) or not len(cost):
        return weights, False
    risen = np.maximum.accumulate(np.concatenate([[0.0], np.where(np.isnan(cost), np.inf, cost)]))
    at = max(at, 0.0)
    below = int(np.flatnonzero(risen <= at)[-1])  # 0 is no push at all
    share = 0.0
    if below < len(cost) and np.isfinite(risen[below + 1]):
        share = (at - risen[below]) / (risen[below + 1] - risen[below])
        weights[below] = share
    if below > 0:
        weights[below - 1] = 1 - share
    return weights, bool(at <= SLACK * risen[-1] or at <= NOTHING)


def targets(kls: Sequence[float]) -> Float[np.ndarray, " push"]:
    """The KLs at which controls should be run so that those of the claims lie between them."""
    most = 1.25 * max(kls)
    least = max(0.8 * min(kls), most / 100)
    return np.geomspace(least, most, PUSHES) if most > 0 else np.zeros(PUSHES)


def pushes_for(
    kl: Float[np.ndarray, "control grid"], grid: Float[np.ndarray, " grid"], wanted: Float[np.ndarray, " push"]
) -> Float[np.ndarray, "control push"]:
    """The pushes at which each control is expected to reach the wanted KLs; the grid's ends where it does not reach them.

    Interpolated in the logarithms of both; a control's KL is taken to rise with its push.
    """
    tiny = 1e-12
    rising = np.maximum.accumulate(np.log(np.maximum(kl, tiny)), axis=1)
    rising = rising + 1e-9 * np.arange(kl.shape[1])  # strictly, so that each KL has one push
    aims = np.log(np.maximum(wanted, tiny))
    found = np.exp(np.stack([np.interp(aims, row, np.log(grid)) for row in rising]))
    return np.maximum.accumulate(found * (1 + 1e-3 * np.arange(len(wanted))), axis=1)  # never the same one twice


def safe_bound(doses: Sequence[float], costs: Sequence[float], most: float) -> float:
    """The dose (from 0 outwards) at which the fluency cost first passes `most`, interpolated; the last one if it never does."""
    before_dose, before_cost = 0.0, 0.0
    for dose, cost in sorted(zip(doses, costs, strict=True), key=lambda pair: abs(pair[0])):
        if not cost <= most:
            share = (most - before_cost) / (cost - before_cost) if np.isfinite(cost) else 0.0
            return before_dose + max(0.0, share) * (dose - before_dose)
        before_dose, before_cost = dose, cost
    return before_dose
