"""The word model's world, whose every effect is known."""

from tests.analysis.clamping.conftest import (  # noqa: F401
    concept_set,
    dictionary,
    make_label_fixture,
    make_study,
    word_model,
)
