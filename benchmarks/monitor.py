"""What it costs to monitor a model while it writes: tokens a second with and without, in turn, medians and ratios.

    python benchmarks/monitor.py [--study STUDY] [--labels N] [--rows N] [--tokens N] [--rounds N] [--json] [--record]

The bundled model, or a study's; N labels (default all that held) are read at every token. Beside it the same read through a
jump_relu SAE of the same shape (as an exported batch_topk one is), whose latents are read by their own columns alone; a topk SAE has to encode in
full. The ratio is of processor time (OMP_NUM_THREADS=1), which other work on the machine does not touch.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

from record import record

from analysis.monitoring.live import monitored
from analysis.monitoring.reader import LevelReader
from analysis.study import Study
from commands.places import find_study
from saes.autoencoder import SAEConfig, SparseAutoencoder

PROMPT = "She opened the door and"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="storyteller-sae")
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    study = Study.open(find_study(arguments.study))
    own = LevelReader.of_study(study)
    labels = [label for label in study.labels() if label.concept in own.concepts][: arguments.labels]
    own = LevelReader(own.model, own.dictionary, own.hook_name, labels)
    width, size = own.dictionary.d_in, own.dictionary.d_sae
    sae = SparseAutoencoder(SAEConfig(width, size, "jump_relu", initial_threshold=1.0), seed=0).eval()
    jump_relu = LevelReader(own.model, sae, own.hook_name, labels)

    def write() -> None:
        own.model.generate([PROMPT] * arguments.rows, arguments.tokens, temperature=0.7, seed=0)

    def watched(reader: LevelReader) -> Callable[[], None]:
        def go() -> None:
            with monitored(reader):
                write()

        return go

    ways = {"generate": write, "monitored": watched(own), "monitored/jump_relu": watched(jump_relu)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if number:  # the first round warms up
                seconds[name].append(time.process_time() - started)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    count = arguments.rows * arguments.tokens
    figures = {
        "labels": len(labels),
        "tokens_per_second": {name: round(count / median) for name, median in medians.items()},
        "ratio": {name: round(median / medians["generate"], 3) for name, median in medians.items()},
    }
    if arguments.record:
        record("monitor", figures)
    print(json.dumps(figures) if arguments.json else json.dumps(figures, indent=2))
    print(f"{len(labels)} labels, {arguments.rows} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
