"""Paths and names lead to the same dictionary."""

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.opening import open_dictionary
from saes.site import Site

SITE = Site("org/model", "blocks.2.hook_resid_post")


def test_opens_by_path_and_by_name_under_checkpoints(tmp_path, monkeypatch):
    sae = SparseAutoencoder(SAEConfig(5, 24, k=4))
    folder = save_sae(sae, tmp_path / "checkpoints" / "mine", SITE)
    monkeypatch.chdir(tmp_path)
    for name in (folder, "checkpoints/mine", "mine"):
        opened, site, _ = open_dictionary(name)
        assert torch.equal(opened.directions, sae.directions)
        assert site == SITE


def test_a_name_without_a_checkpoint_says_where_it_looked():
    with pytest.raises(FileNotFoundError, match="no checkpoint nothing-here"):
        open_dictionary("nothing-here")
