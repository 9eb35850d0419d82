"""The concept texts as one flat list, and which of them are compared with which."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from analysis.concepts.concept import NEUTRAL, ConceptSet

READ = ("finding", "checking", "implicit", "contrast")
"""The splits whose texts are read through the model; prompts are for clamping, sealed texts for a release."""


@dataclass(frozen=True)
class TextTable:
    """Every text of a concept set, with what it is."""

    texts: list[str]
    concept: np.ndarray
    """[text] name, "neutral" for the rest."""
    family: np.ndarray
    split: np.ndarray
    topic: np.ndarray
    person: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))
    setting: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))
    kind: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))
    style: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))
    """[text] these four are "" where nothing is known."""

    def __post_init__(self):
        for name in ("person", "setting", "kind", "style"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(len(self.texts), ""))

    @cached_property
    def _places(self) -> dict[tuple[str, str], np.ndarray]:
        """(concept, split) -> its texts."""
        pairs = list(zip(self.concept.tolist(), self.split.tolist(), strict=True))
        found: dict[tuple[str, str], list[int]] = {}
        for place, pair in enumerate(pairs):
            found.setdefault(pair, []).append(place)
        return {pair: np.array(places) for pair, places in found.items()}

    @cached_property
    def family_of(self) -> dict[str, str]:
        """concept -> its family."""
        return dict(zip(self.concept.tolist(), self.family.tolist(), strict=True))

    def positives(self, concept: str, split: str) -> np.ndarray:
        return self._places.get((concept, split), np.zeros(0, dtype=int))

    def others_of(self, concept: str, split: str) -> list[str]:
        """The other concepts that have texts in this split."""
        return [name for name, held in self._places if held == split and name not in (concept, NEUTRAL)]

    def negatives(self, concept: str, split: str, siblings: bool = False) -> np.ndarray:
        """Neutral texts and texts of other families; with `siblings` those of the own family's other concepts too.

        Neutral texts have no implicit or contrast split: their checking texts stand in for it. Only texts of a style that
        the concept's own have count, so that no hand's way of writing gives its concepts away.
        """
        family = self.family_of[concept]
        neutral = (self.concept == NEUTRAL) & (self.split == (split if split in ("finding", "sealed") else "checking"))
        others = (self.concept != NEUTRAL) & (self.split == split)
        others &= (self.concept != concept) if siblings else (self.family != family)
        own_style = np.isin(self.style, self.style[self.positives(concept, split)])
        return np.flatnonzero((neutral | others) & own_style)

    def siblings(self, concept: str, split: str) -> np.ndarray:
        family = self.family_of[concept]
        return np.flatnonzero((self.family == family) & (self.concept != concept) & (self.split == split))


def text_table(concept_set: ConceptSet, splits: Sequence[str] = READ) -> TextTable:
    """The set's texts of these splits."""
    rows = [
        (text.text, name, concept.family, split, text.topic, text.person, text.setting, text.kind, text.style)
        for name, concept in concept_set.concepts.items()
        for split in splits
        for text in concept.of(split)
    ]
    rows += [
        (text.text, NEUTRAL, NEUTRAL, split, text.topic, text.person, text.setting, text.kind, text.style)
        for split in splits
        for text in concept_set.neutral.get(split, ())
    ]
    texts, *columns = zip(*rows, strict=True)
    return TextTable(list(texts), *(np.array(column) for column in columns))


def topic_folds(topics: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each text; texts of one topic share a fold, so that a topic cannot help to predict itself."""
    names = np.unique(topics)
    fold_of = dict(zip(rng.permutation(names), np.arange(len(names)) % folds, strict=True))
    return np.array([fold_of[topic] for topic in topics])
