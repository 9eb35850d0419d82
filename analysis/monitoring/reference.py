"""What levels are usual: those of a reference corpus, so that a level can be said as a percentile and an alarm be rare.

    reference = measure(reader, texts)
    reference.percentiles(levels)           # of single tokens
    reference.threshold("desperate", 99.0, tokens=20)   # of means over 20 tokens

A percentile is the share of the reference that lies strictly below: silence is at 0, whatever the label.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import sparse

from analysis.study import write_whole
from saes.nearest import did_you_mean

LEAST_TOKENS = 1000
"""Fewer would say nothing of a 99th percentile."""


@dataclass(frozen=True)
class Reference:
    concepts: tuple[str, ...]
    levels: sparse.csc_array
    """[token, label], dose units."""
    starts: np.ndarray
    """[text + 1] where each text begins in `levels`, and where the last one ends."""
    source: str
    """What the texts are."""

    @property
    def n_tokens(self) -> int:
        return self.levels.shape[0]

    @property
    def n_texts(self) -> int:
        return len(self.starts) - 1

    def column(self, concept: str) -> int:
        """Raises ValueError that says what was probably meant."""
        if concept not in self.concepts:
            raise ValueError(f"no label for {concept!r} is monitored{did_you_mean(concept, self.concepts)}")
        return self.concepts.index(concept)

    @cached_property
    def _active(self) -> list[np.ndarray]:
        """Of each label the levels above zero, ascending."""
        return [np.sort(self.levels[:, [column]].data) for column in range(len(self.concepts))]

    def percentiles(self, levels: Float[np.ndarray, "token label"]) -> Float[np.ndarray, "token label"]:
        """The share (in percent) of the reference's tokens whose level is lower."""
        found = np.zeros(levels.shape)
        for column, active in enumerate(self._active):
            mine = levels[:, column]
            silent = self.n_tokens - len(active)
            below = np.where(mine > 0, silent + np.searchsorted(active, mine, side="left"), 0)
            found[:, column] = 100.0 * below / self.n_tokens
        return found

    def windows(self, concept: str, tokens: int) -> Float[np.ndarray, " window"]:
        """The means over so many tokens on end of one text, ascending; of a shorter text the mean over all of it."""
        dense = self.levels[:, [self.column(concept)]].toarray()[:, 0].astype(float)
        total = np.concatenate([[0.0], np.cumsum(dense)])
        means = []
        for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True):
            width = min(tokens, int(stop - start))
            if width:
                ends = np.arange(start + width, stop + 1)
                means.append((total[ends] - total[ends - width]) / width)
        return np.sort(np.concatenate(means)) if means else np.zeros(0)

    def threshold(self, concept: str, percentile: float, tokens: int = 1) -> float:
        """The level that so many percent of the reference's windows of this length do not exceed."""
        return float(np.quantile(self.windows(concept, tokens), percentile / 100, method="higher"))

    def save(self, path: str | Path) -> None:
        """As one npz, whole or not at all."""
        packed = io.BytesIO()
        np.savez_compressed(
            packed, data=self.levels.data.astype(np.float32), indices=self.levels.indices, indptr=self.levels.indptr,
            shape=np.array(self.levels.shape), starts=self.starts, concepts=np.array(self.concepts), source=np.array(self.source),
        )  # fmt: skip
        write_whole(Path(path), packed.getvalue())


def load_reference(path: str | Path) -> Reference:
    """What `save` wrote. Raises FileNotFoundError, or ValueError where it is damaged."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no reference {path}")
    try:
        with np.load(path) as held:
            levels = sparse.csc_array((held["data"], held["indices"], held["indptr"]), shape=tuple(held["shape"]))
            return Reference(tuple(held["concepts"].tolist()), levels, held["starts"], str(held["source"]))
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path} is no reference of levels ({error}): measure it again") from error


def reference_of(concepts: Sequence[str], texts: Iterable[Float[np.ndarray, "token label"]], source: str) -> Reference:
    """From each text's levels. Raises ValueError for fewer tokens than LEAST_TOKENS."""
    parts, lengths = [], [0]
    for levels in texts:
        parts.append(sparse.csr_array(levels))
        lengths.append(len(levels))
    starts = np.cumsum(lengths)
    if starts[-1] < LEAST_TOKENS:
        raise ValueError(f"the reference ({source}) holds {starts[-1]} tokens, at least {LEAST_TOKENS} are needed")
    return Reference(tuple(concepts), sparse.vstack(parts).tocsc(), starts, source)
