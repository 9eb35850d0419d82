"""TransformerLens' bridge and plain forward hooks see and do the same."""

import pytest
import torch

from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

pytest.importorskip("transformer_lens")

FAMILIES = ("llama", "gpt2", "gpt_neox", "gemma2", "qwen2")
SENTENCES = ["The cat sat on the mat and looked at the rain.", "Where did you go? said Tom, and he laughed."]


@pytest.fixture(scope="module", params=FAMILIES)
def both(request, models, model_folders):
    family = request.param
    return models[family], open_model(model_folders[family], device="cpu", through="transformer_lens")


def test_every_hook_name_agrees(both):
    plain, bridged = both
    assert isinstance(bridged, LanguageModel)
    assert bridged.hook_names() == plain.hook_names()
    tokens = plain.tokenise(SENTENCES)
    ours, theirs = (model.activations(tokens, model.hook_names()) for model in both)
    for name in ours:
        torch.testing.assert_close(ours[name][tokens.real], theirs[name][tokens.real], rtol=1e-4, atol=1e-4, msg=name)


def test_the_bridges_own_cache_agrees(both):
    plain, bridged = both
    tokens = plain.tokenise(SENTENCES[:1])
    _, cache = bridged.bridge.run_with_cache(tokens.ids)
    for name, ours in plain.activations(tokens, plain.hook_names()).items():
        torch.testing.assert_close(ours, cache[name], rtol=1e-4, atol=1e-4, msg=name)


def test_edits_agree(both):
    plain, bridged = both
    tokens = plain.tokenise(SENTENCES)
    for name in plain.hook_names()[len(plain.hook_names()) // 3 :][: len(plain.hook_names()) // 3]:
        hooks = {name: lambda x: x * 0.5 + 1}
        ours, theirs = plain.logits(tokens, hooks), bridged.logits(tokens, hooks)
        torch.testing.assert_close(ours[tokens.real], theirs[tokens.real], rtol=1e-3, atol=1e-3, msg=name)


def test_generation_agrees(both):
    plain, bridged = both
    prompts = ["The cat", "Nora was proud of her kite, so"]
    hooks = {"blocks.1.hook_resid_post": lambda x: x + 1}
    assert plain.generate(prompts, 6) == bridged.generate(prompts, 6)
    assert plain.generate(prompts, 6, hooks=hooks) == bridged.generate(prompts, 6, hooks=hooks)


def test_unknown_names_are_not_ignored(both):
    with pytest.raises(ValueError, match="each with hook_resid_pre"):
        both[1].logits(both[1].tokenise(["a"]), {"blocks.1.nothing": lambda x: x})
