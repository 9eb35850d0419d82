"""The words that name a concept, and the rule for labels that detect them."""

import numpy as np
import pytest

from analysis.labelling.lexical import naming_tokens
from analysis.labelling.lexical_rule import is_lexical


@pytest.mark.parametrize(
    ("strings", "names", "expected"),
    [
        (["<s>", "She", " was", " afra", "id", "."], ["afraid"], [0, 0, 0, 1, 1, 0]),
        ([" Fear", "ful", " dogs"], ["fear"], [1, 1, 0]),
        ([" at", " ease", ",", " at", " sea"], ["at ease"], [1, 1, 0, 0, 0]),
        ([" grief", "-", "str", "icken", " man"], ["grief-stricken"], [1, 0, 1, 1, 0]),
        ([" un", "afraid"], ["afraid"], [0, 0]),
        ([' "', "Afraid", '"'], ["afraid"], [0, 1, 0]),
        ([], ["afraid"], []),
    ],
)
def test_naming_tokens(strings, names, expected):
    np.testing.assert_array_equal(naming_tokens(strings, names), expected)


@pytest.mark.parametrize(
    ("share", "checking", "masked", "expected"),
    [
        (0.1, 0.9, 0.85, False),
        (0.6, 0.9, 0.85, True),  # most of its firing falls on the name
        (0.3, 0.9, 0.65, True),  # without the name little is left
        (0.3, 0.9, 0.72, False),
        (0.0, 0.5, 0.5, False),  # at chance nothing could be lost
        (0.1, 0.4, 0.4, False),  # nor below it
    ],
)
def test_the_rule(share, checking, masked, expected):
    assert is_lexical(share, checking, masked) is expected
