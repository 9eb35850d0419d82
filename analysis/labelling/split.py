"""The concept texts as one flat list, and which of them are compared with which."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    def positives(self, concept: str, split: str) -> np.ndarray:
        return np.flatnonzero((self.concept == concept) & (self.split == split))

    def negatives(self, concept: str, split: str, siblings: bool = False) -> np.ndarray:
        """Neutral texts and texts of other families; with `siblings` those of the own family's other concepts too.

        Neutral texts have no implicit or contrast split: their checking texts stand in for it.
        """
        family = self.family[self.concept == concept][0]
        neutral = (self.concept == NEUTRAL) & (self.split == (split if split in ("finding", "sealed") else "checking"))
        others = (self.concept != NEUTRAL) & (self.split == split)
        others &= (self.concept != concept) if siblings else (self.family != family)
        return np.flatnonzero(neutral | others)

    def siblings(self, concept: str, split: str) -> np.ndarray:
        family = self.family[self.concept == concept][0]
        return np.flatnonzero((self.family == family) & (self.concept != concept) & (self.split == split))


def text_table(concept_set: ConceptSet, splits: Sequence[str] = READ) -> TextTable:
    """The set's texts of these splits."""
    rows = [
        (text.text, name, concept.family, split, text.topic)
        for name, concept in concept_set.concepts.items()
        for split in splits
        for text in concept.of(split)
    ]
    rows += [
        (text.text, NEUTRAL, NEUTRAL, split, text.topic)
        for split in splits
        for text in concept_set.neutral.get(split, ())
    ]
    texts, concepts, families, splits, topics = zip(*rows, strict=True)
    return TextTable(list(texts), *(np.array(column) for column in (concepts, families, splits, topics)))


def topic_folds(topics: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each text; texts of one topic share a fold, so that a topic cannot help to predict itself."""
    names = np.unique(topics)
    fold_of = dict(zip(rng.permutation(names), np.arange(len(names)) % folds, strict=True))
    return np.array([fold_of[topic] for topic in topics])
