"""A run that is killed with SIGKILL, at any moment and in the middle of a save, becomes the very same SAE."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 8
"""Of each sparsity: 24 together."""


def test_killed_anywhere_it_becomes_the_same(spec, tmp_path):
    spec = spec.with_fields(
        tokens=64 * 12, d_sae=32, save_seconds=0, held_out_tokens=64, journal_every=1, dead_after_rows=256
    )
    (tmp_path / "spec.json").write_text(spec.to_json())
    script = Path(__file__).with_name("killed_runs.py")
    words = [sys.executable, script, tmp_path / "spec.json", str(KILLS), "topk", "batch_topk", "jump_relu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 3
    for one in found.values():
        assert len(one["kills"]) >= KILLS
        assert len(set(one["kills"])) > 1  # at a moment, and within a call
        assert one["with_a_state"] >= 2  # and went on from one
