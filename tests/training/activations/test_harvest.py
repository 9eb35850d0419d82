"""What is kept of a model's activations, and what is said when they are no numbers."""

import pytest
import torch

from training.activations.harvest import aligned, harvest, harvested, within_reach
from training.corpora.corpus import windows

SITE = "blocks.1.hook_resid_post"


def test_rows_are_the_activations_of_text(llama):
    batches = list(windows(["The cat sat on the mat. " * 8] * 3, llama, context=16, batch=4))
    for tokens, found in zip(batches, harvest(llama, [SITE], batches), strict=True):
        batch = found[SITE]
        expected = llama.activations(tokens, [SITE])[SITE]
        assert torch.equal(batch.vectors, expected)
        assert not batch.keep[~tokens.keep].any()
        assert torch.equal(batch.rows(), expected[batch.keep])
        assert batch.rows().shape[1] == 32


def test_many_sites_in_one_pass_are_each_what_it_is_alone(llama):
    tokens = llama.tokenise(["The cat sat on the mat. " * 4])
    others = ["blocks.0.hook_mlp_out", "blocks.2.hook_resid_pre"]
    found = next(harvest(llama, [SITE, *others], [tokens]))
    assert all(torch.equal(found[name].vectors, harvested(llama, name, tokens).vectors) for name in found)
    assert set(found) == {SITE, *others}


def test_aligned_rows_are_of_tokens_kept_everywhere(llama):
    found = next(harvest(llama, [SITE, "blocks.0.hook_mlp_out"], [llama.tokenise(["The cat sat on the mat."])]))
    found[SITE].keep[0, 3] = False  # as if it were an attention sink at one of the two
    rows = aligned(found, ["blocks.0.hook_mlp_out"])["blocks.0.hook_mlp_out"].rows()
    batch = found["blocks.0.hook_mlp_out"]
    assert torch.equal(rows, torch.cat([batch.vectors[0, 1:3], batch.vectors[0, 4:]]))


def test_attention_sinks_are_left_out():
    keep = torch.ones(2, 4, dtype=torch.bool)
    keep[0, 0] = False
    lengths = torch.tensor([[900.0, 1.0, 1.2, 0.9], [500.0, 1.1, 9.0, 1.0]])
    assert within_reach(lengths, keep).tolist() == [[False, True, True, True], [False, True, True, True]]
    assert not within_reach(lengths, torch.zeros_like(keep)).any()


def test_nan_is_named_with_its_token(llama):
    tokens = llama.tokenise(["The cat sat on the mat."])

    def spoil(x):
        x = x.clone()
        x[0, 3] = torch.nan
        return x

    word = llama.strings(tokens.ids[0, 3:4])[0]
    with (
        llama.hooked({SITE: spoil}),
        pytest.raises(ValueError, match=f"NaN or infinite at token 3 \\('{word}'\\) of text 0 in batch 0"),
    ):
        next(harvest(llama, [SITE], [tokens]))


def test_an_unknown_place_is_an_error_at_once(llama):
    with pytest.raises(ValueError, match="each with hook_resid_pre"):
        harvest(llama, [SITE, "blocks.7.hook_resid_post"], iter(()))
