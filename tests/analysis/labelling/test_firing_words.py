"""The words at which latents fire."""

import pytest

from analysis.labelling.firing_words import firing_words, words_fired, write_firing_words
from analysis.records import Excerpt, FiringWord
from analysis.study import Study
from tests.analysis.report.filled_study import info


@pytest.mark.parametrize(
    ("tokens", "values", "found"),
    [
        (["Mia", " saw", " it"], [0, 1, 0], {"saw"}),
        ([" be", "tray", "ed", " him"], [0, 0.5, 0, 0], {"betrayed"}),  # a word of several tokens
        ([" a", " b"], [0, 0], set()),
        ([" Oh", "!", " no"], [0, 2, 0], set()),  # it fires at no word
        (["don't", " go"], [1, 0], {"don't"}),
        (["x", "y z"], [0, 1], {"xy", "z"}),  # a token that ends one word and begins another
        ([], [], set()),
    ],
)
def test_words_of_which_a_token_fires(tokens, values, found):
    assert words_fired(tokens, values) == found


def test_each_word_names_its_latents_once():
    rows = [(3, [" Wolf", " ran"], [1.0, 0.0]), (3, [" wolf"], [2.0]), (5, [" wolf", " ran"], [1.0, 1.0])]
    assert list(firing_words(rows)) == [FiringWord("ran", [5]), FiringWord("wolf", [3, 5])]


def test_the_table_is_written_from_the_study_itself(tmp_path):
    study = Study.create(tmp_path / "study", info())
    study.write("excerpts", [Excerpt(7, 0, "afraid", "checking", [" the", " wolf"], [0.0, 2.0], 2.0)])
    write_firing_words(study)
    assert study.read("firing_words") == [FiringWord("wolf", [7])]
