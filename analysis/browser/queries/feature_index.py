"""One number a latent and column, in memory: what the table of features is filtered, searched and sorted by.

A study of 131,072 features takes about 30 MB of it; it is read again when the study's tables are written anew.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis.browser.queries.remembered import Remembered
from analysis.browser.queries.store import DamagedTable, Store
from analysis.labelling.firing_words import firing_words

STATUSES = ("validated", "held", "no effect", "unspecific", "breaks fluency", "rejected", "candidate")
"""In the order in which one goes before another, where a latent is in several labels."""
SHORT = 3
"""Letters from which on a part of a word is looked for."""
MOST_EXCERPTS = 20_000
"""Whose words are gathered while somebody waits."""
TABLES = ("cards", "labels", "clamps", "explanations", "excerpts", "firing_words")
LABELLED = """
    SELECT one.latent, one.concept, one.status, one.auroc_checking AS auroc, one.lexical_share AS lexical,
           clamps.judge AS effect
    FROM (SELECT unnest(latents) AS latent, * EXCLUDE latents FROM labels WHERE chosen) AS one
    LEFT JOIN clamps ON clamps.concept = one.concept AND clamps.arm = 'label'
"""


@dataclass(frozen=True)
class Membership:
    """A chosen label that holds a latent."""

    concept: str
    status: str
    auroc: float
    lexical: float
    effect: float | None


class FeatureIndex:
    """The latents that have a card, in ascending order, and their columns beside them."""

    def __init__(self, store: Store):
        self.store = store
        scalars = store.arrow("SELECT latent, density, peak FROM cards ORDER BY latent")
        self.latents = _numbers(scalars, "latent").astype(np.int64)
        self.columns: dict[str, np.ndarray] = {name: _numbers(scalars, name) for name in ("density", "peak")}
        self.labels: dict[int, list[Membership]] = {}
        for row in store.rows(LABELLED):
            self.labels.setdefault(row.pop("latent"), []).append(Membership(**row))
        for several in self.labels.values():
            several.sort(key=lambda one: (_place(one.status), -one.auroc, one.concept))
        best = {name: np.full(len(self.latents), np.nan) for name in ("auroc", "lexical", "effect", "status")}
        self.concept = np.full(len(self.latents), "", dtype=object)
        for latent, (first, *_) in self.labels.items():
            at = self.place(latent)
            if at is not None:
                best["auroc"][at], best["lexical"][at] = first.auroc, first.lexical
                best["effect"][at] = np.nan if first.effect is None else first.effect
                best["status"][at], self.concept[at] = _place(first.status), first.concept
        self.columns |= best
        self.orders: OrderedDict[str, np.ndarray] = OrderedDict()
        """What was asked for lately → the latents in that order."""

    def place(self, latent: int) -> int | None:
        """Where in the columns a latent stands; None where it has no card."""
        at = int(np.searchsorted(self.latents, latent))
        return at if at < len(self.latents) and self.latents[at] == latent else None

    def among(self, latents: Iterable[int] | np.ndarray) -> np.ndarray:
        """[card] bool: whether it is one of these latents."""
        asked = latents if isinstance(latents, np.ndarray) else np.fromiter(latents, dtype=np.int64)
        found = np.zeros(len(self.latents), dtype=bool)
        if len(found) and len(asked):
            at = np.searchsorted(self.latents, asked).clip(max=len(found) - 1)
            found[at[self.latents[at] == asked]] = True
        return found

    def of_labels(self, test: Any) -> np.ndarray:
        """[card] bool: whether any of its labels passes ``test``."""
        return self.among(latent for latent, several in self.labels.items() if any(map(test, several)))

    def search(self, text: str) -> np.ndarray:
        """[card] bool: whether every word of ``text`` stands in its labels, its explanation, a token that it promotes or a
        word at which it fires in an excerpt, or is its number. Letters' case counts for nothing."""
        found = np.ones(len(self.latents), dtype=bool)
        for word in text.lower().split():
            found &= self._holds(word)
        return found

    def prepare(self) -> None:
        """Gathers what a search looks into, so that the first one need not wait for it."""
        self.search("nothing in particular")

    def _holds(self, word: str) -> np.ndarray:
        found = self.of_labels(lambda one: word in one.concept.lower())
        number = word.removeprefix("#")
        if number.isdecimal() and len(number) < 12 and (at := self.place(int(number))) is not None:
            found[at] = True
        for postings in (self._explanations, self._promoted, self._fired):
            found |= self.among(postings.find(word))
        return found

    @cached_property
    def _explanations(self) -> "Postings":
        try:
            return self._postings(
                'SELECT lower("text") AS word, [latent] AS latents FROM explanations WHERE "text" IS NOT NULL'
            )
        except DamagedTable:  # the table of features does without; the overview says what is damaged
            return Postings.of([], [])

    @cached_property
    def _promoted(self) -> "Postings":
        return self._postings(
            """SELECT word, list(latent) AS latents FROM (SELECT latent, lower(trim(unnest(promoted))) AS word FROM cards)
            GROUP BY word"""
        )

    @cached_property
    def _fired(self) -> "Postings":
        if self.store.made("firing_words") or not self.searches_excerpts:
            return self._postings("SELECT word, latents FROM firing_words")
        rows = self.store.rows('SELECT latent, tokens, "values" FROM excerpts ORDER BY latent')
        found = list(firing_words((row["latent"], row["tokens"], row["values"]) for row in rows))
        return Postings.of([one.word for one in found], [one.latents for one in found])

    @cached_property
    def searches_excerpts(self) -> bool:
        """Not where there are many and the study, of an older version, does not hold their words."""
        return self.store.made("firing_words") or self.store.value("SELECT count(*) FROM excerpts") <= MOST_EXCERPTS

    def _postings(self, sql: str) -> "Postings":
        """From a statement that gives ``word`` and ``latents``, each word once."""
        found = self.store.arrow(f"SELECT word, latents::INTEGER[] AS latents FROM ({sql})")
        return Postings.of(found["word"], found["latents"])


class Postings:
    """Strings, and for each the latents that go with it."""

    def __init__(self, words: Any, offsets: np.ndarray, latents: np.ndarray):
        self.words, self.offsets, self.latents = words, offsets, latents

    @classmethod
    def of(cls, words: Any, latents: Any) -> "Postings":
        """From the strings and their lists of latents, side by side: Arrow's columns, or Python's lists."""
        import pyarrow as pa

        if isinstance(latents, list):
            words, latents = pa.array(words, pa.string()), pa.array(latents, pa.list_(pa.int32()))
        else:
            words, latents = words.combine_chunks(), latents.combine_chunks()
        offsets = latents.offsets.to_numpy().astype(np.int64)
        return cls(words, offsets, latents.values.to_numpy())

    def find(self, part: str) -> np.ndarray:
        """The latents of every string that holds ``part``; one or two letters have to be the whole string."""
        import pyarrow.compute as pc

        if not len(self.words):
            return np.empty(0, dtype=np.int64)
        same = pc.equal(self.words, part) if len(part) < SHORT else pc.match_substring(self.words, part)
        hits = np.flatnonzero(same.to_numpy(zero_copy_only=False))
        if not len(hits):
            return np.empty(0, dtype=np.int64)
        return np.concatenate([self.latents[self.offsets[hit] : self.offsets[hit + 1]] for hit in hits])


_index = Remembered(FeatureIndex, lambda store: store.stamp(*TABLES))


def feature_index(store: Store) -> FeatureIndex:
    """The index of the study as it is now."""
    return _index(store)


def _numbers(table: Any, name: str) -> np.ndarray:
    """A column, with NaN for what is not known."""
    return table[name].to_numpy()


def _place(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)
