"""Checkpoints, studies and features in the terminal; mistakes in one line."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.study import Study


def test_a_checkpoint(run, run_json, sae):
    code, out, _ = run("show", sae)
    assert code == 0
    assert "d_sae 64" in out
    assert "blocks.1.hook_resid_post" in out
    found = run_json("show", sae)
    assert found["kind"] == "checkpoint"
    assert found["config"]["d_in"] == 32


def test_a_study(run, run_json, study):
    _, out, _ = run("show", study)
    assert "afraid" in out
    assert "1 of 2 concepts held" in out
    assert run_json("show", study)["concepts"]["calm"]["status"] == "rejected"


@pytest.mark.parametrize("feature", ["3", "afraid"])
def test_a_feature_by_number_or_by_name(run, run_json, study, feature):
    _, out, _ = run("show", f"{study}:{feature}")
    assert "Latent 3" in out
    assert "afraid" in out.splitlines()[0]
    assert "[ran]" in out
    assert run_json("show", f"{study}:{feature}")["latents"][0]["latent"] == 3


def test_a_rejected_label_is_shown_as_fully(run, run_json, study):
    opened = Study.open(study)
    opened.write("labels", [replace(one, q=0.2) if one.concept == "calm" else one for one in opened.read("labels")])
    opened.write("cards", [replace(card, latent=5, concepts=["calm"]) for card in opened.read("cards")])
    _, out, _ = run("show", f"{study}:calm")
    assert out.startswith("calm: rejected")
    for part in (
        "q = 0.200 is above 0.05",
        "null of the search",
        "runner-up",
        "n = 12 against 100",
        "Latent 5",
        "Provenance",
    ):
        assert part in out
    found = run_json("show", f"{study}:calm")
    assert found["label"]["null_finding"] == 0.6
    assert found["why"] == "q = 0.200 is above 0.05"
    assert found["info"]["concept_set"] == "emotions"


def test_a_study_says_what_was_rejected_and_why(run, run_json, study):
    opened = Study.open(study)
    opened.write(
        "labels", [replace(one, auroc_checking=0.6) if one.concept == "calm" else one for one in opened.read("labels")]
    )
    _, out, _ = run("show", study)
    assert ["detects", "too", "little", "1", "calm"] in [line.split() for line in out.splitlines()]
    found = run_json("show", study)
    assert found["tables"]["rejected"] == [{"reason": "detects too little", "labels": 1, "concepts": "calm"}]
    assert found["why"]["calm"].startswith("AUROC on checking texts 0.60 is below 0.80")


@pytest.mark.parametrize("feature", ["", ":afraid", ":3"])
def test_nothing_is_wider_than_a_terminal(run, study, feature):
    _, out, _ = run("show", f"{study}{feature}")
    shown = [line for line in out.splitlines() if str(study) not in line]
    assert max(map(len, shown)) <= 100


def test_a_study_is_shown_without_torch(study):
    code = (
        f"import sys\nfrom commands.__main__ import main\nmain(['show', {str(study)!r}])\nprint('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "there is no checkpoint or study nowhere"),
        ("{study}:joyful", "it has: afraid, calm"),
        ("{study}:60", "no card for latent 60"),
        ("{model}", "is a language model"),
    ],
)
def test_mistakes(run, study, tiny_model, path, said):
    code, _, err = run("show", path.format(study=study, model=tiny_model))
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_study_of_another_schema(run, study):
    info = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**info, "schema": 99}))
    code, _, err = run("show", study)
    assert code == 2
    assert "schema 99" in err


def test_a_damaged_table(run, study):
    (study / "labels.parquet").write_bytes(b"PAR1 and no more")
    code, _, err = run("show", study)
    assert code == 2
    assert "damaged" in err


def test_a_study_inside_its_checkpoint_is_found(run, sae, study):
    shutil.move(study, sae / "study")
    _, out, _ = run("show", sae)
    assert "its study is" in out
    _, out, _ = run("show", f"{sae}:afraid")
    assert "Latent 3" in out
