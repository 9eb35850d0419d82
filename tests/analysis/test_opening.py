"""Which dictionaries labels and clamps are about; whatever else can be trained is refused in one line."""

from types import SimpleNamespace

import pytest
import torch

from analysis.opening import as_labelled, at_one_site, on_device, reads_one_site, study_beside, writes_elsewhere
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.projections import Projections

PLAIN = SparseAutoencoder(SAEConfig(4, 8, k=2))
TRANSCODER = SparseAutoencoder(SAEConfig(4, 8, k=2, d_out=4, apply_b_dec_to_input=False))
CROSSCODER = SparseAutoencoder(SAEConfig(4, 8, k=2, sites=(("a", 2), ("b", 2))))
DIRECTIONS = Projections(torch.eye(4))


def test_labels_are_for_whatever_reads_one_site():
    for one in (PLAIN, TRANSCODER, DIRECTIONS):
        assert reads_one_site(one) is one
    with pytest.raises(ValueError, match="this is a crosscoder: labels and clamps are for dictionaries that read one"):
        reads_one_site(CROSSCODER)
    assert [writes_elsewhere(one) for one in (PLAIN, TRANSCODER, DIRECTIONS)] == [False, True, False]


def test_trials_are_for_whatever_writes_there_too():
    for one in (PLAIN, DIRECTIONS):
        assert at_one_site(one) is one
    for one, said in ((TRANSCODER, "this is a transcoder: it is labelled"), (CROSSCODER, "this is a crosscoder")):
        with pytest.raises(ValueError, match=said):
            at_one_site(one)


def test_somebody_else_s_dictionary_stays_where_it_was_made():
    theirs = object()
    assert on_device(theirs, "cpu") is theirs
    assert on_device(DIRECTIONS, "cpu").d_sae == 4


def test_a_study_lies_in_the_folder_or_beside_the_file(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"")
    assert study_beside(tmp_path) == tmp_path / "study"
    assert study_beside(tmp_path / "mine.npz") == tmp_path / "mine-study"


def test_texts_are_read_again_as_the_study_read_them():
    model = SimpleNamespace(reading=lambda read: f"reading {read}")
    for settings, expected in (({}, model), ({"read": "all"}, model), ({"read": "user"}, "reading user")):
        assert as_labelled(model, SimpleNamespace(info=SimpleNamespace(settings=settings))) == expected
