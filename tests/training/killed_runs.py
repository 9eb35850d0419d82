"""Trains tiny SAEs in child processes that are killed at random moments, and says what became of them.

    python killed_runs.py SPEC.json KILLS SPARSITY...

A process of its own, because it forks: everything is imported and the language model opened once, so that a child costs
no start. Fails where a run did not become what it is without kills; prints a JSON object of the kills by sparsity.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from training import run_state
from training.activations import source
from training.language_models.opening import open_model
from training.loop import train
from training.run_state import RUN_STATE
from training.spec import TrainSpec

PLANTED = ("fsync", "replace", "unlink", "write", "evaluate")
"""Calls within which a child may be killed: around each of them files are in between."""


def child(spec, delay=None, planted=None):
    """Run or go on with ``spec`` in a child; kill it after ``delay`` seconds or at the n-th call of ``planted``."""
    number = os.fork()
    if number == 0:
        try:
            if planted is not None:
                plant(*planted)
            train(spec, progress=False, resume=True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def plant(name, countdown, after):
    """Let this process be killed before or after a call."""
    from training import loop

    holder = {"write": run_state._Hashed, "evaluate": loop, "unlink": Path}.get(name, os)
    real = getattr(holder, name)

    def dying(*given, **options):
        nonlocal countdown
        countdown -= 1
        if countdown == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*given, **options)
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(holder, name, dying)


def whole(folder):
    """What a finished run leaves, as far as it does not depend on the time it took."""
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    quality = json.loads((folder / "quality.json").read_text())
    steps = [(entry["step"], entry.get("loss"), "quality" in entry) for entry in journal]
    return {
        "weights": hashlib.sha256((folder / "sae_weights.safetensors").read_bytes()).hexdigest(),
        "quality": {name: value for name, value in quality.items() if name != "seconds"},
        "journal": steps,
        "files": sorted(path.name for path in folder.iterdir()),
    }


def main():
    torch.set_num_threads(1)
    os.fsync = lambda _: None  # slow, and for power cuts only: a killed process loses nothing that it has written
    spec = TrainSpec.from_yaml(sys.argv[1])
    model = open_model(spec.model, "cpu")
    source.open_model = lambda *_: model
    out = Path(spec.out)
    print(json.dumps({
        sparsity: killed_again_and_again(spec.with_fields(sparsity=sparsity, out=str(out / sparsity)), int(sys.argv[2]))
        for sparsity in sys.argv[3:]
    }))  # fmt: skip


def killed_again_and_again(spec, wanted):
    """So many kills, over as many runs as it takes; every run has to become what it is without."""
    rng = random.Random(spec.sparsity)
    out = Path(spec.out)

    started = time.monotonic()
    uninterrupted = spec.with_fields(out=str(out / "whole"))
    assert child(uninterrupted) == 0
    seconds = time.monotonic() - started

    kills, states, runs = [], 0, 0
    while len(kills) < wanted:
        runs += 1
        killed = spec.with_fields(out=str(out / f"killed-{runs}"))
        code, tries = None, 0
        while code != 0:
            tries += 1
            if tries > 8 or len(kills) >= wanted:
                code = child(killed)
                assert code == 0, code
                break
            if tries % 2:
                code = child(killed, delay=rng.uniform(0.05, 1.0) * seconds)
            else:
                planted = rng.choice(PLANTED)
                most = {"evaluate": 1, "write": 150, "unlink": 12, "fsync": 12, "replace": 12}[planted]
                code = child(killed, planted=(planted, rng.randint(1, most), rng.random() < 0.5))
            assert code in (0, -signal.SIGKILL), code
            if code:
                left = killed.folder / RUN_STATE
                states += left.is_dir() and any(left.iterdir())
                kills.append("moment" if tries % 2 else planted)
        result, expected = whole(killed.folder), whole(uninterrupted.folder)
        assert result == expected, (result, expected)
    return {"kills": kills, "with_a_state": states, "runs": runs, "seconds": seconds}


if __name__ == "__main__":
    main()
