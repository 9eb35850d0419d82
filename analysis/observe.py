"""Texts through model and dictionaries, in one pass: the firings, and the pooled activations of each text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analysis.concepts.concept import ConceptSet
from analysis.firings import Firings
from analysis.labelling.split import text_table
from saes.dictionary import Dictionary
from saes.kernels.encode import encode_quickly
from training.activations.harvest import not_finite_error
from training.language_models.language_model import LanguageModel, Tokens

SAMPLE = 300
"""Texts that `sample_firings` reads."""
BATCH = 64


@dataclass(frozen=True)
class Dense:
    """The activations of one place, pooled over each text's kept tokens, all `[text, width]`."""

    mean: np.ndarray
    highest: np.ndarray
    lowest: np.ndarray


@dataclass(frozen=True)
class Reading:
    """What one pass over texts leaves."""

    firings: dict[str, Firings]
    """Of each dictionary, by the name that it was given."""
    dense: dict[str, Dense]
    """Of each place that was asked for, by its hook name."""
    means: np.ndarray
    """[text, d_in] mean activation at the dictionaries' site."""
    strings: list[list[str]]
    mean_length: float


@dataclass(frozen=True)
class Observation:
    firings: Firings
    means: np.ndarray
    """[text, d_in] mean activation over kept tokens: what the difference of means and the probe are made of."""
    strings: list[list[str]]
    """[text][token] the tokens as strings, the special ones included, so that firings' token numbers point into it."""
    mean_length: float
    """Mean length of an activation at a kept token."""


def observe(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, texts: Sequence[str], max_tokens: int | None = None
) -> Observation:
    """Reads every text (each alone in its window) at `hook_name`.

    Raises ValueError when the widths do not fit, and for NaN or infinity, with the token's place.
    """
    found = read(model, {"": dictionary}, hook_name, texts, max_tokens=max_tokens)
    return Observation(found.firings[""], found.means, found.strings, found.mean_length)


def sample_firings(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, concept_set: ConceptSet, seed: int
) -> Firings:
    """The firings on a sample of finding texts: how often each latent fires, and how strongly, for controls like it."""
    table = text_table(concept_set, ("finding",))
    sample = np.random.default_rng(seed).permutation(len(table.texts))[:SAMPLE]
    return observe(model, dictionary, hook_name, [table.texts[text] for text in sample]).firings


def check_width(model: LanguageModel, dictionary: Dictionary, hook_name: str) -> None:
    """A ValueError where the dictionary reads another width than the model has at `hook_name`."""
    if model.width(hook_name) != dictionary.d_in:
        raise ValueError(
            f"expected d_in {dictionary.d_in}, but {model.name} has {model.width(hook_name)} at {hook_name}"
        )


@torch.no_grad()
def read(
    model: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    hook_name: str,
    texts: Sequence[str],
    places: Sequence[str] = (),
    max_tokens: int | None = None,
) -> Reading:
    """One forward pass over every text for all dictionaries of one site, and for the neurons or streams at `places`.

    Raises ValueError as `observe` does.
    """
    for dictionary in dictionaries.values():
        check_width(model, dictionary, hook_name)
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in dictionaries}
    pooled: dict[str, list[list[np.ndarray]]] = {place: [[], [], []] for place in places}
    means, n_tokens, strings, length, rows = [], [], [], 0.0, 0
    for start in range(0, len(texts), BATCH):
        tokens = model.tokenise(texts[start : start + BATCH], max_tokens).to(model.device)
        passing = model.activations(tokens, [hook_name, *places])
        x = passing[hook_name]
        wrong = tokens.keep & ~x.isfinite().all(dim=-1)
        if bool(wrong.any()):
            raise not_finite_error(model, hook_name, tokens, wrong, first_text=start)
        kept = x[tokens.keep]
        for name, dictionary in dictionaries.items():
            parts[name].append(_firing(dictionary, kept, tokens, start))
        for place in places:
            for found, part in zip(pooled[place], _pooled(passing[place], tokens), strict=True):
                found.append(part)
        means.append(_mean(x, tokens).cpu().numpy())
        n_tokens.append(tokens.keep.sum(dim=1).cpu().numpy())
        length += float(kept.float().norm(dim=-1).sum())
        rows += len(kept)
        lengths = tokens.real.sum(dim=1).tolist()
        strings += [model.strings(ids[:n]) for ids, n in zip(tokens.ids, lengths, strict=True)]
    count = np.concatenate(n_tokens)
    firings = {}
    for name, dictionary in dictionaries.items():
        text, token, latent, value = (np.concatenate([part[field] for part in parts[name]]) for field in range(4))
        firings[name] = Firings(text, token, latent, value, count, dictionary.d_sae)
        parts[name].clear()  # the largest thing here: not to be held twice for the next dictionary
    dense = {place: Dense(*(np.concatenate(found) for found in pooled[place])) for place in places}
    return Reading(firings, dense, np.concatenate(means), strings, length / max(1, rows))


def _firing(dictionary: Dictionary, kept: Tensor, tokens: Tokens, first_text: int) -> tuple[np.ndarray, ...]:
    """text, token, latent, value of what fires at the kept tokens, in small types: there is one of each a firing."""
    where = tokens.keep.nonzero()
    code = encode_quickly(dictionary, kept)
    firing = code.values > 0
    row = firing.nonzero()[:, 0]
    columns = (
        (where[row, 0] + first_text).int(),
        where[row, 1].to(torch.int16),
        code.latents[firing].int(),
        code.values[firing].float(),
    )
    return tuple(column.cpu().numpy() for column in columns)


def _mean(x: Tensor, tokens: Tokens) -> Tensor:
    total = torch.where(tokens.keep[..., None], x.float(), 0.0).sum(dim=1)
    return total / tokens.keep.sum(dim=1).clamp(min=1)[:, None]


def _pooled(x: Tensor, tokens: Tokens) -> list[np.ndarray]:
    """Mean, highest and lowest over kept tokens, 0 where a text has none."""
    keep, some = tokens.keep[..., None], tokens.keep.any(dim=1)[:, None]
    highest = torch.where(keep, x.float(), -torch.inf).amax(dim=1)
    lowest = torch.where(keep, x.float(), torch.inf).amin(dim=1)
    return [part.cpu().numpy() for part in (_mean(x, tokens), highest.where(some, 0.0), lowest.where(some, 0.0))]
