"""Which latent fired where, and how much: four flat arrays, in the order of texts and tokens."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

POOLINGS = ("max", "mean")


@dataclass(frozen=True)
class Firings:
    """The sparse record of texts read through a dictionary; silent latents take no room."""

    text: np.ndarray
    """[firing] which text."""
    token: np.ndarray
    """[firing] which token of that text, counted from the window's first."""
    latent: np.ndarray
    value: np.ndarray
    n_tokens: np.ndarray
    """[text] how many tokens were kept (special tokens and padding are not)."""
    d_sae: int

    @property
    def n_texts(self) -> int:
        return len(self.n_tokens)

    def pooled(self, pooling: str) -> sparse.csc_array:
        """One number for each text and latent, `[text, latent]`: the "max" over tokens, or the "mean"."""
        shape = (self.n_texts, self.d_sae)
        if pooling == "mean":
            share = self.value / np.maximum(1, self.n_tokens)[self.text]
            return sparse.coo_array((share, (self.text, self.latent)), shape=shape).tocsc()
        if pooling != "max":
            raise ValueError(f"unknown pooling {pooling!r}: one of {', '.join(POOLINGS)}")
        order = np.lexsort((self.value, self.text, self.latent))  # within a text and latent, the largest comes last
        text, latent = self.text[order], self.latent[order]
        last = np.ones(len(order), dtype=bool)
        last[:-1] = (text[1:] != text[:-1]) | (latent[1:] != latent[:-1])
        return sparse.coo_array((self.value[order][last], (text[last], latent[last])), shape=shape).tocsc()

    def density(self) -> np.ndarray:
        """[latent] the share of kept tokens at which it fires."""
        return np.bincount(self.latent, minlength=self.d_sae) / max(1, int(self.n_tokens.sum()))

    def mean_active(self) -> np.ndarray:
        """[latent] mean value where it fires; 0 where it never does."""
        count = np.bincount(self.latent, minlength=self.d_sae)
        return np.bincount(self.latent, weights=self.value, minlength=self.d_sae) / np.maximum(1, count)

    def peak(self) -> np.ndarray:
        """[latent] largest value; 0 where it never fires."""
        out = np.zeros(self.d_sae)
        np.maximum.at(out, self.latent, self.value)
        return out

    def scales(self, level: float = 0.95) -> np.ndarray:
        """[latent] one dose unit of each: this quantile of its active values; 0 where it never fires."""
        order = np.lexsort((self.value, self.latent))
        value, count = self.value[order], np.bincount(self.latent, minlength=self.d_sae)
        first, fires = np.cumsum(count) - count, count > 0
        place = (count[fires] - 1) * level
        low = first[fires] + np.floor(place).astype(int)
        high = np.minimum(low + 1, first[fires] + count[fires] - 1)
        out = np.zeros(self.d_sae)
        out[fires] = value[low] + (place - np.floor(place)) * (value[high] - value[low])
        return out

    def of_texts(self, texts: np.ndarray) -> "Firings":
        """The record of some texts, renumbered in the order given."""
        place = np.full(self.n_texts, -1)
        place[texts] = np.arange(len(texts))
        inside = place[self.text] >= 0
        return Firings(
            place[self.text[inside]],
            self.token[inside],
            self.latent[inside],
            self.value[inside],
            self.n_tokens[texts],
            self.d_sae,
        )
