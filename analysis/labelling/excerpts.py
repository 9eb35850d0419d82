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
        here = mine[firings.text[mine] == text]
        excerpts.append(
            excerpt_around(latent, text, token, firings.token[here], firings.value[here], strings[text], table)
        )
        if len(excerpts) == count:
            break
    return excerpts


def excerpt_around(
    latent: int, text: int, token: int, fires_at: np.ndarray, values: np.ndarray, tokens: list[str], table: TextTable
) -> Excerpt:
    """The stretch of one text around `token`, with the latent's values in it.

    `fires_at` and `values` [firing] are the latent's firings in that text (none where it is silent), `tokens` all of
    the text's tokens.
    """
    start, stop = max(0, token - BEFORE), min(len(tokens), token + AFTER)
    everywhere = np.zeros(len(tokens))
    everywhere[fires_at] = values
    shown = everywhere[start:stop]
    return Excerpt(latent, text, str(table.concept[text]), str(table.split[text]), tokens[start:stop],
                   [round(float(value), 4) for value in shown], float(shown.max()))  # fmt: skip
