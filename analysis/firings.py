"""Which latent fired where, and how much: four flat arrays, in the order of texts and tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

POOLINGS = ("max", "mean", "last", "top3")
"""A text's one number: its largest value; the mean over kept tokens; the value at the last token at which any latent
fires; the mean of the three largest, silent tokens counting as zero."""

TOP = 3
FIRINGS_AT_ONCE = 2**21
"""Firings that are sorted at a time: bounds the memory of pooling, whatever the number of texts."""


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

    def all_pooled(self) -> dict[str, sparse.csc_array]:
        """Each of POOLINGS: one number for each text and latent, `[text, latent]`, float32.

        Made a few texts at a time, each firing sorted once for all of them.
        """
        ordered = self._by_text()
        start = np.searchsorted(ordered.text, np.arange(self.n_texts + 1))
        parts = [ordered._pooled_between(start, *block) for block in ordered._blocks(start)]
        columns = [np.concatenate([part[place] for part in parts]) for place in range(5)]
        text, latent, values = columns[0], columns[1], dict(zip(("max", "mean", "top3"), columns[2:], strict=True))
        shape = (self.n_texts, self.d_sae)
        indptr = np.searchsorted(text, np.arange(self.n_texts + 1))
        place = sparse.csr_array((np.arange(len(latent)), latent, indptr), shape=shape).tocsc()
        found = {
            pooling: sparse.csc_array((value[place.data], place.indices, place.indptr), shape=shape)
            for pooling, value in values.items()
        }
        last = ordered.token == ordered._last_tokens(start)[ordered.text]
        found["last"] = sparse.coo_array(
            (ordered.value[last].astype(np.float32), (ordered.text[last], ordered.latent[last])), shape=shape
        ).tocsc()
        return {pooling: found[pooling] for pooling in POOLINGS}

    def _by_text(self) -> "Firings":
        """The same firings in the order of texts."""
        if (np.diff(self.text) >= 0).all():
            return self
        order = np.argsort(self.text, kind="stable")
        return replace(
            self, text=self.text[order], token=self.token[order], latent=self.latent[order], value=self.value[order]
        )

    def _blocks(self, start: np.ndarray) -> Iterator[tuple[int, int]]:
        """Ranges of texts that hold about FIRINGS_AT_ONCE firings, and cells that fit into 32 bits."""
        first, most = 0, max(1, 2**32 // self.d_sae)
        while first < self.n_texts:
            stop = int(np.searchsorted(start, start[first] + FIRINGS_AT_ONCE, side="right")) - 1
            stop = min(max(stop, first + 1), first + most, self.n_texts)
            yield first, stop
            first = stop

    def _pooled_between(self, start: np.ndarray, first: int, stop: int) -> tuple[np.ndarray, ...]:
        """text, latent, max, mean and top3 of every cell in these texts, by text and latent.

        Values are above zero, so their bits sort as they do: one sort of 64-bit numbers puts the cells side by side and
        the largest value of each first.
        """
        here = slice(start[first], start[stop])
        cell = (self.text[here] - first).astype(np.uint64) * np.uint64(self.d_sae) + self.latent[here].astype(np.uint64)
        bits = np.ascontiguousarray(self.value[here], dtype=np.float32).view(np.uint32)
        key = (cell << np.uint64(32)) | (~bits).astype(np.uint64)
        key.sort()
        value = (~(key & np.uint64(0xFFFFFFFF)).astype(np.uint32)).view(np.float32)
        cell = key >> np.uint64(32)
        begins = np.flatnonzero(np.diff(cell, prepend=np.uint64(2**63)) != 0) if len(cell) else np.zeros(0, dtype=int)
        count = np.diff(begins, append=len(cell))
        cell = cell[begins]
        text = (cell // np.uint64(self.d_sae)).astype(np.int32) + np.int32(first)
        largest, top = value[begins], value[begins].copy()
        for place in range(1, TOP):
            more = count > place
            top[more] += value[begins[more] + place]
        total = np.add.reduceat(value, begins, dtype=np.float64) if len(begins) else np.zeros(0)
        mean = (total / np.maximum(1, self.n_tokens)[text]).astype(np.float32)
        return text, (cell % np.uint64(self.d_sae)).astype(np.int32), largest, mean, top / np.float32(TOP)

    def _last_tokens(self, start: np.ndarray) -> np.ndarray:
        """[text] the last token at which any latent fires; -1 where none does."""
        last = np.full(self.n_texts, -1)
        some = np.diff(start) > 0
        if some.any():
            last[some] = np.maximum.reduceat(self.token, start[:-1][some])
        return last

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
        bits = np.ascontiguousarray(self.value, dtype=np.float32).view(
            np.uint32
        )  # above zero: they sort as the values do
        key = (self.latent.astype(np.uint64) << np.uint64(32)) | bits
        key.sort()
        value = (key & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)
        count = np.bincount(self.latent, minlength=self.d_sae)
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

    def of_latents(self, latents: Sequence[int]) -> "Firings":
        """The firings of some latents only, texts and latents numbered as before."""
        wanted = np.zeros(self.d_sae, dtype=bool)
        wanted[list(latents)] = True
        inside = wanted[self.latent]
        return replace(
            self, text=self.text[inside], token=self.token[inside], latent=self.latent[inside], value=self.value[inside]
        )

    def of_each(self, latents: Sequence[int]) -> Iterator[tuple[int, "Firings"]]:
        """Each of these latents with its own firings; all are sorted out at once."""
        some = self.of_latents(latents)
        order = np.argsort(some.latent, kind="stable")
        owner = some.latent[order]
        for latent in latents:
            mine = order[slice(*np.searchsorted(owner, [latent, latent + 1]))]
            yield (
                latent,
                replace(
                    self, text=some.text[mine], token=some.token[mine], latent=some.latent[mine], value=some.value[mine]
                ),
            )
