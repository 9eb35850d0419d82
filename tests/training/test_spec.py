"""Specs from what people write."""

import json

import pytest

from training.recipes import RECIPES, recipe
from training.spec import TrainSpec


def test_yaml_json_and_settings_meet(tmp_path):
    (tmp_path / "a.yaml").write_text("d_sae: 512\ntokens: 2e6\nlr: 1e-3\nwandb: off\ncontext: null\n")
    spec = TrainSpec.from_yaml(tmp_path / "a.yaml")
    assert (spec.d_sae, spec.tokens, spec.lr, spec.wandb, spec.context) == (512, 2_000_000, 1e-3, "off", None)
    assert spec == TrainSpec().with_settings(["d-sae=512", "lr=0.001", "tokens=2000000"])
    (tmp_path / "spec.json").write_text(spec.to_json())
    assert TrainSpec.from_yaml(tmp_path / "spec.json") == spec
    assert json.loads(spec.to_json())["d_sae"] == 512
    nested = spec.with_settings(["prefixes=[64, 128]"])
    (tmp_path / "spec.json").write_text(nested.to_json())
    assert TrainSpec.from_yaml(tmp_path / "spec.json") == nested
    assert nested.prefixes == (64, 128) == spec.with_fields(prefixes=(64, 128)).sae_config(len).prefixes[:2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_soe": 5}, "no field 'd_soe'; did you mean d_sae"),
        ({"zzz": 5}, "no field 'zzz'; it has .*d_sae"),
        ({"sparsity": "relu", "penalty": "l2"}, "has l1, tanh, p_anneal, not penalty 'l2'; did you mean l1"),
        ({"penalty": "tanh"}, "topk needs no penalty"),
        ({"tanh_scale": 2.0, "sparsity": "relu"}, "tanh_scale goes with penalty tanh, and has no effect"),
        ({"target_l0": 20, "sparsity": "jump_relu"}, "target_l0 goes with sparsity jump_relu and penalty target_l0"),
        ({"p_end": 0.5, "sparsity": "relu"}, "p_end goes with penalty p_anneal"),
        ({"kl_finetune_tokens": -1}, "kl_finetune_tokens must be at least 0"),
        ({"skip": True}, "skip goes with target_hook_name"),
        ({"skip": 1}, "skip must be bool"),
        ({"target_hook_name": "blocks.2.hook_resid_post"}, "to write what is read is an SAE"),
        ({"crosscoder_sites": ["a"]}, "two or more different sites"),
        ({"crosscoder_sites": ["a", "b"], "hook_name": "c"}, "hook_name goes with SAEs of one site"),
        ({"crosscoder_sites": ["a", "b"], "target_hook_name": "c"}, "no d_out"),
        ({"crosscoder_sites": ["a", "b"], "sites": ["c"]}, "sites goes with SAEs of one place each"),
        ({"grid": {"penalty": ["l1", "tanhh"]}, "sparsity": "relu"}, "not penalty 'tanhh'; did you mean tanh"),
        ({"prefixes": [64, 32]}, "prefixes must ascend"),
        ({"prefixes": ["x"]}, "prefixes must be a list of whole numbers, got \\['x'\\]"),
        ({"prefixes": [64], "sparsity": "relu"}, "prefixes go with"),
        ({"d_sae": "many"}, "d_sae must be int, got 'many'"),
        ({"d_sae": 1.5}, "d_sae must be int"),
        ({"revision": 1e3}, "revision must be a text, got the number 1000.0: put it in quotes"),
        ({"sparsity": "tapk"}, "unknown sparsity 'tapk'; .*; did you mean topk"),
        ({"k": 5000}, "k must lie between 1 and d_sae 4096, got 5000"),
        ({"k": 0}, "k must lie between 1"),
        ({"tokens": 100}, "at least one batch"),
        ({"buffer_rows": 2048}, "at least twice"),
        ({"lr": 0}, "lr must be above 0"),
        ({"context": "x"}, "context must be int or nothing"),
        ({"warmup": 2}, "shares of the steps"),
        ({"grid": {"context": [32, 64]}}, "grid cannot vary 'context'; it can vary .*d_sae"),
        ({"grid": {"k": []}}, "grid needs values for k"),
        ({"grid": {"k": [4, 4]}}, "each once"),
        ({"grid": {"k": 4}}, "lists of values"),
        ({"grid": {"k": ["many"]}}, "k must be int"),
        ({"grid": {"d_sae": [8, 64], "k": [16]}}, "k must lie between 1 and d_sae 8"),
        ({"sites": ["a", "a"]}, "names a place twice"),
        ({"sites": 3}, "list of names"),
        ({"buffer_dtype": "int8"}, "float32, bfloat16"),
        ({"keep_states": 0}, "keep_states must be at least 1"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainSpec.from_settings(settings)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no spec"):
        TrainSpec.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("just words")
    with pytest.raises(ValueError, match="does not hold fields"):
        TrainSpec.from_yaml(tmp_path / "a.yaml")
    with pytest.raises(ValueError, match="field=value"):
        TrainSpec().with_settings(["d_sae"])
    with pytest.raises(ValueError, match=r"^prefixes=\[64 is not YAML: .*$"):
        TrainSpec().with_settings(["prefixes=[64"])
    (tmp_path / "spec.json").write_text('{"d_sae": ')
    with pytest.raises(ValueError, match=r"spec\.json is not JSON"):
        TrainSpec.from_yaml(tmp_path / "spec.json")


def test_recipes_are_specs():
    assert all(isinstance(recipe(name), TrainSpec) for name in RECIPES)
    with pytest.raises(ValueError, match="there are storyteller, tiny"):
        recipe("huge")


def test_the_folder_says_what_is_in_it():
    spec = TrainSpec(model="/models/my-llm/", d_sae=512, k=16, seed=3)
    assert str(spec.folder) == "checkpoints/my-llm-blocks.2.hook_resid_post-topk-512-k16-seed3"
    assert str(TrainSpec(out="here").folder) == "here"


def test_a_sweep_is_every_combination_each_with_a_folder():
    spec = TrainSpec.from_settings(
        {"sites": "blocks.0.hook_resid_post", "grid": {"d_sae": ["64", 128], "lr": [1, 2e-3]}}
    )
    members = spec.members()
    assert [(one.d_sae, one.lr) for one in members] == [(64, 1.0), (64, 2e-3), (128, 1.0), (128, 2e-3)]
    assert len({one.folder for one in members}) == 4
    assert members[0].folder.parent == spec.folder
    assert not any(one.is_sweep for one in members)
    assert TrainSpec.from_settings(json.loads(spec.to_json())) == spec
