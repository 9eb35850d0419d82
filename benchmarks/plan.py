"""Does the plan come true? Steps and a whole run on this CPU beside what `saes plan` says of them.

python benchmarks/plan.py [--sizes 256x4096,512x8192,768x16384] [--tokens N] [--json] [--record]

Prints, per size and for the run, what was measured and what was planned, once with the built-in constants of the CPU and
once with those that --measure fits here (to other, smaller sizes); and the memory that a process really had more.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

from record import record

from training.costs import CPU, Device
from training.language_models.outline import Outline, config_of, outline_of
from training.measure import measured, step_seconds
from training.plan import plan
from training.recipes import recipe
from training.spec import TrainSpec

K, ROWS = 32, 1024
ROUNDS = 3

MEMORY = """
import sys, torch
from training.measure import step_seconds
from training.spec import TrainSpec
d_in, d_sae, k, rows = map(int, sys.argv[1:])
def kilobytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))
step_seconds(TrainSpec(d_sae=64, k=8), 32, 64, 8, 64, steps=2)  # what torch itself takes
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = kilobytes("VmRSS")
step_seconds(TrainSpec(d_sae=d_sae, k=k), d_in, d_sae, k, rows, steps=3)
print(kilobytes("VmHWM") - before)
"""


def step_planned(spec: TrainSpec, d_in: int, device: Device) -> tuple[float, float]:
    """Seconds and megabytes of a training step alone, as planned."""
    alone = Outline(parameters=0, read=0, layers=0, layers_read=0, d_model=d_in, widest=d_in, vocabulary=1, context=256)
    made = plan(spec, alone, device)
    return made.seconds["training step"], (made.memory_total - made.memory["shuffle buffer"]) / 1e6


def added_megabytes(d_in: int, d_sae: int) -> float:
    words = [sys.executable, "-c", MEMORY, *map(str, (d_in, d_sae, K, ROWS))]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout) * 1024 / 1e6


def of_steps(sizes: list[tuple[int, int]], here: Device) -> dict:
    specs = {size: TrainSpec(d_sae=size[1], k=K, batch_rows=ROWS, buffer_rows=2 * ROWS, tokens=ROWS) for size in sizes}
    times: dict[tuple[int, int], list[float]] = {size: [] for size in sizes}
    for _ in range(ROUNDS):  # interleaved: what else runs here hits all sizes alike
        for size, spec in specs.items():
            times[size].append(step_seconds(spec, size[0], size[1], K, ROWS, steps=3))
    found = {}
    for (d_in, d_sae), spec in specs.items():
        took = statistics.median(times[d_in, d_sae])
        built_in, megabytes = step_planned(spec, d_in, CPU)
        fitted, _ = step_planned(spec, d_in, here)
        found[f"{d_in}x{d_sae}"] = {
            "measured_tok_s": round(ROWS / took),
            "planned_tok_s": round(ROWS / built_in),
            "planned_fitted_tok_s": round(ROWS / fitted),
            "fitted_over_measured": round(took / fitted, 2),
            "measured_mb": round(added_megabytes(d_in, d_sae)),
            "planned_mb": round(megabytes),
        }
    return found


def of_a_run(tokens: int, here: Device) -> dict:
    """`saes train storyteller`, shortened."""
    from training.loop import train

    spec = recipe("storyteller").with_fields(tokens=tokens)
    outline = outline_of(config_of(spec.model), spec.model, spec.hook_names)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        train(spec.with_fields(out=f"{folder}/run"), progress=False)
        took = time.perf_counter() - began
    planned, fitted = (3600 * plan(spec, outline, device).hours for device in (CPU, here))
    return {"measured_s": round(took, 1), "planned_s": round(planned, 1), "planned_fitted_s": round(fitted, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256x4096,512x8192,768x16384")
    parser.add_argument("--tokens", type=int, default=400_000, help="of the whole run")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    sizes = [(int(d_in), int(d_sae)) for d_in, d_sae in (size.split("x") for size in arguments.sizes.split(","))]
    spec = recipe("storyteller")
    here = measured(spec, config_of(spec.model))
    constants = {
        "step": vars(here.sparse),
        "model_flop": here.model_flop[spec.dtype],
        "text": here.told,
        "token": here.token,
    }
    result = {"steps": of_steps(sizes, here), "run": of_a_run(arguments.tokens, here), "fitted": constants}
    if arguments.record:
        record("plan", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
