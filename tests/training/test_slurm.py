"""The batch script really runs, under bash with stand-ins for Slurm's programs, and goes back into the queue when it should."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.slurm import SlurmJob, sbatch_script

PROGRAMS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "node1\\nnode2\\n"; else echo "$@" >> "$CALLS"; fi',
    "torchrun": 'echo "torchrun $@" >> "$CALLS"; exit "$CODE"',
}
# waits for a signal, "saves", and ends as torchrun does: with 1, whatever its processes said
PATIENT = """
trap 'echo saved >> "$CALLS"; exit 1' USR1 TERM
echo ready >> "$CALLS"
while true; do sleep 0.05; done
"""


@pytest.fixture
def script(tmp_path):
    binaries = tmp_path / "bin dir"
    binaries.mkdir()
    for name, body in PROGRAMS.items():
        (binaries / name).write_text(f"#!/bin/bash\n{body}\n")
        (binaries / name).chmod(0o755)
    path = tmp_path / "job.sbatch"
    job = SlurmJob.from_settings(["nodes=2", "gpus=4", "time=1:00:00", "partition=gpu"])
    path.write_text(sbatch_script(job, tmp_path / "a spec.json", tmp_path / "slurm", tmp_path, binaries))
    return path


def environment(tmp_path: Path, code: int = 0) -> dict[str, str]:
    return os.environ | {"CALLS": str(tmp_path / "calls"), "CODE": str(code), "SLURM_JOB_ID": "41",
                         "SLURM_JOB_NODELIST": "node[1-2]"}  # fmt: skip


def calls(tmp_path: Path) -> str:
    return (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""


@pytest.mark.parametrize(("code", "queued"), [(75, True), (0, False), (2, False), (1, False)])
def test_it_goes_back_into_the_queue_on_that_code_alone(script, tmp_path, code, queued):
    done = subprocess.run(["bash", str(script)], env=environment(tmp_path, code), check=False, capture_output=True)
    assert done.returncode == code, done.stderr
    assert ("requeue 41" in calls(tmp_path)) == queued
    started = calls(tmp_path).splitlines()[0]
    assert f"-m commands train {tmp_path}/a spec.json --resume" in started
    for part in ("--nnodes=2", "--nproc-per-node=4", "--rdzv-endpoint=node1:20041", "--rdzv-id=41-0", "SIGUSR1"):
        assert part in started


@pytest.mark.parametrize("kind", [signal.SIGUSR1, signal.SIGTERM])
def test_a_warning_is_passed_on_and_waited_for(script, tmp_path, kind):
    (script.parent / "bin dir" / "torchrun").write_text(f"#!/bin/bash\n{PATIENT}\n")
    job = subprocess.Popen(["bash", str(script)], env=environment(tmp_path), stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: "ready" in calls(tmp_path))
        job.send_signal(kind)
        assert job.wait(60) == 1
    finally:
        job.kill()
    assert calls(tmp_path).split() == ["ready", "saved", "requeue", "41"]


def wait_until(ready) -> None:
    for _ in range(1200):
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_what_is_asked_of_slurm(script):
    text = script.read_text()
    asked = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    for option in ("nodes=2", "ntasks-per-node=1", "gpus-per-node=4", "time=1:00:00", "partition=gpu", "requeue",
                   "signal=B:USR1@120", "open-mode=append"):  # fmt: skip
        assert option in asked
    assert text.startswith("#!/bin/bash\n#SBATCH")
    done = subprocess.run(["bash", "-n", str(script)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_pass_through_and_cpus_need_no_gpu(tmp_path):
    job = SlurmJob.from_settings(["gpus=0", "processes=3", "cpus_per_task=8", "exclusive=", "gres=x:1", "mem=0"])
    text = sbatch_script(
        job, tmp_path / "s", tmp_path / "run" / "slurm", tmp_path, Path(sys.executable).parent, ["true"]
    )
    for line in ("#SBATCH --cpus-per-task=8", "#SBATCH --exclusive", "#SBATCH --gres=x:1", "#SBATCH --job-name=run"):
        assert f"\n{line}\n" in text
    assert "gpus-per-node" not in text
    assert "--nproc-per-node=3" in text


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("partition", "key=value"),
        ("nodes=two", "whole number"),
        ("nodes=0", "at least 1"),
        ("warn=5", "at least 30"),
        ("time=soon", "12:00:00"),
        ("signal=USR2", "set by the script itself"),
        ("account=a b", "no option of sbatch"),
        ("comment=$(reboot)", "no option of sbatch"),
        ("Part!=gpu", "no option of sbatch"),
    ],
)
def test_what_slurm_would_not_take(setting, said):
    with pytest.raises(ValueError, match=said):
        SlurmJob.from_settings([setting])
