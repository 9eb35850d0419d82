"""`saes harvest`: activations to disk, and training from them through the command line."""

import json

import pytest

SMALL = (
    "--tokens", "1024", "--buffer-rows", "512", "--window-batch", "4", "--hook-name", "blocks.1.hook_resid_post",
)  # fmt: skip
TRAIN = ("--batch-rows", "128", "--d-sae", "32", "--k", "4", "--held-out-tokens", "256", "--scale-batches", "1")


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(
        "\n<|endoftext|>\n".join(f"Rain fell {number} times, and Tom laughed." * 5 for number in range(100))
    )
    return path


def test_harvests_and_trains_a_sweep_from_it(run, run_json, tiny_model, corpus, tmp_path):
    words = (*SMALL, "--model", tiny_model, "--corpus", corpus)
    batch = ("--set", "batch_rows=128")
    found = run_json("harvest", *words, *batch, "--out", tmp_path / "rows", "--shard-rows", "600")
    assert found["rows"] >= 1024 + 512
    assert found["sites"] == ["blocks.1.hook_resid_post"]
    assert len(list((tmp_path / "rows").glob("*.safetensors"))) > 1
    again = run_json("harvest", *words, *batch, "--out", tmp_path / "rows", "--shard-rows", "600")
    assert again == found  # nothing left to do
    from_disk = ("train", *words, *TRAIN, "--activations", tmp_path / "rows")
    sweep = run_json(*from_disk, "--grid", "{k: [2, 4]}", "--out", tmp_path / "sweep")
    assert [member["k"] for member in sweep["members"]] == [2, 4]
    for member in sweep["members"]:
        folder = tmp_path / "sweep" / member["folder"]
        assert json.loads((folder / "quality.json").read_text()) == member["quality"]
    code, _, err = run(*from_disk, "--hook-name", "blocks.0.hook_resid_post", "--out", tmp_path / "x")
    assert code == 2
    assert "only at blocks.1.hook_resid_post" in err
    assert run(*from_disk, "--grid", "{k: [2, 4]}", "--out", tmp_path / "sweep")[0] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "x", "--rows", "0"), "at least 1"),
        (("--out", "x", "--hook-name", "blocks.9.hook_nose"), "hook_resid_post"),
        (("--out", "x", "--stored-as", "int8"), "bfloat16"),
        ((), "--out"),
    ],
)
def test_mistakes(run, tiny_model, corpus, tmp_path, words, said):
    words = [str(tmp_path / "x") if word == "x" else word for word in words]
    code, out, err = run("harvest", "--model", tiny_model, "--corpus", corpus, *words)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "x").exists()
