"""Every latent x every concept at once: exact AUROC and average precision, from sparse pooled values.

A concept's texts are compared with all texts of their style outside its family. Families part the texts of a style, so a
text's wins over those are its wins over all of its style less its wins over its own family's: two ranks of each nonzero,
whatever the number of concepts.
Average precision needs a third rank, among the concept's own texts. Sums over a concept's texts do the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

AT_ONCE = 2**21
"""Nonzeros that are ranked at a time: bounds the memory, whatever the number of latents."""


@dataclass(frozen=True)
class Sorting:
    """What each text is, as numbers: the concept, the family and the style it belongs to."""

    concept: np.ndarray
    """[text] number of the concept; -1 for texts that carry none and are nothing but negatives."""
    family: np.ndarray
    """[text] number of the family, of one style; texts without a concept have one as well."""
    style: np.ndarray
    """[text] number of the style; a concept's texts are all of one."""
    names: tuple[str, ...]
    """[concept]"""

    @classmethod
    def of(
        cls, concept: np.ndarray, family: np.ndarray, names: tuple[str, ...], style: np.ndarray | None = None
    ) -> "Sorting":
        """From names; a text whose concept is not among `names` carries none, but its family still counts."""
        number = {name: place for place, name in enumerate(names)}
        styles = np.zeros(len(concept), dtype=np.int32) if style is None else _numbered(style)
        families = _numbered(family)
        return cls(
            np.array([number.get(name, -1) for name in concept], dtype=np.int32),
            _numbered(families * (int(styles.max(initial=0)) + 1) + styles),
            styles,
            names,
        )

    def where(self, texts: np.ndarray) -> "Sorting":
        """The same of some texts: their numbers in order, or in another order."""
        return Sorting(self.concept[texts], self.family[texts], self.style[texts], self.names)


def _numbered(names: np.ndarray) -> np.ndarray:
    return np.unique(names, return_inverse=True)[1].astype(np.int32)


class Scores(NamedTuple):
    """float32; 0.5 and the share of positive texts where a latent is silent, nan where a concept has no texts."""

    auroc: np.ndarray
    """[concept, latent]"""
    average_precision: np.ndarray | None
    """[concept, latent], as scikit-learn defines it: the mean, over positive texts, of the precision at their value."""


class Ranked:
    """Pooled values `[text, latent]`, those above zero sorted within each latent, once; scores for any labelling follow.

    Silent texts tie at the bottom.
    """

    def __init__(self, pooled: sparse.csc_array):
        pooled = pooled.tocsc()
        pooled.eliminate_zeros()
        if pooled.nnz and pooled.data.min() < 0:
            raise ValueError("pooled values below zero: silent texts could not tie at the bottom")
        self.n_texts, self.d_sae = pooled.shape
        self.indptr = pooled.indptr.astype(np.int64)
        self.text = np.empty(pooled.nnz, dtype=np.int32)
        self.tied = np.empty(pooled.nnz, dtype=bool)  # with the one before it
        for first, stop in self._blocks(widest=self.d_sae):
            here = slice(self.indptr[first], self.indptr[stop])
            latent = np.repeat(np.arange(stop - first), np.diff(self.indptr[first : stop + 1]))
            order = np.lexsort((pooled.data[here], latent))
            value = pooled.data[here][order]
            self.text[here] = pooled.indices[here][order]
            self.tied[here] = np.diff(value, prepend=np.nan) == 0
            begins = self.indptr[first:stop]
            self.tied[begins[begins < self.indptr[stop]]] = False

    def scores(self, sorting: Sorting, counted: np.ndarray | None = None, precision: bool = False) -> Scores:
        """Each concept's texts against all of their style outside its family, by every latent; `counted` [text] bool leaves
        some out."""
        counted = np.ones(self.n_texts, dtype=bool) if counted is None else counted
        concepts, families, styles = len(sorting.names), int(sorting.family.max()) + 1, int(sorting.style.max()) + 1
        own = counted & (sorting.concept >= 0)
        n_concept = np.bincount(sorting.concept[own], minlength=concepts)
        family_of, style_of = np.zeros(concepts, dtype=np.int64), np.zeros(concepts, dtype=np.int64)
        family_of[sorting.concept[own]] = sorting.family[own]
        style_of[sorting.concept[own]] = sorting.style[own]
        n_negative = np.bincount(sorting.style[counted], minlength=styles)[style_of]
        n_negative -= np.bincount(sorting.family[counted], minlength=families)[family_of]
        has_concepts = np.zeros(families, dtype=bool)
        has_concepts[family_of] = True
        pairs = np.where(n_concept * n_negative > 0, n_concept * n_negative, np.nan)
        auroc = np.empty((concepts, self.d_sae), dtype=np.float32)
        average = np.empty((concepts, self.d_sae), dtype=np.float32) if precision else None
        for first, stop in self._blocks(widest=max(1, 2 * AT_ONCE // concepts)):
            block = self._entries(first, stop, counted)
            concept, family, style = (what[block.text] for what in (sorting.concept, sorting.family, sorting.style))
            relative = np.flatnonzero(has_concepts[family])
            fires = block.among(style, styles)
            within = block.where(relative).among(family[relative], families)
            below_kin, equal_kin = np.zeros(len(family)), np.zeros(len(family))
            below_kin[relative], equal_kin[relative] = within.below, within.equal

            positive = np.flatnonzero(concept >= 0)
            cell = concept[positive].astype(np.int64) * (stop - first) + block.latent[positive]
            shape = (concepts, stop - first)
            silent = n_negative[:, None] - (fires.total.T[style_of] - within.total.T[family_of])  # [concept, latent]
            wins = (fires.below - below_kin + 0.5 * (fires.equal - equal_kin))[positive]
            firing = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
            won = np.bincount(cell, wins, shape[0] * shape[1]).reshape(shape)
            won = won + 0.5 * (n_concept[:, None] + firing) * silent
            auroc[:, first:stop] = won / pairs[:, None]
            if average is not None:
                among = block.where(positive).among(concept[positive], concepts)
                latent = block.latent[positive]
                above = among.total[latent, concept[positive]] - among.below
                others = (fires.total[latent, style[positive]] - fires.below[positive]) - (
                    within.total[latent, family[positive]] - below_kin[positive]
                )
                summed = np.bincount(cell, above / (above + others), shape[0] * shape[1]).reshape(shape)
                everything = n_concept / np.maximum(
                    1, n_concept + n_negative
                )  # the precision at the silent ones' value
                summed = summed + (n_concept[:, None] - firing) * everything[:, None]
                average[:, first:stop] = summed / np.where(n_concept > 0, n_concept, np.nan)[:, None]
        return Scores(auroc, average)

    def _blocks(self, widest: int) -> Iterator[tuple[int, int]]:
        """Ranges of latents, at most `widest`, that hold about AT_ONCE nonzeros."""
        first = 0
        while first < self.d_sae:
            stop = int(np.searchsorted(self.indptr, self.indptr[first] + AT_ONCE, side="right")) - 1
            stop = min(max(stop, first + 1), first + widest, self.d_sae)
            yield first, stop
            first = stop

    def _entries(self, first: int, stop: int, counted: np.ndarray) -> "_Entries":
        """The nonzeros of some latents at counted texts, in order; latents are numbered from 0."""
        here = slice(self.indptr[first], self.indptr[stop])
        latent = np.repeat(np.arange(stop - first, dtype=np.int32), np.diff(self.indptr[first : stop + 1]))
        level = np.cumsum(~self.tied[here], dtype=np.int32)
        entries = _Entries(self.text[here], latent, level, stop - first)
        return entries if counted.all() else entries.where(np.flatnonzero(counted[entries.text]))


class _Rank(NamedTuple):
    below: np.ndarray
    """[entry] entries of the same latent and group with a smaller value."""
    equal: np.ndarray
    """[entry] those with the same value, itself among them."""
    total: np.ndarray
    """[latent, group] how many there are."""


class _Entries(NamedTuple):
    """Nonzeros by latent and, within it, by value; equal values of a latent share a level."""

    text: np.ndarray
    latent: np.ndarray
    level: np.ndarray
    latents: int

    def where(self, entries: np.ndarray) -> "_Entries":
        return _Entries(self.text[entries], self.latent[entries], self.level[entries], self.latents)

    def among(self, group: np.ndarray, groups: int) -> _Rank:
        """The rank of each entry among those of its latent and its group."""
        cell = self.latent.astype(np.uint64) * np.uint64(groups) + group.astype(np.uint64)
        if groups == 1:
            order, level = np.arange(len(cell)), self.level
        else:  # cell and place in one number: a plain sort keeps the order by value within each cell
            key = (cell << np.uint64(32)) | np.arange(len(cell), dtype=np.uint64)
            key.sort()
            order = (key & np.uint64(0xFFFFFFFF)).astype(np.int64)
            cell, level = key >> np.uint64(32), self.level[order]
        place = np.arange(len(cell))
        fresh = np.diff(cell, prepend=np.uint64(2**63)) != 0
        ties = fresh | (np.diff(level, prepend=-1) != 0)
        tie_number = np.cumsum(ties) - 1
        tie_start = place[ties]
        cell_start = place[fresh][np.cumsum(fresh) - 1]
        below, equal = np.empty(len(cell)), np.empty(len(cell))
        below[order] = tie_start[tie_number] - cell_start
        equal[order] = np.diff(tie_start, append=len(cell))[tie_number]
        total = np.bincount(cell.astype(np.int64), minlength=self.latents * groups).reshape(self.latents, groups)
        return _Rank(below, equal, total)
