"""Directions by name are read by projection from their centre, in the activations' own units."""

import json

import numpy as np
import pytest
import torch

from saes.dictionary import Dictionary
from saes.intervention import Edit, Intervention
from saes.opening import dictionary_hash, open_dictionary
from saes.site import UNKNOWN, Site

CALM, AFRAID, CENTRE = np.array([3.0, 4.0, 0.0]), np.array([0.0, 0.0, -2.0]), np.array([1.0, 1.0, 1.0])


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "mine.npz", calm=CALM, afraid=AFRAID, mean=CENTRE)
    return tmp_path / "mine.npz"


def test_readings_are_signed_distances_from_the_centre(file):
    dictionary, site, metadata = open_dictionary(file)
    assert isinstance(dictionary, Dictionary)
    assert metadata["names"] == list(dictionary.names) == ["calm", "afraid"]
    assert site == Site(UNKNOWN, UNKNOWN)
    x = torch.tensor([[6.0, 1.0, 1.0], [1.0, 1.0, 3.5], [1.0, 1.0, 1.0]])
    expected = torch.tensor([[5 * 0.6, 0.0], [0.0, -2.5], [0.0, 0.0]])
    torch.testing.assert_close(dictionary.encode(x), expected)
    torch.testing.assert_close(dictionary.encode_latents(x, [1]), expected[:, [1]])
    torch.testing.assert_close(dictionary.encode_sparse(x).dense(2), expected.clamp(min=0))
    torch.testing.assert_close(dictionary.decode(expected[:1]), torch.tensor([[1 + 1.8, 1 + 2.4, 1.0]]))


def test_a_clamp_leaves_the_activation_where_it_was_asked_to_be(file):
    dictionary, _, _ = open_dictionary(file)
    x = torch.randn(2, 4, 3)
    for value in (2.5, 0.0, -1.0):
        y = Intervention((Edit((0,), value),)).hook(dictionary)(x)
        torch.testing.assert_close(dictionary.encode_latents(y, [0]), torch.full((2, 4, 1), value), rtol=0, atol=1e-5)
        torch.testing.assert_close(dictionary.encode_latents(y, [1]), dictionary.encode_latents(x, [1]))


def test_a_study_s_directions_know_their_site_and_their_centre(tmp_path):
    np.savez(tmp_path / "diff_means.npz", calm=CALM, afraid=AFRAID)
    site = Site("org/model", "blocks.2.hook_resid_post", "main", "bfloat16")
    (tmp_path / "study.json").write_text(json.dumps({"site": str(site)}))
    without, found, metadata = open_dictionary(tmp_path / "diff_means.npz")
    assert found == site
    assert not metadata["centred"]
    assert float(without.centre.abs().sum()) == 0
    before = dictionary_hash(tmp_path / "diff_means.npz")
    np.savez(tmp_path / "mean_activation.npz", mean=CENTRE)
    centred, _, metadata = open_dictionary(tmp_path / "diff_means.npz")
    assert metadata["centred"]
    torch.testing.assert_close(centred.centre, torch.tensor(CENTRE).float())
    assert dictionary_hash(tmp_path / "diff_means.npz") != before


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"calm": np.ones(3), "afraid": np.ones(4)}, r"found calm \[3\], afraid \[4\]"),
        ({"calm": np.ones((2, 3))}, r"found calm \[2, 3\]"),
        ({"mean": np.ones(3)}, r"one or more directions"),
        ({"calm": np.zeros(3)}, "length above zero"),
    ],
)
def test_what_is_no_set_of_directions(tmp_path, arrays, said):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=said):
        open_dictionary(tmp_path / "mine.npz")
