"""How the labelled directions lie: their main axes against human valence and arousal, and whether families stay together.

Directions are brought to one length first; every figure stands beside its null of as many other directions. Writes the
tables geometry and geometry_tests and geometry.png into the study.
"""

import argparse
from dataclasses import asdict

from analysis.records import GeometryPoint, GeometryTest
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study

EXAMPLE = "saes geometry checkpoints/my-study"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to look at")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--all-labels", action="store_true", help="rejected labels too")


def run(arguments: argparse.Namespace) -> Answer:
    study = Study.open(find_study(arguments.study))
    from analysis.figures import directions
    from analysis.geometry import geometry_of

    study = geometry_of(study, all_labels=arguments.all_labels, seed=arguments.seed or 0)
    points, tests = study.read("geometry", GeometryPoint), study.read("geometry_tests", GeometryTest)
    directions(study.folder / "geometry.png", points)
    lines = [f"{'directions':<12}{'what':<20}{'value':<8}{'null [95 %]':<24}{'p':<8}n"]
    lines += [
        f"{one.source:<12}{one.what:<20}{one.value:<8.2f}"
        f"{f'{one.null_median:.2f} [{one.null_low:.2f}, {one.null_high:.2f}]':<24}{one.p:<8.3f}{one.n}"
        for one in tests
    ]
    lines.append(f"picture: {study.folder / 'geometry.png'}")
    return Answer("\n".join(lines), {"tests": [asdict(one) for one in tests], "study": str(study.folder)})
