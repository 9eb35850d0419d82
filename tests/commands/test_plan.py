"""`saes plan`: a table, an object, and one line where it cannot work."""

import json

import pytest


@pytest.fixture
def words(tiny_model):
    return ("plan", "tiny", "--model", tiny_model)


def test_a_table_and_an_object(run, words, tiny_model, tmp_path):
    (tmp_path / "config-only").mkdir()
    (tmp_path / "config-only" / "config.json").write_text((tiny_model / "config.json").read_text())
    code, out, err = run(
        "plan", "tiny", "--model", "./config-only", "--gpus", 2, "--device-kind", "cpu", "--d-sae", 512
    )
    assert code == 0, err
    for part in ("memory of a device", "gradients (data axis)", "disk", "tokens/s", "2 data x 1 latent"):
        assert part in out
    code, out, _ = run(*words, "--device-kind", "h100", "--json")
    found = json.loads(out)
    assert (code, found["kernel"], found["fits"]) == (0, "sparse", True)
    assert "never measured" in found["constants"]
    assert found["memory"]["total"] <= found["memory"]["room"]


def test_mistakes_are_one_line(run, words):
    for more, said in (
        (("--d-sae", "1e9", "--device-kind", "h100"), "too little: "),
        (("--hook-name", "blocks.9.hook_nose"), "hook_resid_post"),
        (("--gpus", 0), "at least 1"),
        (("--gpus", 3, "--device-kind", "cpu"), "batch_rows (512)"),
        (("--device-kind", "h100", "--measure"), "--measure fits"),
        (("--model", "somebody/unknown"), "planning downloads nothing"),
        (("--k", 0), "k must lie"),
    ):
        code, out, err = run(*words, *more)
        assert (code, out) == (2, ""), (more, err)
        assert said in err
        assert len(err.strip().splitlines()) == 1
