"""What the model loses when labelled latents are ablated: each alone, family by family, all of them, or all but one.

Every group stands beside random groups of as many latents that fire as often. Loss is measured on checking texts (each
concept's, all emotional ones, neutral ones), readouts on the concepts' words after prompts, a case on how its tasks end.
Writes the table ablations and the picture ablations_METRIC.svg into the study.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from analysis.records import Ablation
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study
from commands.spec_flags import listed

EXAMPLE = "saes ablate checkpoints/my-study --groups family --metric loss"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to ablate")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--groups", default="each", metavar="KIND", help="each (default), family, all or only")
    group.add_argument("--concepts", metavar="A,B,C", help="default: all that are held")
    group.add_argument("--controls", type=int, default=20, metavar="N", help="random groups for each (default 20)")
    group = parser.add_argument_group("what to measure")
    group.add_argument("--metric", default="loss", metavar="WHAT", help="loss (default), readouts, or a case: workshop")
    group.add_argument("--episodes", default="12,8", metavar="N,M", help="impossible and possible tasks a group plays")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the one that the study names")


def run(arguments: argparse.Namespace) -> Answer:
    study = Study.open(find_study(arguments.study))
    episodes = listed(arguments.episodes, int)
    if len(episodes) != 2:
        raise ValueError(f"--episodes takes two numbers, of impossible and possible tasks, got {arguments.episodes!r}")
    from analysis.ablation.journey import ablate

    study = ablate(
        study,
        arguments.groups,
        arguments.metric,
        listed(arguments.concepts) if arguments.concepts else None,
        arguments.controls,
        arguments.model,
        arguments.seed or 0,
        episodes=(episodes[0], episodes[1]),
        device=arguments.device,
    )
    rows = [
        row
        for row in study.read("ablations", Ablation)
        if (row.metric, row.kind) == (arguments.metric, arguments.groups)
    ]
    picture = study.folder / f"ablations_{arguments.metric}.svg"
    text = f"{table(rows)}\npicture: {picture}"
    return Answer(text, {"ablations": [asdict(row) for row in rows], "study": str(study.folder)})


def table(rows: Sequence[Ablation]) -> str:
    """A line for each group and target that sums up the others: concepts one by one are in the table and the picture."""
    concepts = {row.name for row in rows if row.kind in ("each", "only")}
    summed = ("own", "emotional", "neutral")
    shown = [row for row in rows if row.target in summed or (row.metric not in ("loss", "readouts"))]
    wide = max([12, *(len(name) for name in concepts)]) + 2
    lines = [f"{'group':<{wide}}{'latents':<9}{'on':<11}{'effect [95 %]':<28}{'random groups [90 %]':<30}{'p':<8}n"]
    for row in shown:
        effect = f"{row.effect:+.4f} [{row.low:+.4f}, {row.high:+.4f}]"
        control = f"{row.control_mean:+.4f} [{row.control_low:+.4f}, {row.control_high:+.4f}]"
        lines.append(
            f"{row.name:<{wide}}{len(row.latents):<9}{row.target:<11}{effect:<28}{control:<30}{row.p:<8.3f}{row.n}"
        )
    if rows:
        lines.append(
            f"p: two-sided rank among {rows[0].n_controls} random groups of as many latents that fire as often (at least "
            f"{1 / (1 + rows[0].n_controls):.3f}), one test a line"
        )
        if rows[0].kind == "only":
            lines.append("only: all labelled latents are ablated but those of the named concept")
    return "\n".join(lines)
