"""A model's size from its config alone is the size that it has when it is opened."""

import shutil

import pytest

from training.language_models.outline import outline

FAMILIES = ("llama", "gpt2", "gpt_neox", "gemma2", "qwen2")


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_opened_model_s(family, models, model_folders, tmp_path):
    shutil.copy(model_folders[family] / "config.json", tmp_path / "config.json")  # no weights, no tokenizer
    found, model = outline(str(tmp_path), ["blocks.1.hook_resid_post"]), models[family]
    assert found.parameters == sum(weight.numel() for weight in model.model.parameters())
    assert (found.d_model, found.context, found.vocabulary) == (32, 64, 320)
    assert found.layers_read == 2
    assert 0 < found.read < found.parameters
    assert found.widest >= 32
    assert found.flops_a_token(64) > 2 * found.read


def test_it_stops_where_the_harvest_does(model_folders):
    sizes = [
        outline(str(model_folders["llama"]), [f"blocks.{layer}.{stream}", "blocks.0.hook_in"]).layers_read
        for layer, stream in ((0, "hook_resid_pre"), (0, "hook_mlp_out"), (2, "hook_resid_post"))
    ]
    assert sizes == [0, 1, 3]


def test_what_it_cannot_know(model_folders):
    with pytest.raises(ValueError, match="each with"):
        outline(str(model_folders["llama"]), ["blocks.9.hook_resid_post"])
    with pytest.raises(ValueError, match="planning downloads nothing"):
        outline("somebody/unknown-model", ["blocks.0.hook_resid_post"])
