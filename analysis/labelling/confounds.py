"""Other readings of a label, and how it does where they cannot help it: its name, negation, person, setting, length."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.concepts.concept import KINDS, ConceptSet, masked
from analysis.labelling.lexical import naming_tokens
from analysis.labelling.scores import compare
from analysis.labelling.split import TextTable
from analysis.records import Confound

DRAWS = 500
PERSONS = ("first", "third")
LENGTH_SLACK = 0.1
"""Texts are of a length when their numbers of tokens differ by at most this share."""


def masked_texts(table: TextTable, concept_set: ConceptSet) -> dict[int, str]:
    """Each concept's checking texts that name it, with a neutral word in the name's place, by the text's number."""
    found = {}
    for name, concept in concept_set.concepts.items():
        for text in table.positives(name, "checking").tolist():
            if (other := masked(table.texts[text], concept.names)) != table.texts[text]:
                found[text] = other
    return found


def confounds(
    concept: str, values: np.ndarray, masked_values: Mapping[int, float], strings: Sequence[Sequence[str]],
    n_tokens: np.ndarray, table: TextTable, names: Sequence[str],
) -> list[Confound]:  # fmt: skip
    """Every check that these texts allow, all on checking (and contrast) texts.

    `values` [text] those of the concept's label, `masked_values` those of texts that name the concept, read again without the name.
    """
    own, others = table.positives(concept, "checking"), table.negatives(concept, "checking")
    named = np.array([naming_tokens(list(strings[text]), names).any() for text in own], dtype=bool)
    without = np.array([masked_values.get(int(text), values[text]) for text in own])
    contrast = table.positives(concept, "contrast")
    found: list[Confound] = []

    def add(check: str, mine: np.ndarray, theirs: np.ndarray, matched: np.ndarray | None = None) -> None:
        """Two [text] arrays of values, compared in the `matched` pairs only; nothing where there is nothing to compare."""
        if not len(mine) or not len(theirs) or (matched is not None and not matched.any()):
            return
        score, low, high = compare(mine, theirs, matched, draws=DRAWS)
        counts = (len(mine), len(theirs))
        if matched is not None:
            counts = (int(matched.any(axis=1).sum()), int(matched.any(axis=0).sum()))
        found.append(Confound(concept, check, score, low, high, *counts))

    add("named", values[own[named]], values[others])
    add("unnamed", values[own[~named]], values[others])
    add("masked", without, values[others])
    for kind in KINDS:
        add(kind, values[own], values[contrast[table.kind[contrast] == kind]])
    add("contrast", values[own], values[contrast])
    for person in PERSONS:
        mine, theirs = own[table.person[own] == person], others[table.person[others] == person]
        add(person, values[mine], values[theirs])
    setting, elsewhere = table.setting[own], table.setting[others]
    add("setting", values[own], values[others], (setting[:, None] == elsewhere) & (setting != "")[:, None])
    length, lengths = n_tokens[own].astype(float), n_tokens[others].astype(float)
    add("length", values[own], values[others], np.abs(length[:, None] - lengths) <= LENGTH_SLACK * length[:, None])
    return found
