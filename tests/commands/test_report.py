"""`saes report`: a page, Markdown, or both; mistakes in one line."""

import json

import pytest


def test_both_forms_at_once(run, run_json, study, tmp_path):
    code, out, _ = run("report", study, "--out", tmp_path / "a" / "r.html", "--out", tmp_path / "r.md")
    assert code == 0
    assert out.count("written: ") == 2
    page, text = (tmp_path / "a" / "r.html").read_text(), (tmp_path / "r.md").read_text()
    for said in ("afraid", "What was chosen where", "How this was made"):
        assert said in page
        assert said in text
    assert run_json("report", study, "--out", tmp_path / "r.md")["reports"] == [str(tmp_path / "r.md")]


def test_the_quality_of_the_studys_own_sae_alone(run, study, sae, tmp_path):
    (sae / "quality.json").write_text(
        json.dumps({"explained_variance": 0.777, "l0": 8.0, "dead": 0.0, "ce_recovered": 0.5})
    )
    run("report", study, "--out", tmp_path / "r.html")
    assert "0.777" in (tmp_path / "r.html").read_text()
    info = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**info, "sae_hash": "ab" * 32}))
    run("report", study, "--out", tmp_path / "r.html")
    assert "0.777" not in (tmp_path / "r.html").read_text(), "the SAE was trained anew"


@pytest.mark.parametrize(("words", "said"), [(("--out", "r.pdf"), "(.md)"), ((), "--out")])
def test_mistakes(run, study, words, said):
    code, _, err = run("report", study, *words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
