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
    targets: Float[np.ndarray, "target d_in"], directions: Float[Tensor, "d_sae d_in"], usable: Bool[np.ndarray, " d_sae"],
    most: int = MOST,
) -> list[tuple[list[int], list[float]]]:  # fmt: skip
    """For each target up to `most` usable rows of `directions` and their coefficients above zero, whose sum comes near it.

    A step reads the directions once, whatever the number of targets.
    """
    rows = directions.float()
    lengths = rows.norm(dim=1).clamp(min=1e-12)
    out = torch.as_tensor(~usable, device=directions.device).repeat(len(targets), 1)
    chosen: list[list[int]] = [[] for _ in targets]
    values, rests = [np.zeros(0) for _ in targets], np.array(targets, dtype=np.float64)
    going = list(range(len(targets)))
    for _ in range(most):
        rest = torch.as_tensor(rests[going], dtype=torch.float32, device=directions.device)
        gain, best = (rest @ rows.T / lengths).masked_fill(out[going], -torch.inf).max(dim=1)
        going = [place for place, one in zip(going, (gain > 0).tolist(), strict=True) if one]
        for place, latent in zip(going, best[gain > 0].tolist(), strict=True):
            chosen[place].append(latent)
            out[place, latent] = True
            found = directions[chosen[place]].double().cpu().numpy()
            values[place] = nnls(found.T, targets[place])[0]
            rests[place] = targets[place] - values[place] @ found
    parts = []
    for latents, coefficients in zip(chosen, values, strict=True):
        kept = [(latent, float(one)) for latent, one in zip(latents, coefficients, strict=True) if one > 0]
        parts.append(([latent for latent, _ in kept], [one for _, one in kept]))
    return parts


def writers_of(
    labels: Sequence[Label], diff_means: Mapping[str, Float[np.ndarray, " d_in"]], dictionary: Dictionary,
    scales: Float[np.ndarray, " d_sae"],
) -> list[Writer]:  # fmt: skip
    """For each label the latents that write its concept, not scored as detectors, unless they push where the label's own do.

    `scales`: each latent's 95th percentile of active values on finding texts; latents that never fired are not taken.
    """
    if not labels:
        return []
    targets = np.array([diff_means[label.concept] for label in labels], dtype=np.float64)
    found = []
    for label, target, part in zip(labels, targets, pursued(targets, dictionary.directions, scales > 0), strict=True):
        latents, values = part
        units = [weight * scale for weight, scale in zip(label.weights, label.scales, strict=True)]
        written, own = _sum(latents, values, dictionary), _sum(label.latents, units, dictionary)
        if not latents or not own.any() or _cosine(written, own) > SAME:
            continue
        factor = float(np.linalg.norm(own) / np.linalg.norm(written))
        held = [float(scales[latent]) for latent in latents]
        weights = [factor * value / scale for value, scale in zip(values, held, strict=True)]
        unknown = float("nan")
        found.append(
            Writer(
                label.concept, latents, weights, held, _cosine(written, target), label.pooling, unknown, unknown, unknown,
                0, 0, "candidate",
            )
        )  # fmt: skip
    return found


def with_detection(writers: Sequence[Writer], pools: Pools, table: TextTable) -> list[Writer]:
    """The same, scored as detectors on checking texts: whether they fire there as well."""
    scored = []
    for one in writers:
        score = pools.score(one.pooling, one.latents, one.scales, weights=one.weights)
        own, others = table.positives(one.concept, "checking"), table.negatives(one.concept, "checking")
        tells = compare(score[own], score[others])
        scored.append(
            replace(
                one, auroc_checking=tells.auroc, auroc_checking_low=tells.low, auroc_checking_high=tells.high,
                n_positive=len(own), n_negative=len(others),
            )
        )  # fmt: skip
    return scored


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
    return pursued(np.asarray(diff_means, dtype=np.float64)[None], dictionary.directions, scales > 0, most)[0][0]
