"""`saes export` on a real SAE and model, both tiny."""

import gzip
import json

import numpy as np
import pytest

from saes.checkpoint import load_sae


def test_directions_and_logits_are_read_off_the_sae_and_the_model(run_json, study, sae, tmp_path):
    found = run_json("export", study, "--sae-dashboard", tmp_path / "sd", "--neuronpedia", tmp_path / "np")
    assert found["features"] == 1
    (feature,) = json.loads((tmp_path / "sd" / "batch-0.json").read_text())["features"]
    direction = load_sae(sae)[0].W_dec.detach().numpy()[3]
    assert np.allclose(feature["vector"], direction, atol=1e-4)
    assert feature["pos_values"] == sorted(feature["pos_values"], reverse=True)
    assert feature["neg_values"] == sorted(feature["neg_values"])
    assert sum(feature["logits_hist_data_bar_heights"]) == 320, "every token of the vocabulary"
    assert feature["neuron_alignment_indices"] == np.argsort(-direction)[:3].tolist()
    row = json.loads(gzip.decompress((next((tmp_path / "np").rglob("features/*.gz"))).read_bytes()))
    assert row["hasVector"]
    assert row["hookName"] == "blocks.1.hook_resid_post"
    skipped = json.loads((tmp_path / "sd" / "skipped_indexes.json").read_text())["skipped_indexes"]
    assert skipped == [one for one in range(64) if one != 3]


def test_what_is_left_out_is_said(run, study, sae, tmp_path):
    (sae / "cfg.json").unlink()
    code, out, _ = run("export", study, "--sae-dashboard", tmp_path / "sd")
    assert code == 0
    assert "left out:" in out
    assert "histograms of logits" in out


@pytest.mark.parametrize(
    ("words", "said"), [((), "say where to"), (("--neuronpedia", "np", "--model", "nowhere"), "nowhere")]
)
def test_mistakes(run, study, words, said):
    code, _, err = run("export", study, *words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_site_wants_no_model_and_keeps_what_is_not_ours(run, run_json, study, sae, tmp_path):
    (sae / "sae_weights.safetensors").unlink()
    found = run_json("export", study, "--html", tmp_path / "site", "--model", "nowhere")
    assert found["features"] == 1
    assert (tmp_path / "site" / "features" / "3.html").exists()
    code, out, _ = run("export", study, "--html", tmp_path / "site", "--features", "labelled")
    assert code == 0
    assert "index.html" in out
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    code, _, err = run("export", study, "--html", tmp_path / "mine")
    assert code == 2
    assert "no site that this tool wrote" in err
