"""Tests a study's held labels by clamping them, against matched controls.

For each label: clamps at several doses on the concept's prompts, beside random latents, random directions, features of
other families and the difference of means. Writes trials and clamps into the study and the verdict into its labels.
"""

import argparse
from dataclasses import asdict
from typing import Any

from analysis.records import ClampResult, clamp_counts
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study
from commands.spec_flags import listed

EXAMPLE = "saes validate checkpoints/my-study --concepts calm,desperate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to test")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--concepts", metavar="A,B,C", help="default: all that are held")
    group.add_argument("--doses", metavar="X,Y,Z", help="in units of each latent's own active scale")
    group.add_argument("--controls", type=int, default=6, metavar="N", help="matched controls per label (default 6)")
    group.add_argument(
        "--judge-texts",
        metavar="FILE",
        help="jsonl with a concept and a text a line, for concepts that storyworld lacks",
    )
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the one that the study names")


def run(arguments: argparse.Namespace) -> Answer:
    study = Study.open(find_study(arguments.study))
    concepts = listed(arguments.concepts) if arguments.concepts else None
    for concept in concepts or ():
        study.label(concept)
    doses = listed(arguments.doses, float) if arguments.doses else None
    if arguments.controls < 1:
        raise ValueError("a clamp without controls proves nothing: --controls must be at least 1")
    from analysis.clamping.journey import validate

    study = validate(
        study,
        concepts,
        doses,
        arguments.controls,
        arguments.model,
        arguments.seed or 0,
        judge_texts=arguments.judge_texts,
        device=arguments.device,
    )
    clamps = study.read("clamps", ClampResult)
    return Answer(table(clamps), {**shown(clamps), "study": str(study.folder)})


def table(clamps: list[ClampResult]) -> str:
    """The labels' clamps, a line each, and what the controls did."""
    lines = [
        f"{'concept':<12}{'dose':<7}{'judge [95 %]':<24}{'readout':<10}{'controls':<10}{'fluency':<9}{'n':<5}status"
    ]
    for one in clamps:
        if one.arm == "label":
            interval = f"{one.judge:+.2f} [{one.judge_low:+.2f}, {one.judge_high:+.2f}]"
            lines.append(
                f"{one.concept:<12}{one.dose:<7g}{interval:<24}{one.readout:<10.2f}{one.control_judge_max:<10.2f}"
                f"{one.fluency:<9.2f}{one.n_prompts:<5}{one.status}"
            )
    counts = shown(clamps)["counts"]
    lines.append(
        f"{counts['validated']} of {counts['tested']} labels validated; {counts['control_validated']} of "
        f"{counts['control_tested']} controls; difference of means: {counts['diff_means_validated']} of {counts['diff_means_tested']}"
    )
    return "\n".join(lines)


def shown(clamps: list[ClampResult]) -> dict[str, Any]:
    """What scripts get: each label's clamp, and how many of each arm passed."""
    return {
        "clamps": {one.concept: asdict(one) for one in clamps if one.arm == "label"},
        "counts": clamp_counts(clamps),
    }
