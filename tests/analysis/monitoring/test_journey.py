"""What is usual is measured once, and anew where it would be of other latents."""

import pytest

from analysis.monitoring.journey import REFERENCE, reference_for
from analysis.monitoring.reader import LevelReader
from analysis.planted.word_model import HOOK
from analysis.study import Study
from tests.analysis.clamping.conftest import (  # noqa: F401
    concept_set,
    dictionary,
    make_label_fixture,
    make_study,
    word_model,
)


@pytest.fixture
def usual(make_study, make_label, word_model, dictionary, concept_set, monkeypatch):  # noqa: F811
    """usual(latent) -> the reference of a study in the same folder whose label of mooda has this latent."""
    monkeypatch.setattr(Study, "concepts_at_hand", lambda self: concept_set)

    def measure(latent: int):
        labels = [make_label("mooda", [latent])]
        study = make_study(labels)
        return reference_for(study, LevelReader(word_model, dictionary, HOOK, labels)), study.folder / REFERENCE

    return measure


def test_a_label_that_was_chosen_anew_has_another_reference(usual):
    first, kept = usual(0)
    when = kept.stat().st_mtime_ns
    again, _ = usual(0)
    assert kept.stat().st_mtime_ns == when, "it is measured once"
    assert (again.levels != first.levels).nnz == 0
    other, _ = usual(1)
    assert other.source != first.source
    assert (other.levels != first.levels).nnz > 0, "the same concept by another latent fires elsewhere"
