"""Rows of several places are split into what is read and what is written."""

import torch

from training.activations.places import Places


def test_an_sae_reads_and_writes_one_place():
    places, rows = Places(("a",), ("a",)), {"a": torch.randn(4, 3)}
    x, target = places.split(rows)
    assert x is rows["a"]
    assert target is None
    assert places.is_one
    assert str(places) == "a"


def test_a_transcoder_s_target_is_another_place_and_a_crosscoder_s_row_holds_all():
    rows = {"a": torch.randn(4, 3), "b": torch.randn(4, 2)}
    x, target = Places(("a",), ("b",)).split(rows)
    assert x is rows["a"]
    assert target is rows["b"]
    assert str(Places(("a",), ("b",))) == "a-to-b"
    both = Places(("b", "a"), ("b", "a"))
    x, target = both.split(rows)
    assert torch.equal(x, torch.cat([rows["b"], rows["a"]], dim=1))
    assert target is None
    assert (both.every, both.is_one, str(both)) == (("b", "a"), False, "b+a")
