"""Checkpoints, studies and features in the terminal; mistakes in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


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
    assert "latent 3: afraid" in out
    assert "[ran]" in out
    assert run_json("show", f"{study}:{feature}")["latents"][0]["latent"] == 3


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
    assert "latent 3" in out
