"""Rows of several places hold the same tokens, and are split as they were joined."""

import pytest
import torch

from training.activations.harvest import harvested
from training.activations.side_by_side import Places, harvest_side_by_side, harvested_side_by_side
from training.language_models.language_model import LanguageModel

A, B = "blocks.0.hook_resid_post", "blocks.2.hook_mlp_out"


def test_one_place_is_the_plain_harvest(llama: LanguageModel):
    tokens = llama.tokenise(["The cat sat on the mat."])
    one, plain = harvested_side_by_side(llama, Places.one(A), tokens), harvested(llama, A, tokens)
    assert torch.equal(one.vectors, plain.vectors)
    assert torch.equal(one.keep, plain.keep)


@pytest.mark.parametrize("places", [Places((A, B), (A, B)), Places((A,), (B,))], ids=str)
def test_parts_are_of_the_same_token(llama, places):
    tokens = llama.tokenise(["The cat sat on the mat.", "Rain fell."])
    (batch,) = harvest_side_by_side(llama, places, [tokens])
    a, b = (harvested(llama, name, tokens) for name in (A, B))
    assert torch.equal(batch.keep, a.keep & b.keep)
    assert torch.equal(batch.rows(), torch.cat([a.vectors, b.vectors], dim=-1)[a.keep & b.keep])
    x, target = places.split(batch.rows(), llama.width)
    if places.read == places.written:
        assert target is None
        assert torch.equal(x, batch.rows())
    else:
        assert torch.equal(torch.cat([x, target], dim=1), batch.rows())
        assert str(places) == f"{A}-to-{B}"


def test_an_unknown_place_is_refused_before_anything_is_read(llama):
    with pytest.raises(ValueError, match=r"no place .*hook_nose"):
        harvest_side_by_side(llama, Places((A, "blocks.0.hook_nose"), (A,)), iter(()))
