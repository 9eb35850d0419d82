"""How long the command line takes to say what it can do: `saes --help`, as a whole process.

python benchmarks/help_time.py [--runs N] [--json] [--record]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from record import record


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    commands = {
        "help_s": [sys.executable, "-m", "commands", "--help"],
        "bare_python_s": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    result = {name: round(statistics.median(values), 4) for name, values in times.items()} | {"runs": arguments.runs}
    if arguments.record:
        record("help_time", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
