"""Ablating what writes a concept's words costs loss there and nowhere else; ablating a bystander costs nothing."""

import numpy as np
import pytest
import torch

from analysis.clamping.judge import judge_for
from analysis.clamping.necessity import CONTROLS, bearing_tokens, necessity
from analysis.clamping.verdict import VerdictRule
from analysis.planted.word_model import CONCEPTS, D_IN, HOOK, NUMBER, WORDS, WordModel


@pytest.fixture
def echoing():
    """The word model, in which a concept's word makes the next one likelier, through the concept's coordinate."""
    model = WordModel()
    for place, concept in enumerate(CONCEPTS):
        model.embedding[[NUMBER[word] for word in WORDS[concept]], place] = 2.0
    model.embedding[:, 8:] = model.embedding[:, 8:].abs()
    return model


def test_a_writer_is_needed_and_a_bystander_is_not(echoing, dictionary, concept_set, judge_texts, make_label):
    judge = judge_for([], concept_set, judge_texts)
    density = np.full(D_IN, 0.5)
    labels = [make_label("mooda", [0]), make_label("moodb", [30])]
    writer, bystander = necessity(
        labels, concept_set, echoing, dictionary, HOOK, judge, density, [*range(8), 30], VerdictRule()
    )
    assert set(writer.words) & set(WORDS["mooda"])
    assert writer.n_bearing > 0
    assert writer.low > 0 > writer.elsewhere
    assert writer.contrast == pytest.approx(writer.bearing - writer.elsewhere)
    assert writer.n_controls == CONTROLS
    assert writer.p == 1 / (1 + CONTROLS)
    assert writer.control_max == pytest.approx(0.0, abs=1e-6)
    assert bystander.contrast == pytest.approx(0.0, abs=1e-6)
    assert bystander.p == 1.0


def test_words_are_found_across_tokens():
    where, found = bearing_tokens(["She", " was", " desp", "erate", ",", " not", " desperately", ""], {"desperate"})
    assert where.tolist() == [False, False, True, True, False, False, False, False]
    assert found == {"desperate"}
    assert not torch.tensor(bearing_tokens(["", " a"], {"b"})[0]).any()
