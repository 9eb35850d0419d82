"""Which excerpts an explanation is written from, and on which it is scored: finding texts here, checking texts there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.explaining.prompts import firing_places
from analysis.labelling.excerpts import BEFORE, excerpt_around
from analysis.labelling.split import TextTable
from analysis.observe import Observation
from analysis.records import Excerpt

TOP, MIDDLE, CHANCE, HARD = 8, 6, 4, 4
"""Excerpts that the explainer is shown of each kind."""
LEAST_FIRING = 4
"""A latent that fires in fewer finding texts is not explained."""
JITTER = 8
"""Tokens by which a held-out excerpt's middle may lie off the firing: its place would give it away."""


@dataclass(frozen=True)
class HeldOut:
    """What an explanation is scored on."""

    firing: list[Excerpt]
    """Spread evenly over the texts in which the latent fires, from the strongest to the weakest."""
    hard: list[Excerpt]
    """The latent is silent throughout the text, and a latent of a near direction fires."""
    silent: list[Excerpt]
    """The latent is silent throughout the text; by chance."""
    wrong_marks: list[list[int]]
    """For each firing excerpt as many silent tokens as are marked in it; empty where it has too few."""


class Material:
    """Draws excerpts from one observation of finding and checking texts.

    `near` holds each latent's nearest latents, `special` the tokens that are not shown (another model would obey them). What is drawn for a latent depends on the seed and on the latent alone,
    not on which others are explained beside it.
    """

    def __init__(
        self,
        seen: Observation,
        table: TextTable,
        near: Mapping[int, Sequence[int]],
        seed: int,
        special: Collection[str] = (),
    ):
        self._seen, self._table, self._near, self._seed = seen, table, near, seed
        self._strings = [["" if token in special else token for token in text] for text in seen.strings]
        firings = seen.firings
        self._order = np.lexsort((firings.text, firings.latent))
        self._starts = np.searchsorted(firings.latent[self._order], np.arange(firings.d_sae + 1))
        place = np.stack([firings.text, firings.token], axis=1)
        fresh = np.ones(len(place), dtype=bool)
        fresh[1:] = (place[1:] != place[:-1]).any(axis=1)  # most of a token's firings stand side by side
        read = np.unique(place[fresh], axis=0).astype(int)
        self._read = np.split(read[:, 1], np.searchsorted(read[:, 0], np.arange(1, firings.n_texts)))
        """[text] the tokens at which any latent fires: those that were read as text."""

    def n_firing(self, latent: int, split: str = "finding") -> int:
        """Texts of the split in which it fires."""
        return len(self._peaks(latent, split)[0])

    def shown(self, latent: int) -> tuple[dict[str, list[Excerpt]], float]:
        """What the explainer sees, in named groups without a text twice, and the latent's largest value there."""
        rng = np.random.default_rng([self._seed, latent, 0])
        texts, tokens, values = self._peaks(latent, "finding")
        rest = np.arange(min(TOP, len(texts)), len(texts))
        middle = rest[_spread(len(rest), MIDDLE)]
        used = {int(texts[place]) for place in (*range(min(TOP, len(texts))), *middle)}
        hard = self._hard(latent, "finding", HARD, used)
        used |= {one.text for one in hard}
        chance = self._chance(latent, "finding", CHANCE, used, rng)
        groups = {
            "Strongest firings": [
                self._excerpt(latent, texts[place], tokens[place]) for place in range(len(texts))[:TOP]
            ],
            "Firings of all strengths": [self._excerpt(latent, texts[place], tokens[place]) for place in middle],
            "Drawn by chance": chance,
            "Similar latents fire, this one does not": hard,
        }
        return {name: found for name, found in groups.items() if found}, float(values[0])

    def held_out(self, latent: int, count: int) -> HeldOut:
        """`count` firing excerpts and as many silent ones, half of these hard; fewer where there are not so many."""
        rng = np.random.default_rng([self._seed, latent, 1])
        texts, tokens, _ = self._peaks(latent, "checking")
        places = _spread(len(texts), count)
        middles = [self._off(texts[place], tokens[place], rng) for place in places]
        firing = [self._excerpt(latent, texts[place], at) for place, at in zip(places, middles, strict=True)]
        wrong = [self._wrong_marks(one, at, rng) for one, at in zip(firing, middles, strict=True)]
        hard = self._hard(latent, "checking", count // 2, set(), rng)
        used = {one.text for one in hard} | set(texts.tolist())
        return HeldOut(firing, hard, self._chance(latent, "checking", count - len(hard), used, rng), wrong)

    def _own(self, latent: int) -> np.ndarray:
        """The latent's firings, in the order of texts."""
        return self._order[self._starts[latent] : self._starts[latent + 1]]

    def _peaks(self, latent: int, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """text, token, value of the strongest firing in each text of the split, strongest first."""
        firings = self._seen.firings
        own = self._own(latent)
        own = own[self._table.split[firings.text[own]] == split]
        own = own[np.argsort(-firings.value[own], kind="stable")]
        own = own[np.sort(np.unique(firings.text[own], return_index=True)[1])]
        return firings.text[own].astype(int), firings.token[own].astype(int), firings.value[own]

    def _off(self, text: int, token: int, rng: np.random.Generator) -> int:
        """A token near this one."""
        return int(np.clip(token + rng.integers(-JITTER, JITTER + 1), 0, len(self._strings[text]) - 1))

    def _hard(
        self, latent: int, split: str, count: int, used: set[int], rng: np.random.Generator | None = None
    ) -> list[Excerpt]:
        """Around the strongest firings of near latents, each in its own scale, in texts where this one is silent.

        With `rng` the firing does not lie in the middle.
        """
        awake = set(self._seen.firings.text[self._own(latent)].tolist()) | used
        candidates = []
        for other in self._near.get(latent, ()):
            texts, tokens, values = self._peaks(other, split)
            candidates += [
                (-value / values[0], int(text), int(token))
                for text, token, value in zip(texts, tokens, values, strict=True)
                if int(text) not in awake
            ]
        chosen: dict[int, int] = {}
        for _, text, token in sorted(candidates):
            if len(chosen) < count:
                chosen.setdefault(text, token)
        return [
            self._excerpt(latent, text, self._off(text, token, rng) if rng else token) for text, token in chosen.items()
        ]

    def _chance(self, latent: int, split: str, count: int, used: set[int], rng: np.random.Generator) -> list[Excerpt]:
        """Around a token by chance, in texts by chance that are not in use."""
        texts = [
            text for text in np.flatnonzero(self._table.split == split) if text not in used and len(self._read[text])
        ]
        chosen = rng.permutation(np.array(texts, dtype=int))[:count]
        return [self._excerpt(latent, text, rng.choice(self._read[text])) for text in chosen]

    def _excerpt(self, latent: int, text: int, token: int) -> Excerpt:
        firings, own = self._seen.firings, self._own(latent)
        here = own[slice(*np.searchsorted(firings.text[own], [text, text + 1]))]
        return excerpt_around(
            latent,
            int(text),
            int(token),
            firings.token[here],
            firings.value[here],
            self._strings[text],
            self._table,
        )

    def _wrong_marks(self, excerpt: Excerpt, middle: int, rng: np.random.Generator) -> list[int]:
        places = self._read[excerpt.text] - max(0, middle - BEFORE)
        silent = [at for at in places.tolist() if 0 <= at < len(excerpt.tokens) and excerpt.values[at] == 0.0]
        count = len(firing_places(excerpt))
        return sorted(rng.choice(silent, count, replace=False).tolist()) if len(silent) >= count else []


def _spread(n: int, count: int) -> np.ndarray:
    """At most `count` places of n, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int)) if n else np.zeros(0, dtype=int)
