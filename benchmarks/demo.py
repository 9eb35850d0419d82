"""The demo as a newcomer runs it: its figures beside the bars it is meant to reach, its time and its memory.

    python benchmarks/demo.py [--out DIR] [--json] [--record]

Runs `saes demo --fresh` as a process of its own; the memory is that process's peak.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

from record import record

BARS = {
    "held_single": 16, "held_recipe": 20, "distinct_latents": 16, "implicit_auroc_median": 0.72, "validated": 10,
}  # fmt: skip
"""At least."""
MOST = {"control_rate": 0.05, "cheating_left": 0.5, "minutes": 10.0, "memory_gb": 4.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="checkpoints/demo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "commands", "demo", "--out", arguments.out, "--fresh", "--json", "--seed", str(arguments.seed)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    minutes = (time.perf_counter() - start) / 60
    summary = json.loads(ran.stdout.strip().splitlines()[-1])
    clamps, rates = summary["clamps"], summary["workshop"]["cheat_rate"]
    reached = {**summary["labels"], "validated": clamps["validated"]}
    within = {
        "control_rate": clamps["control_validated"] / max(1, clamps["control_tested"]),
        "cheating_left": rates["desperate_down"] / rates["none"] if rates.get("none") else None,
        "minutes": round(minutes, 2),
        "memory_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
    }
    missed = [name for name, least in BARS.items() if reached[name] is None or reached[name] < least]
    missed += [name for name, most in MOST.items() if within[name] is None or within[name] > most]
    result = {"summary": summary, **within, "missed": missed, "seed": arguments.seed}
    if arguments.record:
        record("demo", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
