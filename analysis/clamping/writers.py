"""Latents that write a concept: its difference of means over finding texts, taken apart into a few decoder directions.

A label's latents are chosen because they fire where the concept is (they detect it). Their decoder directions need not point where
the model's stream goes there, and then pushing along them does not write the concept. These are chosen the other way round, by
orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993) with coefficients above zero, from finding texts alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from analysis.clamping.plan import label_arm
from analysis.labelling.choose import Pools
from analysis.labelling.scores import compare
from analysis.labelling.split import TextTable
from analysis.records import Label, Writer
from saes.dictionary import Dictionary

MOST = 4
"""Latents, as in a label's recipe."""
WITHOUT = 16
"""Latents that are ablated to take a concept away."""


def pursued(
    target: Float[np.ndarray, " d_in"], directions: Float[np.ndarray, "d_sae d_in"], most: int = MOST
) -> tuple[list[int], list[float]]:
    """Up to `most` rows of `directions` and their coefficients above zero, whose sum comes near `target`."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    chosen: list[int] = []
    values, rest = np.zeros(0), np.asarray(target, dtype=np.float64)
    for _ in range(most):
        gain = unit @ rest
        gain[chosen] = -np.inf
        if gain.max() <= 0:
            break
        chosen.append(int(gain.argmax()))
        values = nnls(directions[chosen].T, target)[0]
        rest = target - values @ directions[chosen]
    kept = [(latent, float(value)) for latent, value in zip(chosen, values, strict=True) if value > 0]
    return [latent for latent, _ in kept], [value for _, value in kept]


def writing_latents(
    label: Label, diff_means: Float[np.ndarray, " d_in"], dictionary: Dictionary, scales: Float[np.ndarray, " d_sae"]
) -> Writer | None:
    """The latents that write the label's concept, not yet scored as a detector; None where they are the label's own.

    One dose unit pushes as far as one of the label's. `scales`: each latent's 95th percentile of active values; latents that
    never fired are not taken.
    """
    directions = _alive(dictionary, scales)
    target = np.asarray(diff_means, dtype=np.float64)
    latents, values = pursued(target, directions)
    if not latents or latents == list(label.latents):
        return None
    written = np.asarray(values) @ directions[latents]
    length = float(np.linalg.norm(written))
    factor = label_arm(label, 1.0, dictionary).push / length
    held = [float(scales[latent]) for latent in latents]
    weights = [factor * value / scale for value, scale in zip(values, held, strict=True)]
    cosine = float(written @ target / (length * np.linalg.norm(target)))
    unknown = float("nan")
    return Writer(
        label.concept, latents, weights, held, cosine, label.pooling, unknown, unknown, unknown, 0, 0, "candidate"
    )


def with_detection(writers: Sequence[Writer], pools: Pools, table: TextTable) -> list[Writer]:
    """The writers scored as detectors on the table's checking texts, read into `pools`: whether they fire there as well."""
    scored = []
    for one in writers:
        own, others = table.positives(one.concept, "checking"), table.negatives(one.concept, "checking")
        values = pools.score(
            one.pooling, one.latents, [scale / weight for scale, weight in zip(one.scales, one.weights, strict=True)]
        )
        found = compare(values[own], values[others])
        scored.append(
            replace(
                one, auroc_checking=found.auroc, auroc_checking_low=found.low, auroc_checking_high=found.high,
                n_positive=len(own), n_negative=len(others),
            )
        )  # fmt: skip
    return scored


def writers(
    diff_means: Float[np.ndarray, " d_in"],
    dictionary: Dictionary,
    scales: Float[np.ndarray, " d_sae"],
    most: int = WITHOUT,
) -> list[int]:
    """The latents that write a concept, more of them than are pushed: without these little of it can be written."""
    return pursued(np.asarray(diff_means, dtype=np.float64), _alive(dictionary, scales), most)[0]


def _alive(dictionary: Dictionary, scales: Float[np.ndarray, " d_sae"]) -> Float[np.ndarray, "d_sae d_in"]:
    """The decoder's directions; 0 for latents that never fired."""
    directions = dictionary.directions.detach().float().cpu().numpy().astype(np.float64)
    return np.where(np.asarray(scales)[:, None] > 0, directions, 0.0)
