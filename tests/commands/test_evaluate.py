"""`saes evaluate`: what it prints, what it leaves, and where."""

import json

import pytest


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n<|endoftext|>\n".join(f"Rain fell {number} times, and Tom laughed." * 3 for number in range(60)))
    return path


def test_one_checkpoint(run, sae, corpus):
    (sae / "quality.json").write_text(json.dumps({"tokens_trained": 7, "seconds": 1.5, "l0": -1}))
    code, out, err = run("evaluate", sae, "--corpus", corpus, "--tokens", 200)
    assert code == 0, err
    assert "expl. var." in out
    assert "not known: sae" in out  # no spec says what it was trained on
    quality = json.loads((sae / "quality.json").read_text())
    assert quality["l0"] == 4.0
    assert quality["tokens_trained"] == 7
    assert {"ce_loss_score", "kl_div_score", "density_histogram", "absorption", "max_decoder_cosine"} <= set(quality)
    assert not (sae.parent / "frontier.png").exists()


def test_several_in_one_folder_and_their_frontier(run_json, sae, corpus, tmp_path):
    import shutil

    for name in ("a", "b"):
        shutil.copytree(sae, tmp_path / "sweep" / name)
    found = run_json("evaluate", tmp_path / "sweep", "--corpus", corpus, "--tokens", 200, "--out", tmp_path / "judged")
    assert set(found["checkpoints"]) == {str(tmp_path / "sweep" / name) for name in ("a", "b")}
    assert (tmp_path / "judged" / "b" / "quality.json").exists()
    assert not (tmp_path / "sweep" / "b" / "quality.json").exists()
    assert (tmp_path / "judged" / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert found["figure"] == str(tmp_path / "judged" / "frontier.png")
    both = run_json("evaluate", tmp_path / "sweep" / "a", tmp_path / "sweep" / "b", "--corpus", corpus, "--tokens", 200)
    assert both["figure"] == str(tmp_path / "sweep" / "frontier.png")


def test_mistakes_are_one_line(run, sae, corpus, tmp_path, tiny_model):
    (tmp_path / "empty").mkdir()
    for words, said in (
        (("gone",), "there is no checkpoint gone"),
        ((tmp_path / "empty",), "not a checkpoint"),
        ((sae,), "--corpus"),
        ((sae, "--corpus", corpus, "--tokens", 0), "--tokens must be at least 1"),
        ((sae, "--corpus", "./gone"), "there is no corpus ./gone"),
        ((sae, "--corpus", corpus, "--model", "./gone"), "there is no model folder ./gone"),
        ((tiny_model, "--corpus", corpus), "not a checkpoint"),
    ):
        code, out, err = run("evaluate", *words)
        assert (code, out) == (2, ""), err
        assert said in err
        assert "Traceback" not in err
