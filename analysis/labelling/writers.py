"""Latents that write a concept: its difference of means over finding texts, taken apart into a few decoder directions.

A label's latents are chosen because they fire where the concept is (they detect it). Their decoder directions need not point where
the model's stream goes there, and then pushing along them does not write the concept. These are chosen the other way round, by
orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993) with coefficients above zero, from finding texts alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import nnls
from torch import Tensor

from analysis.labelling.choose import Pools
from analysis.labelling.scores import compare
from analysis.labelling.split import TextTable
from analysis.records import Label, Writer
from saes.dictionary import Dictionary

MOST = 4
"""Latents, as in a label's recipe."""
WITHOUT = 16
"""Latents that are ablated to take a concept away."""


@torch.no_grad()
def pursued(
    target: Float[np.ndarray, " d_in"], directions: Float[Tensor, "d_sae d_in"], usable: Bool[np.ndarray, " d_sae"],
    most: int = MOST,
) -> tuple[list[int], list[float]]:  # fmt: skip
    """Up to `most` usable rows of `directions` and their coefficients above zero, whose sum comes near `target`."""
    lengths = directions.float().norm(dim=1).clamp(min=1e-12)
    out = torch.as_tensor(~usable, device=directions.device)
    chosen: list[int] = []
    values, rest = np.zeros(0), np.asarray(target, dtype=np.float64)
    for _ in range(most):
        gain = directions.float() @ torch.as_tensor(rest, dtype=torch.float32, device=directions.device) / lengths
        gain[out] = -torch.inf
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        out[best] = True
        rows = directions[chosen].double().cpu().numpy()
        values = nnls(rows.T, target)[0]
        rest = target - values @ rows
    kept = [(latent, float(value)) for latent, value in zip(chosen, values, strict=True) if value > 0]
    return [latent for latent, _ in kept], [value for _, value in kept]


def writers_of(
    labels: Sequence[Label], diff_means: Mapping[str, Float[np.ndarray, " d_in"]], dictionary: Dictionary, pools: Pools,
    scales: Float[np.ndarray, " d_sae"], table: TextTable,
) -> list[Writer]:  # fmt: skip
    """For each chosen label the latents that write its concept, where they are others than the label's own.

    `scales`: each latent's 95th percentile of active values on finding texts; latents that never fired are not taken.
    """
    found = []
    for label in (one for one in labels if one.chosen):
        target = np.asarray(diff_means[label.concept], dtype=np.float64)
        latents, values = pursued(target, dictionary.directions, scales > 0)
        units = [weight * scale for weight, scale in zip(label.weights, label.scales, strict=True)]
        unit = float(np.linalg.norm(_sum(label.latents, units, dictionary)))
        if not latents or latents == list(label.latents) or not unit:
            continue
        written = _sum(latents, values, dictionary)
        length = float(np.linalg.norm(written))
        weights = [unit / length * value / float(scales[latent]) for latent, value in zip(latents, values, strict=True)]
        held = scales[latents].tolist()
        score = pools.score(label.pooling, latents, held, weights=weights)
        own, others = table.positives(label.concept, "checking"), table.negatives(label.concept, "checking")
        tells = compare(score[own], score[others])
        cosine = float(written @ target / (length * np.linalg.norm(target)))
        found.append(
            Writer(
                label.concept, latents, weights, held, cosine, label.pooling, tells.auroc, tells.low,
                tells.high, len(own), len(others), "candidate",
            )
        )  # fmt: skip
    return found


def _sum(latents: Sequence[int], values: Sequence[float], dictionary: Dictionary) -> Float[np.ndarray, " d_in"]:
    """sum_j value_j * W_dec[j]"""
    return np.asarray(values) @ dictionary.directions[list(latents)].detach().double().cpu().numpy()


def writers(
    diff_means: Float[np.ndarray, " d_in"],
    dictionary: Dictionary,
    scales: Float[np.ndarray, " d_sae"],
    most: int = WITHOUT,
) -> list[int]:
    """The latents that write a concept, more of them than are pushed: without these little of it can be written."""
    return pursued(np.asarray(diff_means, dtype=np.float64), dictionary.directions, scales > 0, most)[0]
