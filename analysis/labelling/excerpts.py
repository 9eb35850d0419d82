"""Excerpts: the stretches of text around a latent's strongest firings, as strings and values."""

import numpy as np

from analysis.firings import Firings
from analysis.labelling.split import TextTable
from analysis.records import Excerpt

BEFORE, AFTER = 14, 10


def top_excerpts(
    firings: Firings, strings: list[list[str]], table: TextTable, latent: int, count: int = 8
) -> list[Excerpt]:
    """The texts in which the latent fires most strongly, one excerpt each, strongest first."""
    mine = np.flatnonzero(firings.latent == latent)
    order = mine[np.argsort(-firings.value[mine], kind="stable")]
    excerpts, seen = [], set()
    for firing in order:
        text, token = int(firings.text[firing]), int(firings.token[firing])
        if text in seen:
            continue
        seen.add(text)
        start, stop = max(0, token - BEFORE), min(len(strings[text]), token + AFTER)
        values = np.zeros(len(strings[text]))
        here = mine[firings.text[mine] == text]
        values[firings.token[here]] = firings.value[here]
        excerpts.append(Excerpt(latent, text, str(table.concept[text]), str(table.split[text]), strings[text][start:stop],
                                [round(float(value), 4) for value in values[start:stop]], float(firings.value[firing])))  # fmt: skip
        if len(excerpts) == count:
            break
    return excerpts
