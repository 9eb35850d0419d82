"""Tests a study's held labels, and the latents that write their concepts, by clamping them, against matched controls.

Both claims about each concept are clamped at several doses on the same neutral prompts, beside one pool of random latents and
random directions and the difference of means; every arm is judged for every concept. Writes trials, clamps, curves, effects
and necessity into the study and the verdicts into its labels and writers. A run that was stopped goes on where it was.
"""

import argparse
from dataclasses import asdict
from typing import Any

from analysis.records import CLAIMS, ClampResult, clamp_counts
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study
from commands.spec_flags import at_least, listed

EXAMPLE = "saes validate checkpoints/my-study --concepts calm,desperate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to test")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--concepts", metavar="A,B,C", help="default: all that are held")
    group.add_argument("--doses", metavar="X,Y,Z", help="in units of each latent's own active scale")
    group.add_argument(
        "--controls",
        type=int,
        default=40,
        metavar="N",
        help="random latents, and as many random directions, shared by all claims (default 40)",
    )
    group.add_argument(
        "--continuations",
        type=at_least(1),
        metavar="N",
        help="texts written from each prompt under each clamp (default 3); more see smaller effects, and take longer",
    )
    group.add_argument(
        "--judge-texts",
        metavar="FILE",
        help="jsonl with a concept (or neutral) and a text a line, instead of the concept set's own judge texts",
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
    from analysis.clamping.journey import CONTINUATIONS, validate

    study = validate(
        study,
        concepts,
        doses,
        arguments.controls,
        arguments.model,
        arguments.seed or 0,
        judge_texts=arguments.judge_texts,
        continuations=CONTINUATIONS if arguments.continuations is None else arguments.continuations,
        device=arguments.device,
    )
    clamps = study.read("clamps", ClampResult)
    return Answer(table(clamps), {**shown(clamps), "study": str(study.folder)})


def table(clamps: list[ClampResult]) -> str:
    """Both claims about each concept, a line each, and what the controls did."""
    wide = 2 + max([12, *(len(one.name) for one in clamps)])
    lines = [
        f"{'concept':<{wide}}{'dose':<7}{'judge [95 %]':<24}{'readout':<9}{'p (controls)':<15}{'strongest':<11}{'fluency':<9}{'safe doses':<14}{'n':<5}status"
    ]
    for one in clamps:
        if one.arm in CLAIMS:
            interval = f"{one.judge:+.2f} [{one.judge_low:+.2f}, {one.judge_high:+.2f}]"
            rank, safe = f"{one.p:.3f} ({one.n_controls})", f"{one.safe_low:+.1f} to {one.safe_high:+.1f}"
            lines.append(
                f"{one.name:<{wide}}{one.dose:<7g}{interval:<24}{one.readout:<+9.2f}{rank:<15}{one.control_judge_max:<+11.2f}"
                f"{one.fluency:<+9.2f}{safe:<14}{one.n_prompts:<5}{one.status}"
            )
    counts = shown(clamps)["counts"]
    lines.append(
        f"{counts['validated']} of {counts['tested']} labels validated"
        + (
            f", {counts['written_validated']} of {counts['written_tested']} sets of latents that write a concept, "
            f"{counts['concepts_validated']} of {counts['concepts']} concepts by either"
            if counts["written_tested"]
            else ""
        )
        + f"; {counts['control_validated']} of {counts['control_tested']} controls; difference of means: "
        f"{counts['diff_means_validated']} of {counts['diff_means_tested']}"
        + (
            f" beside the labels, {counts['diff_means_written_validated']} of {counts['diff_means_written_tested']} beside what writes"
            if counts["written_tested"]
            else ""
        )
    )
    return "\n".join(lines)


def shown(clamps: list[ClampResult]) -> dict[str, Any]:
    """What scripts get: each claim's clamp by its name, and how many of each arm passed."""
    return {
        "clamps": {one.name: asdict(one) for one in clamps if one.arm in CLAIMS},
        "counts": clamp_counts(clamps),
    }
