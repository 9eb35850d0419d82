"""Excerpts: the stretches of text around a latent's firings, as strings and values; the strongest, and fair samples."""

import numpy as np

from analysis.firings import Firings
from analysis.labelling.split import TextTable
from analysis.records import Excerpt

BEFORE, AFTER = 14, 10
TOP, MIDDLING, CHANCE = 8, 6, 6
"""Excerpts a latent, by how their texts were drawn."""
MIDDLE = (0.25, 0.75)
"""Between these quantiles of their peaks lie a latent's middling texts, of those in which it fires but for the strongest."""


def excerpts_of(
    firings: Firings, strings: list[list[str]], table: TextTable, latent: int, seed: int = 0
) -> list[Excerpt]:
    """A latent's excerpts, one a text: the strongest first, then middling ones, then texts by chance (see `DRAWN`).

    `firings` are the latent's own. The draw depends on the seed and the latent alone. By chance any text may come, silent
    ones and the strongest too.
    """
    rng = np.random.default_rng([seed, latent])
    by_text = np.argsort(firings.text, kind="stable")
    texts, first = np.unique(firings.text[by_text], return_index=True)
    tokens, values = firings.token[by_text], firings.value[by_text]
    peaks = np.maximum.reduceat(values, first) if len(first) else np.empty(0)
    ends = np.append(first, len(values))
    order = np.argsort(-peaks, kind="stable")
    rest = order[TOP:]
    if len(rest) > MIDDLING:
        low, high = (round(share * len(rest)) for share in MIDDLE)
        rest = rest[low : max(high, low + MIDDLING)]
    middling = rest[np.sort(rng.choice(len(rest), min(MIDDLING, len(rest)), replace=False))]
    chance = rng.choice(len(strings), min(CHANCE, len(strings)), replace=False)
    place = {int(text): at for at, text in enumerate(texts)}

    def shown(text: int, drawn: str) -> Excerpt:
        at = place.get(text)
        here = slice(0, 0) if at is None else slice(ends[at], ends[at + 1])
        fires_at, value = tokens[here], values[here]
        around = int(fires_at[value.argmax()]) if len(value) else int(rng.integers(max(1, len(strings[text]))))
        return excerpt_around(latent, text, around, fires_at, value, strings[text], table, drawn)

    return [
        *(shown(int(texts[at]), "top") for at in order[:TOP]),
        *(shown(int(texts[at]), "middling") for at in middling),
        *(shown(int(text), "chance") for text in chance),
    ]


def excerpt_around(
    latent: int, text: int, token: int, fires_at: np.ndarray, values: np.ndarray, tokens: list[str], table: TextTable,
    drawn: str = "top",
) -> Excerpt:  # fmt: skip
    """The stretch of one text around `token`, with the latent's values in it.

    `fires_at` and `values` [firing] are the latent's firings in that text (none where it is silent), `tokens` all of
    the text's tokens.
    """
    start, stop = max(0, token - BEFORE), min(len(tokens), token + AFTER)
    everywhere = np.zeros(len(tokens))
    everywhere[fires_at] = values
    shown = everywhere[start:stop]
    return Excerpt(latent, text, str(table.concept[text]), str(table.split[text]), tokens[start:stop],
                   [round(float(value), 4) for value in shown], float(shown.max(initial=0.0)), drawn)  # fmt: skip
