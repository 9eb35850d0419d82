"""What lies at a path is told from its files; what cannot be read is named together with what could."""

import json

import numpy as np
import pytest

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import sae_hash, save_sae
from saes.formats.layout import layout_at, layout_of
from saes.opening import dictionary_hash
from saes.site import Site
from tests.saes.formats.layouts import dictionary_learning, gemma_scope, gemma_scope_2, sparsify


@pytest.fixture
def shelf(tmp_path):
    save_sae(SparseAutoencoder(SAEConfig(5, 24, k=4)), tmp_path / "sae_lens", Site("m", "h"))
    sparsify(tmp_path / "sparsify")
    dictionary_learning(tmp_path / "dictionary_learning", "AutoEncoder")
    gemma_scope(tmp_path / "gemma_scope")
    gemma_scope_2(tmp_path / "gemma_scope_2")
    return tmp_path


def test_each_format_is_known_by_its_folder_and_by_its_file(shelf):
    for name in ("sae_lens", "sparsify", "dictionary_learning", "gemma_scope", "gemma_scope_2"):
        layout = layout_of(shelf / name)
        assert layout.format == name
        assert layout_of(layout.weights) == layout
        assert layout.path == shelf / name


def test_named_directions_are_a_file(tmp_path):
    np.savez(tmp_path / "mine.npz", calm=np.ones(3))
    layout = layout_of(tmp_path / "mine.npz")
    assert (layout.format, layout.path) == ("named_directions", tmp_path / "mine.npz")


def test_hashes_follow_what_is_computed(shelf):
    assert dictionary_hash(shelf / "sae_lens") == sae_hash(shelf / "sae_lens")
    before = {name: dictionary_hash(shelf / name) for name in ("sparsify", "dictionary_learning", "gemma_scope")}
    assert len(set(before.values())) == 3
    told = json.loads((shelf / "sparsify" / "cfg.json").read_text())
    (shelf / "sparsify" / "cfg.json").write_text(json.dumps(told | {"k": 3}))
    gemma_scope(shelf / "again" / "gemma_scope")
    assert dictionary_hash(shelf / "sparsify") != before["sparsify"]
    assert dictionary_hash(shelf / "dictionary_learning") == before["dictionary_learning"]


def test_a_folder_of_several_names_them(shelf):
    assert layout_at(shelf) is None
    with pytest.raises(ValueError, match=r"holds 5 dictionaries, so name one of them: .*dictionary_learning, .*gemma"):
        layout_of(shelf)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("gone", FileNotFoundError, "there is no dictionary"),
        ("empty", FileNotFoundError, "holds nothing; what can be read is a folder with cfg.json"),
        ("notes", FileNotFoundError, r"it holds notes.txt; what can be read"),
        ("notes/notes.txt", ValueError, "is no dictionary: what can be read"),
        ("pickle", ValueError, "state.pt is a pickle, which can run code: refused"),
        ("pickle/state.pt", ValueError, "only a dictionary_learning one with its config.json beside it"),
        ("study", ValueError, r"is a study; its directions are a dictionary by the name .*diff_means.npz"),
    ],
)
def test_anything_else_is_named_with_what_would_do(tmp_path, name, error, said):
    for folder in ("empty", "notes", "pickle", "study"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("hello")
    (tmp_path / "pickle" / "state.pt").write_bytes(b"x")
    np.savez(tmp_path / "study" / "diff_means.npz", calm=np.ones(3))
    with pytest.raises(error, match=said):
        layout_of(tmp_path / name)
