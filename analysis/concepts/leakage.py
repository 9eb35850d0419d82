"""How far words alone give a concept away: what a bag of words, trained on finding texts, makes of the other splits.

A label's score on a split is worth little where this is as high; implicit texts that it sees through are to be rewritten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.concepts.concept import Concept, ConceptSet, masked
from analysis.labelling.scores import compare
from analysis.labelling.split import TextTable, text_table

SEEN_THROUGH = 0.98
"""An implicit text counts as seen through where the bag of words ranks it above this share of the texts of other families."""


@dataclass(frozen=True)
class Leakage:
    """One concept on one split: AUROC of the bag of words against neutral texts and texts of other families."""

    concept: str
    split: str
    """"checking", "implicit", "contrast"; "masked" is checking with every word that names any concept of the set masked."""
    auroc: float
    low: float
    high: float
    """95 % bootstrap interval over texts."""
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class SeenThrough:
    """An implicit text that the bag of words guesses."""

    concept: str
    text: str
    above: float
    """The share of texts of other families (and neutral ones) that it ranks below this text."""


def leakage(concept_set: ConceptSet) -> tuple[list[Leakage], list[SeenThrough]]:
    """Each concept on each split, and the implicit texts that are seen through, the worst first.

    The bag of words: tf-idf of words and word pairs, one logistic regression a concept, against neutral texts and texts of
    other families, on finding texts.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise ImportError("the bag of words needs scikit-learn: pip install 'scikit-learn>=1.6'") from error
    table = text_table(concept_set)
    finding = np.flatnonzero(table.split == "finding")
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    words.fit(table.texts[place] for place in finding)
    features = words.transform(table.texts)
    every_name = [name for concept in concept_set.concepts.values() for name in concept.names]
    without_names = words.transform(masked(text, every_name) for text in table.texts)
    found: list[Leakage] = []
    guessed: list[SeenThrough] = []
    for concept in concept_set.concepts:
        model = _trained(features, table, concept)
        plain, blind = (model.decision_function(matrix) for matrix in (features, without_names))
        for split in ("checking", "masked", "implicit", "contrast"):
            score = _scored(blind if split == "masked" else plain, table, concept, split)
            found += [score] if score else []
        guessed += _seen_through(plain, table, concept_set.concepts[concept])
    return found, sorted(guessed, key=lambda one: -one.above)


def _trained(features, table: TextTable, concept: str):
    from sklearn.linear_model import LogisticRegression

    own, others = table.positives(concept, "finding"), table.negatives(concept, "finding")
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=200, solver="liblinear")
    return model.fit(features[np.concatenate([own, others])], np.arange(len(own) + len(others)) < len(own))


def _scored(values: np.ndarray, table: TextTable, concept: str, split: str) -> Leakage | None:
    of = "checking" if split == "masked" else split
    own, others = table.positives(concept, of), table.negatives(concept, of)
    if not len(own):
        return None
    return Leakage(concept, split, *compare(values[own], values[others]), len(own), len(others))


def _seen_through(values: np.ndarray, table: TextTable, concept: Concept) -> list[SeenThrough]:
    own, others = table.positives(concept.name, "implicit"), table.negatives(concept.name, "implicit")
    above = [float(np.mean(values[others] < values[text])) for text in own]
    return [
        SeenThrough(concept.name, table.texts[text], share)
        for text, share in zip(own, above, strict=True)
        if share > SEEN_THROUGH
    ]


def medians(found: Sequence[Leakage]) -> dict[str, float]:
    """The median over concepts, by split."""
    splits = dict.fromkeys(one.split for one in found)
    return {split: float(np.median([one.auroc for one in found if one.split == split])) for split in splits}
