"""Another library's dictionary is shown, labelled, clamped and judged as one of ours is."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

WIDTH, N = 32, 48
TEXT = "\n<|endoftext|>\n".join("Rain fell all night on the old red barn." for _ in range(40))
PLACE = ("--hook-name", "blocks.1.hook_resid_post")


@pytest.fixture
def peer(tmp_path, tiny_model):
    """A dictionary_learning folder of the tiny model, written in plain torch."""
    folder = tmp_path / "trainer_0"
    folder.mkdir()
    rows = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(3))
    weights = {"encoder.weight": rows, "encoder.bias": torch.zeros(N), "decoder.weight": rows.T / rows.norm(dim=1)}
    weights |= {"b_dec": torch.zeros(WIDTH), "k": torch.tensor(4), "threshold": torch.tensor(0.5)}
    torch.save(weights, folder / "ae.pt")
    told = {"dict_class": "AutoEncoderTopK", "k": 4, "lm_name": str(tiny_model), "layer": 1, "submodule_name": None}
    (folder / "config.json").write_text(json.dumps({"trainer": told}))
    return folder


@pytest.fixture
def directions(tmp_path):
    rows = np.random.default_rng(2).normal(size=(2, WIDTH))
    np.savez(tmp_path / "mine.npz", calm=rows[0], afraid=rows[1], mean=np.ones(WIDTH))
    return tmp_path / "mine.npz"


def test_show(run_json, peer, directions):
    shown = run_json("show", peer)
    assert (shown["format"], shown["d_sae"], shown["d_in"]) == ("dictionary_learning", N, WIDTH)
    shown = run_json("show", directions)
    assert shown["metadata"]["names"] == ["calm", "afraid"]


def test_the_place_has_to_be_said(run, peer):
    for words in (("label", peer), ("clamp", peer, "--prompt", "Rain", "--clamp", "3=1")):
        code, out, err = run(*words)
        assert code == 2, err
        assert "does not say at which place" in err
        assert "--hook-name blocks.6.hook_resid_post" in err
        assert out == ""
    code, _, err = run("clamp", peer, "--hook-name", "blocks.9.hook_resid_post", "--prompt", "Rain", "--clamp", "3=1")
    assert code == 2
    assert "blocks.9.hook_resid_post" in err


def test_clamp(run_json, peer):
    found = run_json(
        "clamp", peer, *PLACE, "--prompt", "Rain", "--tokens", "6", "--clamp", "3=60", "--temperature", "0"
    )
    assert found["texts"][0]["baseline"] != found["texts"][0]["clamped"]


def test_directions_are_clamped_by_their_names(run, run_json, tiny_model, directions):
    words = ("clamp", directions, *PLACE, "--model", tiny_model, "--prompt", "Rain", "--tokens", "6")
    found = run_json(*words, "--clamp", "afraid=60", "--temperature", "0")
    assert found["clamps"] == [
        {"name": "afraid", "mode": "set", "asked": 60.0, "unit": "activation", "latents": [1], "values": [60.0]}
    ]
    assert found["texts"][0]["baseline"] != found["texts"][0]["clamped"]
    code, _, err = run(*words, "--clamp", "joyful=1")
    assert code == 2
    assert "there is no direction 'joyful'; there are: calm, afraid" in err


def test_evaluate(run_json, run, tmp_path, tiny_model, peer, directions):
    (tmp_path / "text.txt").write_text(TEXT)
    rest = (*PLACE, "--corpus", tmp_path / "text.txt", "--tokens", "200", "--out", tmp_path / "judged")
    found = run_json("evaluate", peer, *rest)["checkpoints"][str(peer)]
    assert 0 < found["l0"] <= 4
    found = run_json("evaluate", directions, "--model", tiny_model, *rest)["checkpoints"][str(directions)]
    assert 0 <= found["l0"] <= 2
    code, _, err = run("evaluate", peer, "--corpus", tmp_path / "text.txt")
    assert code == 2
    assert "--hook-name" in err


def test_a_transcoder_is_clamped_where_it_writes(run, run_json, tmp_path, tiny_model):
    folder = tmp_path / "run" / "layers.1.mlp"
    folder.mkdir(parents=True)
    weights = {"encoder.weight": torch.randn(N, WIDTH), "encoder.bias": torch.zeros(N), "b_dec": torch.zeros(WIDTH)}
    safetensors.torch.save_file(weights | {"W_dec": torch.randn(N, WIDTH)}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"k": 4, "transcode": True, "d_in": WIDTH}))
    words = ("--model", tiny_model, "--prompt", "Rain", "--tokens", "6", "--clamp", "3=60", "--temperature", "0")
    found = run_json("clamp", folder, *words)
    assert found["site"].endswith("blocks.1.mlp.hook_in")
    assert run_json("show", folder)["metadata"]["hook_name_out"] == "blocks.1.mlp.hook_out"
    (tmp_path / "text.txt").write_text(TEXT)
    judging = (
        "--model",
        tiny_model,
        "--corpus",
        tmp_path / "text.txt",
        "--tokens",
        "200",
        "--out",
        tmp_path / "judged",
    )
    assert 0 < run_json("evaluate", folder, *judging)["checkpoints"][str(folder)]["l0"] <= 4
    assert found["texts"][0]["baseline"] != found["texts"][0]["clamped"]
    folder.rename(tmp_path / "mystery")
    code, _, err = run("clamp", tmp_path / "mystery", "--hook-name", "blocks.1.mlp.hook_in", *words)
    assert code == 2
    assert "does not say which place it writes" in err
