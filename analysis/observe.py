"""Texts through model and dictionary, in one pass: the firings, and the mean activation of each text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analysis.firings import Firings
from saes.dictionary import Dictionary
from saes.kernels.encode import encode_quickly
from training.activations.harvest import not_finite_error
from training.language_models.language_model import LanguageModel

BATCH = 64


@dataclass(frozen=True)
class Observation:
    firings: Firings
    means: np.ndarray
    """[text, d_in] mean activation over kept tokens: what the difference of means and the probe are made of."""
    strings: list[list[str]]
    """[text][token] the tokens as strings, the special ones included, so that firings' token numbers point into it."""
    mean_length: float
    """Mean length of an activation at a kept token."""


@torch.no_grad()
def observe(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, texts: Sequence[str], max_tokens: int | None = None
) -> Observation:
    """Reads every text (each alone in its window) at `hook_name`.

    Raises ValueError when the widths do not fit, and for NaN or infinity, with the token's place.
    """
    if model.width(hook_name) != dictionary.d_in:
        raise ValueError(
            f"expected d_in {dictionary.d_in}, but {model.name} has {model.width(hook_name)} at {hook_name}"
        )
    parts: list[tuple[np.ndarray, ...]] = []
    means, n_tokens, strings, length, rows = [], [], [], 0.0, 0
    for start in range(0, len(texts), BATCH):
        tokens = model.tokenise(texts[start : start + BATCH], max_tokens).to(model.device)
        x = model.activations(tokens, [hook_name])[hook_name]
        wrong = tokens.keep & ~x.isfinite().all(dim=-1)
        if bool(wrong.any()):
            raise not_finite_error(model, hook_name, tokens, wrong, first_text=start)
        where = tokens.keep.nonzero()
        kept = x[tokens.keep]
        code = encode_quickly(dictionary, kept)
        firing = code.values > 0
        row = firing.nonzero()[:, 0]
        parts.append(tuple(part.cpu().numpy() for part in (
            (where[row, 0] + start).int(), where[row, 1].to(torch.int16), code.latents[firing].int(),
            code.values[firing].float(),
        )))  # fmt: skip
        count = tokens.keep.sum(dim=1)
        total = torch.where(tokens.keep[..., None], x.float(), 0.0).sum(dim=1)
        means.append((total / count.clamp(min=1)[:, None]).cpu().numpy())
        n_tokens.append(count.cpu().numpy())
        length += float(kept.float().norm(dim=-1).sum())
        rows += len(kept)
        lengths = tokens.real.sum(dim=1).tolist()
        strings += [model.strings(ids[:n]) for ids, n in zip(tokens.ids, lengths, strict=True)]
    text, token, latent, value = (np.concatenate([part[field] for part in parts]) for field in range(4))
    firings = Firings(text, token, latent, value, np.concatenate(n_tokens), dictionary.d_sae)
    return Observation(firings, np.concatenate(means), strings, length / max(1, rows))
