"""Planted confounds: a latent of the name, of a person, of a setting, of length; each is seen by its own check alone."""

import numpy as np
import pytest

from analysis.concepts.concept import Concept, ConceptSet
from analysis.labelling.confounds import confounds, masked_texts
from analysis.labelling.split import TextTable

N = 60


@pytest.fixture
def table():
    """Own and other checking texts, by turns in two settings, two persons, two lengths; and own contrast texts."""
    rng = np.random.default_rng(0)
    concept = np.array(["afraid"] * N + ["happy"] * N + ["afraid"] * N)
    split = np.array(["checking"] * (2 * N) + ["contrast"] * N)
    texts = [f"was {'afraid' if place % 2 else 'there'}" for place in range(N)] + ["was there"] * (2 * N)
    setting = rng.choice(["sea", "law"], 3 * N)
    person = rng.choice(["first", "third"], 3 * N)
    kind = np.where(split == "contrast", rng.choice(["negated", "quoted", "other"], 3 * N), "")
    return TextTable(texts, concept, concept, split, concept, person, setting, kind)


def panel(table, values, masked=None, n_tokens=None):
    strings = [[f" {word}" for word in text.split()] for text in table.texts]
    n_tokens = np.full(len(values), 10) if n_tokens is None else n_tokens
    return {row.check: row for row in confounds("afraid", values, masked or {}, strings, n_tokens, table, ["afraid"])}


def test_a_true_label_stands_every_check(table):
    rng = np.random.default_rng(1)
    own = (table.concept == "afraid") & (table.split == "checking")
    found = panel(table, own * 3 + rng.normal(size=3 * N))
    assert set(found) == {"named", "unnamed", "masked", "negated", "quoted", "other", "contrast", "first", "third",
                          "setting", "length"}  # fmt: skip
    assert all(row.auroc > 0.9 and row.low <= row.auroc <= row.high for row in found.values())
    assert (found["named"].n_positive, found["unnamed"].n_positive, found["masked"].n_negative) == (N // 2, N // 2, N)


def test_the_name_is_seen_by_what_is_left_without_it(table):
    named = np.array(["afraid" in text for text in table.texts])
    values = named * 3 + np.random.default_rng(2).normal(size=3 * N)
    found = panel(table, values, {text: float(values[text] - 3) for text in np.flatnonzero(named)})
    assert found["named"].auroc > 0.9
    assert found["unnamed"].low < 0.5 < found["unnamed"].high
    assert found["masked"].low < 0.5 < found["masked"].high


def test_a_setting_is_held_still(table):
    """The concept's texts lie by the sea far more often; the latent knows the sea."""
    rng = np.random.default_rng(3)
    own = table.concept == "afraid"
    table.setting[:] = np.where(rng.random(3 * N) < np.where(own, 0.9, 0.1), "sea", "law")
    found = panel(table, (table.setting == "sea") * 3 + rng.normal(size=3 * N))
    assert found["masked"].auroc > 0.8
    assert found["setting"].low < 0.5 < found["setting"].high


def test_length_is_held_still(table):
    rng = np.random.default_rng(4)
    length = np.where(rng.random(3 * N) < np.where(table.concept == "afraid", 0.9, 0.1), 80, 20)
    found = panel(table, length + rng.normal(size=3 * N), n_tokens=length)
    assert found["masked"].auroc > 0.8
    assert found["length"].low < 0.5 < found["length"].high


def test_what_is_not_known_is_left_out(table):
    bare = TextTable(table.texts, table.concept, table.family, table.split, table.topic)
    assert set(panel(bare, np.arange(3 * N) * 1.0)) == {"named", "unnamed", "masked", "contrast", "length"}


def test_only_texts_that_name_their_concept_are_masked(table):
    concepts = {name: Concept(name, name, "", (name,), (), {}) for name in ("afraid", "happy")}
    found = masked_texts(table, ConceptSet("two", concepts, {}, ""))
    assert sorted(found) == [place for place in range(N) if place % 2]
    assert set(found.values()) == {"was so"}
