"""Whether labels are found again in SAEs of other seeds, widths or layers of the same model.

For each concept and pair of studies: the cosine of what the two labels write, the nearest latent of the other SAE, and
the correlation of the labels' values over checking texts; each beside its null.
"""

import argparse
from dataclasses import asdict

import numpy as np

from analysis.records import Agreement
from commands.answer import Answer
from commands.places import find_study

EXAMPLE = "saes stability checkpoints/seed-0 checkpoints/seed-1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to compare")
    group.add_argument("studies", nargs="+", metavar="STUDY", help="two or more studies, made by `saes label`")


def run(arguments: argparse.Namespace) -> Answer:
    if len(arguments.studies) < 2:
        raise ValueError("stability compares studies: give at least two")
    folders = [find_study(name) for name in arguments.studies]
    from analysis.stability import stability

    found = stability(folders, arguments.device, arguments.seed or 0)
    return Answer(table(found), {"agreements": [asdict(one) for one in found]})


def table(found: list[Agreement]) -> str:
    """The concepts that both hold, a line each, then a line a pair of studies."""
    lines = [f"{'concept':<16}{'cosine':<16}{'nearest latent':<18}{'r over texts [95 %]':<26}pair"]
    pairs = list(dict.fromkeys((one.study, one.other) for one in found))
    for one in found:
        if one.held and one.other_held:
            r = f"{one.r:.2f} [{one.r_low:.2f}, {one.r_high:.2f}] ({_figure(one.r_null)})"
            lines.append(
                f"{one.concept:<16}{_beside(one.cosine, one.cosine_null):<16}{_beside(one.nearest, one.nearest_null):<18}"
                f"{r:<26}{pairs.index((one.study, one.other)) + 1}"
            )
    lines.append("in brackets: the 95th percentile of the null (labels of other families; latents of no label)")
    for number, pair in enumerate(pairs, start=1):
        mine = [one for one in found if (one.study, one.other) == pair]
        both = [one for one in mine if one.held and one.other_held]
        either = sum(one.held or one.other_held for one in mine)
        above = sum(one.r_null is not None and one.r > one.r_null for one in both)
        middle = f"{np.median([one.r for one in both]):.2f}" if both else "-"
        lines.append(
            f"pair {number}: {pair[0]} and {pair[1]}: {len(both)} concepts held in both, {either} in at least one; "
            f"median r {middle}, above its null for {above}"
        )
    return "\n".join(lines)


def _beside(value: float | None, null: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ({_figure(null)})"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
