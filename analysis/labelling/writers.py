"""Latents that write a concept: its difference of means over finding texts, taken apart into a few decoder directions.

A label's latents are chosen because they fire where the concept is (they detect it). Their decoder directions need not point where
the model's stream goes there, and then pushing along them does not write the concept. These are chosen the other way round, by
orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993) with coefficients above zero, from finding texts alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
SAME = 0.999
"""Two pushes whose cosine is above it are one."""


@torch.no_grad()
def pursued(
    target: Float[np.ndarray, " d_in"], directions: Float[Tensor, "d_sae d_in"], usable: Bool[np.ndarray, " d_sae"],
    most: int = MOST,
) -> tuple[list[int], list[float]]:  # fmt: skip
    """Up to `most` usable rows of `directions` and their coefficients above zero, whose sum comes near `target`."""
    rows_of = directions.float()
    lengths = rows_of.norm(dim=1).clamp(min=1e-12)
    out = torch.as_tensor(~usable, device=directions.device)
    chosen: list[int] = []
    values, rest = np.zeros(0), np.asarray(target, dtype=np.float64)
    for _ in range(most):
        gain = rows_of @ torch.as_tensor(rest, dtype=torch.float32, device=directions.device) / lengths
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
    """For each chosen label the latents that write its concept, unless they push where the label's own do.

    `scales`: each latent's 95th percentile of active values on finding texts; latents that never fired are not taken.
    """
    found = []
    for label in (one for one in labels if one.chosen):
        writer = writer_of(label, diff_means[label.concept], dictionary, scales)
        if writer is None:
            continue
        score = pools.score(writer.pooling, writer.latents, writer.scales, weights=writer.weights)
        own, others = table.positives(label.concept, "checking"), table.negatives(label.concept, "checking")
        tells = compare(score[own], score[others])
        found.append(
            replace(
                writer, auroc_checking=tells.auroc, auroc_checking_low=tells.low, auroc_checking_high=tells.high,
                n_positive=len(own), n_negative=len(others),
            )
        )  # fmt: skip
    return found


def writer_of(
    label: Label, diff_means: Float[np.ndarray, " d_in"], dictionary: Dictionary, scales: Float[np.ndarray, " d_sae"]
) -> Writer | None:
    """The latents that write a label's concept, not scored as detectors; None where they push where the label's own do."""
    target = np.asarray(diff_means, dtype=np.float64)
    latents, values = pursued(target, dictionary.directions, scales > 0)
    units = [weight * scale for weight, scale in zip(label.weights, label.scales, strict=True)]
    written, own = _sum(latents, values, dictionary), _sum(label.latents, units, dictionary)
    if not latents or not own.any() or _cosine(written, own) > SAME:
        return None
    factor = float(np.linalg.norm(own) / np.linalg.norm(written))
    held = [float(scales[latent]) for latent in latents]
    weights = [factor * value / scale for value, scale in zip(values, held, strict=True)]
    unknown = float("nan")
    return Writer(
        label.concept, latents, weights, held, _cosine(written, target), label.pooling, unknown, unknown, unknown, 0, 0,
        "candidate",
    )  # fmt: skip


def _cosine(one: Float[np.ndarray, " d_in"], other: Float[np.ndarray, " d_in"]) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


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
