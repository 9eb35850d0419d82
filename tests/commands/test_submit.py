"""`saes submit`: prints, writes, submits, and says where the job is when there is no Slurm."""

import json

import pytest

WORDS = ("submit", "tiny", "--slurm", "partition=gpu", "nodes=2", "gpus=8", "time=12:00:00", "--out", "made run")


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def sbatch(folder, body: str) -> None:
    (folder / "sbatch").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "sbatch").chmod(0o755)


def test_a_dry_run_leaves_nothing(run, tmp_path):
    code, out, err = run(*WORDS, "--dry-run", "--before", "module load cuda")
    assert code == 0, err
    assert out.startswith("#!/bin/bash\n")
    assert "\nmodule load cuda\n" in out
    assert f"'{tmp_path}/made run/slurm/spec.json'" in out
    assert not (tmp_path / "made run").exists()


def test_without_slurm_it_says_where_the_job_is(run, no_slurm, tmp_path):
    code, out, err = run(*WORDS)
    assert (code, out) == (2, "")
    assert "there is no sbatch" in err
    assert str(tmp_path / "made run" / "slurm" / "job.sbatch") in err
    spec = json.loads((tmp_path / "made run" / "slurm" / "spec.json").read_text())
    assert (spec["d_sae"], spec["out"]) == (256, str(tmp_path / "made run"))


def test_with_slurm_it_is_submitted(run_json, no_slurm, tmp_path):
    sbatch(no_slurm, 'echo "41;cluster"; for last; do :; done; echo "$last" > "$0.given"')
    found = run_json(*WORDS)
    assert found["job"] == "41"
    assert (no_slurm / "sbatch.given").read_text().strip() == found["path"]


def test_what_sbatch_refuses_is_said(run, no_slurm):
    sbatch(no_slurm, "echo 'invalid partition' >&2; exit 1")
    code, _, err = run(*WORDS)
    assert code == 2
    assert "invalid partition" in err


def test_mistakes_are_one_line_and_leave_nothing(run, tmp_path):
    for words, said in (
        (("--slurm", "nodes=x"), "whole number"),
        (("--k", "0"), "k must lie"),
        (("gone.yaml",), "gone"),
    ):
        code, _, err = run("submit", *words)
        assert code == 2
        assert said in err
    assert list(tmp_path.iterdir()) == []
