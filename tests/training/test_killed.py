"""A run that is killed with SIGKILL, at any moment and in the middle of a save, becomes the very same SAE."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk", "jump_relu"])
def test_killed_anywhere_it_becomes_the_same(spec, tmp_path, sparsity):
    kills = 10
    spec = spec.with_fields(
        tokens=64 * 20, d_sae=32, save_seconds=0, held_out_tokens=64, journal_every=1, dead_after_rows=256
    )
    (tmp_path / "spec.json").write_text(spec.to_json())
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_runs.py")), str(tmp_path / "spec.json"), sparsity, str(kills)],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["kills"]) >= kills
    assert len(set(found["kills"])) > 1
    assert found["with_a_state"] >= kills // 3  # and went on from one
