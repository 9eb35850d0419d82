"""Folders and names become models, or one clear line."""

import json
import sys

import pytest
import torch

from training.language_models.opening import open_model


def test_opens_a_folder_in_the_dtype_asked_for(model_folders):
    model = open_model(model_folders["llama"], device="cpu", dtype="bfloat16")
    assert (model.name, model.dtype) == (str(model_folders["llama"]), torch.bfloat16)
    assert not model.model.training


def test_finds_models_under_checkpoints(model_folders, tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine").symlink_to(model_folders["gpt2"])
    monkeypatch.chdir(tmp_path)
    assert open_model("mine", device="cpu").name == "mine"


def test_what_is_missing_is_named(tmp_path, model_folders):
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        open_model(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        open_model(tmp_path)
    with pytest.raises(ValueError, match="unknown dtype"):
        open_model(model_folders["llama"], dtype="int3")
    with pytest.raises(ValueError, match="unknown device"):
        open_model(model_folders["llama"], device="toaster")
    with pytest.raises(ValueError, match="opens through"):
        open_model(model_folders["llama"], through="magic")


def test_a_truncated_weights_file(tmp_path, model_folders):
    for file in model_folders["llama"].iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[:5000] if file.suffix == ".safetensors" else content)
    with pytest.raises(ValueError, match="truncated or corrupted"):
        open_model(tmp_path, device="cpu")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be opened as a Hugging Face language model"):
        open_model(tmp_path, device="cpu")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(ValueError, match="cannot be opened"):
        open_model(tmp_path, device="cpu")


def test_a_missing_package_is_named(model_folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformer_lens", None)
    monkeypatch.setitem(sys.modules, "transformer_lens.model_bridge", None)
    with pytest.raises(ImportError, match="pip install 'transformer-lens"):
        open_model(model_folders["llama"], device="cpu", through="transformer_lens")
