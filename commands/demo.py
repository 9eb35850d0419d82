"""The whole journey on the bundled model: train, label, validate, workshop, report.

Leaves DIR/summary.json, DIR/report.html, DIR/picture.png, the SAE (DIR/sae) and its study (DIR/study). Stopped at any
time, the same command goes on: finished stages are not done twice.
"""

import argparse

from commands.answer import Answer

EXAMPLE = "saes demo --out checkpoints/demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to do")
    group.add_argument("--out", default="checkpoints/demo", metavar="DIR", help="(default checkpoints/demo)")
    group.add_argument("--model", default="storyteller", metavar="NAME_OR_DIR", help="(default storyteller, bundled)")
    group.add_argument("--concepts", default="core", metavar="core|emotions|PATH", help="the concept set")
    group.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the SAE's spec")
    group.add_argument("--fresh", action="store_true", help="begin again, whatever is there already")


def run(arguments: argparse.Namespace) -> Answer:
    from analysis.demo import demo, ending

    summary = demo(
        arguments.out,
        model=arguments.model,
        concepts=arguments.concepts,
        settings=arguments.set,
        seed=arguments.seed or 0,
        device=arguments.device,
        fresh=arguments.fresh,
    )
    return Answer(ending(summary, arguments.out), summary)
