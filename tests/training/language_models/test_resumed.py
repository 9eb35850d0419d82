"""A pass that begins after a block says what the whole pass says, and the model is itself again afterwards."""

import pytest
import torch

from saes.intervention import DirectionPush
from tests.training.conftest import FAMILIES, SENTENCES
from training.language_models.hugging_face import open_hugging_face
from training.language_models.resumed import can_resume, outcome_of, resumed

SITE = "blocks.1.hook_resid_post"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_follows_a_block_is_the_same(model_folders, family):
    model = open_hugging_face(str(model_folders[family]))
    assert can_resume(model, SITE)
    assert can_resume(model, "blocks.1.hook_out")
    for part in ("hook_mlp_out", "mlp.hook_out", "attn.hook_out"):
        assert not can_resume(model, f"blocks.1.{part}")
    tokens = model.tokenise(SENTENCES)
    hooks = {SITE: DirectionPush(torch.ones(32), 3.0).hook()}
    plain, pushed = model.logits(tokens), model.logits(tokens, hooks)
    x, wrap = outcome_of(model, tokens, SITE)
    ran = []
    handle = model.model.get_input_embeddings().register_forward_hook(lambda *_: ran.append("embedding"))
    handles = [
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, part in model.place("blocks.1.hook_out").module.named_children()
    ]
    with resumed(model, SITE, x, wrap):
        torch.testing.assert_close(model.logits(tokens), plain)
        torch.testing.assert_close(model.logits(tokens, hooks), pushed)
    assert set(ran) == {"embedding"}, "no part of the block computed"
    for one in (handle, *handles):
        one.remove()
    assert torch.equal(model.logits(tokens), plain)
