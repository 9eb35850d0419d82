"""Runs a case study on a study's labels: what clamping a concept does to behaviour, or what wakes it.

workshop         rules that cannot be found: how often the model fakes one, with `desperate` and `calm` clamped up and down. --arm
          rules is the bundled model's own world; --arm code lets a chat model write programs that are really run, in a sandbox
scenes           24 scenes (a sad user, a dangerous dose, ...) beside twins: do they wake the labels that they should
preference       which of 72 activities the model prefers, which labels go with that, and what clamps change
compare MODEL    the same prompts through another model of the same width (base and tuned): which levels differ
harsh-or-sweet   flawed work is shown in hope of praise: how much the answer praises, criticises, is harsh
run FILE.yaml    a case of your own: prompts, scorers, concepts, doses (docs/cases.md)
foretell         whether levels after failed attempts foretell the cheat, beside a bag of words of the same beginning
dose             prompts in which one number is turned up: which labels follow the danger and not the number

Every case writes its tables, its transcripts and a figure (figures/CASE.svg and .png) into the study, and stands beside
controls. One that was stopped goes on where it was.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.records import (
    AttemptLevel,
    AttemptSlope,
    AttemptTrace,
    DoseTest,
    Foretelling,
    PreferenceShift,
    PreferenceTest,
    WorkshopArm,
    WorkshopControls,
)
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study
from commands.spec_flags import at_least, listed

EXAMPLE = "saes case dose --study checkpoints/my-study --form chat"
CASES = ("workshop", "foretell", "dose", "scenes", "preference", "compare", "harsh-or-sweet", "run")
TAKES = {
    "workshop": ("concepts", "controls", "doses", "arm", "rollouts", "from_attempt", "control_tasks"),
    "workshop --arm code": ("controls", "doses", "arm", "rollouts", "tasks", "from_attempt", "unsafe_no_sandbox"),
    "foretell": ("concepts", "controls", "rollouts"),
    "dose": ("concepts", "controls", "form", "families"),
    "scenes": ("form",),
    "preference": ("concepts", "controls", "form", "clamped", "doses"),
    "compare": ("concepts", "controls", "prompts"),
    "harsh-or-sweet": ("concepts", "controls", "doses", "rollouts", "form"),
    "run": ("concepts", "controls", "doses", "rollouts"),
}
"""Beside the study and the model."""
UNTOUCHED = {"arm": "rules", "form": "story", "from_attempt": 0, "unsafe_no_sandbox": False}
"""Defaults other than None."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which case, on what")
    group.add_argument("case", choices=CASES)
    group.add_argument(
        "file", nargs="?", metavar="FILE.yaml_or_MODEL", help="of run: the case; of compare: the other model"
    )
    group.add_argument("--study", default=DEFAULT, metavar="STUDY", help=f"whose labels (default {DEFAULT})")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the study's")
    group.add_argument(
        "--concepts",
        metavar="A,B,...",
        help="of dose: default every held label that some family expects to move; of workshop: "
        "beside desperate and calm (default frustrated, hopeful, guilty)",
    )
    group.add_argument(
        "--controls",
        type=at_least(0),
        metavar="N",
        help="half random groups of latents, half random directions (workshop, default 0); random groups (dose, default 60)",
    )
    group.add_argument(
        "--doses", metavar="X,Y,...", help="in dose units; workshop: each up and down, the largest at which the model still plays "
        "has the controls (default 0.125, 0.25 or 0.5, and that one alone; code: one, default 1); of other cases also negative ones "
        "(--doses=-1,1, the default)"
    )  # fmt: skip
    group = parser.add_argument_group("workshop")
    group.add_argument("--arm", choices=("rules", "code"), default="rules", help="(default rules)")
    group.add_argument(
        "--rollouts",
        type=at_least(1),
        metavar="N",
        help="impossible tasks (rules, default 60), or times a task (code, default 4)",
    )
    group.add_argument("--tasks", metavar="DIR", help="of code: a folder of tasks instead of the bundled ones")
    group.add_argument(
        "--from-attempt",
        type=at_least(0),
        default=0,
        metavar="N",
        help="clamp from this attempt on (default 0: all along)",
    )
    group.add_argument(
        "--control-tasks",
        type=at_least(1),
        metavar="N",
        help="of rules: impossible tasks that the controls play (default all)",
    )
    group.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="of code: run programs without isolation, on a machine that may be lost",
    )
    group = parser.add_argument_group("preference, compare")
    group.add_argument(
        "--clamped", metavar="A,B,...", help="of preference: labels to clamp at the mention of activities"
    )
    group.add_argument(
        "--prompts", metavar="FILE", help="of compare: a prompt a line; default the study's neutral texts"
    )
    group = parser.add_argument_group("dose, preference, harsh-or-sweet")
    group.add_argument("--form", choices=("story", "chat"), default="story", help="(default story)")
    group.add_argument("--families", metavar="FILE", help="prompts of your own, as doses.toml has them")


def run(arguments: argparse.Namespace) -> Answer:
    study = Study.open(find_study(arguments.study))
    if arguments.file and arguments.case not in ("run", "compare"):
        raise ValueError(f"{arguments.file}: only `saes case run` takes a file; the study is named by --study")
    _check_flags(arguments)
    cases = {
        "workshop": _workshop,
        "foretell": _foretell,
        "dose": _dose,
        "scenes": _scenes,
        "preference": _preference,
        "compare": _compare,
        "harsh-or-sweet": _behaviour,
        "run": _behaviour,
    }
    answer = cases[arguments.case](arguments, study)
    if arguments.case == "workshop" and arguments.arm == "code":
        return _with_figure(answer, study, "coding")
    return _with_figure(answer, study, answer.data.get("case", arguments.case))


def _check_flags(arguments: argparse.Namespace) -> None:
    """A flag that the case would not heed is an error: its user believes that it does something."""
    case = arguments.case + (" --arm code" if arguments.case == "workshop" and arguments.arm == "code" else "")
    for name in dict.fromkeys(name for names in TAKES.values() for name in names):
        if name not in TAKES[case] and getattr(arguments, name) != UNTOUCHED.get(name):
            flag = "--" + name.replace("_", "-")
            takes = ", ".join(other for other, names in TAKES.items() if name in names)
            raise ValueError(f"{flag} does nothing in `saes case {case}`; it is of {takes}")
    if case == "preference" and arguments.doses and not arguments.clamped:
        raise ValueError("--doses are those of --clamped labels: name some")


def _with_figure(answer: Answer, study: Study, case: str) -> Answer:
    """Draws what the study now holds of the case, and says where."""
    from analysis.cases.figures import save

    svg, png = save(study, case)
    return Answer(f"{answer.text}\nfigure: {svg}, {png.name}", {**answer.data, "figure": str(svg)})


def _workshop(arguments: argparse.Namespace, study: Study) -> Answer:
    seed, controls, doses = arguments.seed or 0, arguments.controls or 0, _doses(arguments)
    if arguments.arm == "code":
        if len(doses) > 1:
            raise ValueError(f"--arm code is played at one dose, up and down, got {arguments.doses}")
        from analysis.cases.coding import coding_case, load_tasks
        from analysis.cases.sandbox import NONE, find_isolation

        isolation = NONE if arguments.unsafe_no_sandbox else find_isolation()
        tasks = load_tasks(arguments.tasks)
        rows = coding_case(
            study, arguments.model, isolation, arguments.rollouts or 4, doses[0] if doses else 1.0, controls, arguments.from_attempt,
            tasks=tasks, seed=seed, device=arguments.device,
        )  # fmt: skip
    else:
        from analysis.cases.workshop import workshop

        n = arguments.rollouts or 60
        rows, _ = workshop(
            study, arguments.model, n, max(1, 2 * n // 3), doses or None, controls, seed,
            concepts=listed(arguments.concepts) if arguments.concepts else None, from_attempt=arguments.from_attempt,
            control_tasks=arguments.control_tasks, device=arguments.device,
        )  # fmt: skip
        from analysis.report.tables import workshop_controls
        from analysis.report.terminal import drawn

        rows, counted = study.read("workshop", WorkshopArm), study.read("workshop_controls", WorkshopControls)
        arms = _arms_table([row for row in rows if not row.kind.startswith("random")])
        return Answer(
            f"{arms}\n\n{drawn(workshop_controls(counted))}" if counted else arms,
            {**shown(rows, counted), "study": str(study.folder)},
        )
    return Answer(_arms_table(rows), {**shown(rows), "study": str(study.folder)})


def shown(rows: Sequence[WorkshopArm], controls: Sequence[WorkshopControls] = ()) -> dict[str, Any]:
    """What scripts get: rates by arm, and the share of controls that lower cheating as much as `desperate` down."""
    by_arm = {row.arm: row for row in rows}
    down = [row.cheat_rate for name, row in by_arm.items() if name.startswith("control") and name.endswith("down")]
    own = by_arm["desperate_down"].cheat_rate
    counted = next(
        (one.share for one in controls if (one.arm, one.measure, one.kind) == ("desperate_down", "cheating", "all")),
        sum(rate <= own for rate in down) / len(down) if down else None,
    )
    return {
        "rates": {name: [row.cheat_rate, row.cheat_low, row.cheat_high] for name, row in by_arm.items()},
        "honest": {name: row.honest_rate for name, row in by_arm.items()},
        "controls_as_large": counted,
        "n": rows[0].n_impossible,
        "arms": [asdict(row) for row in rows],
        "controls": [asdict(one) for one in controls],
    }


def _arms_table(rows: Sequence[WorkshopArm]) -> str:
    from analysis.report.tables import workshop
    from analysis.report.terminal import drawn

    return drawn(workshop(rows))


def _foretell(arguments: argparse.Namespace, study: Study) -> Answer:
    from analysis.cases.foretelling import CONTROLS, foretell
    from analysis.report.tables import attempt_slopes, attempt_traces, foretellings
    from analysis.report.terminal import drawn

    foretell(
        study, arguments.model, listed(arguments.concepts) if arguments.concepts else None, arguments.rollouts or 300,
        CONTROLS if arguments.controls is None else arguments.controls, arguments.seed or 0, device=arguments.device,
    )  # fmt: skip
    traces, slopes = study.read("attempt_traces", AttemptTrace), study.read("attempt_slopes", AttemptSlope)
    scores = study.read("foretellings", Foretelling)
    data = {
        "levels": [asdict(one) for one in study.read("attempt_levels", AttemptLevel)],
        "traces": [asdict(one) for one in traces], "slopes": [asdict(one) for one in slopes],
        "foretellings": [asdict(one) for one in scores], "study": str(study.folder),
    }  # fmt: skip
    return Answer(
        "\n\n".join(drawn(one) for one in (attempt_traces(traces), attempt_slopes(slopes), foretellings(scores))), data
    )


def _scenes(arguments: argparse.Namespace, study: Study) -> Answer:
    from analysis.cases.scenes import gallery
    from analysis.report.tables import scenes
    from analysis.report.terminal import drawn

    rows, test = gallery(study, arguments.model, form=arguments.form, seed=arguments.seed or 0, device=arguments.device)
    text = (
        f"expected labels rise by {test.expected:+.2f} [{test.expected_low:+.2f}, {test.expected_high:+.2f}] of their own spread from "
        f"twin to scene, others by {test.others:+.2f} [{test.others_low:+.2f}, {test.others_high:+.2f}] "
        f"(p = {test.p:.4f} by shuffling what is expected, n = {test.n} pairs of scene and label)"
    )
    data = {"scenes": [asdict(one) for one in rows], "test": asdict(test), "study": str(study.folder)}
    return Answer(f"{drawn(scenes(rows))}\n{text}", data)


def _preference(arguments: argparse.Namespace, study: Study) -> Answer:
    from analysis.cases.preference import CONTROLS, preference
    from analysis.report.tables import preference_shifts, preference_tests
    from analysis.report.terminal import drawn

    preference(
        study, arguments.model, form=arguments.form, concepts=listed(arguments.concepts) if arguments.concepts else None,
        clamped=listed(arguments.clamped) if arguments.clamped else (), doses=_doses(arguments) or (-1.0, 1.0),
        controls=CONTROLS if arguments.controls is None else arguments.controls, seed=arguments.seed or 0, device=arguments.device,
    )  # fmt: skip
    tests, shifts = study.read("preference_tests", PreferenceTest), study.read("preference_shifts", PreferenceShift)
    text = drawn(preference_tests(tests)) + (f"\n\n{drawn(preference_shifts(shifts))}" if arguments.clamped else "")
    data: dict[str, list[Any]] = {
        "activities": study.read("activity_scores"),
        "tests": tests,
        "shifts": shifts if arguments.clamped else [],
    }
    return Answer(
        text, {**{name: [asdict(one) for one in some] for name, some in data.items()}, "study": str(study.folder)}
    )


def _compare(arguments: argparse.Namespace, study: Study) -> Answer:
    from analysis.cases.compare import CONTROLS, compare
    from analysis.report.tables import level_shifts
    from analysis.report.terminal import drawn

    if not arguments.file:
        raise ValueError("saes case compare needs the other model: saes case compare MODEL --study STUDY")
    prompts = None
    if arguments.prompts:
        prompts = [line for line in Path(arguments.prompts).read_text(encoding="utf-8").splitlines() if line.strip()]
    found = compare(
        study, arguments.file, arguments.model, prompts, Path(arguments.prompts).name if arguments.prompts else "",
        listed(arguments.concepts) if arguments.concepts else None, CONTROLS if arguments.controls is None else arguments.controls,
        arguments.seed or 0, device=arguments.device,
    )  # fmt: skip
    own, other = found.explained
    return Answer(
        f"{drawn(level_shifts(found.shifts))}\nthe SAE explains {own:.0%} of the variance in the study's model, {other:.0%} in the other",
        {
            "shifts": [asdict(one) for one in found.shifts],
            "explained_variance": [own, other],
            "study": str(study.folder),
        },
    )


def _behaviour(arguments: argparse.Namespace, study: Study) -> Answer:
    from dataclasses import replace

    from analysis.cases.behaviour import behaviour, harsh_or_sweet, read_case

    if arguments.case == "run":
        if not arguments.file:
            raise ValueError("saes case run needs the case's file: saes case run my_case.yaml")
        case = read_case(arguments.file)
    else:
        case = harsh_or_sweet(arguments.form)
        case = replace(
            case, concepts=tuple(one for one in case.concepts if any(one == label.concept for label in study.labels()))
        )
    changes: dict[str, Any] = {}
    if arguments.concepts:
        changes["concepts"] = tuple(listed(arguments.concepts))
    if doses := _doses(arguments):
        changes["doses"] = tuple(doses)
    for name in ("controls", "rollouts"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    rows = behaviour(study, replace(case, **changes), arguments.model, arguments.seed or 0, device=arguments.device)
    from analysis.report.tables import case_effects
    from analysis.report.terminal import drawn

    return Answer(
        drawn(case_effects(rows)),
        {"case": case.name, "effects": [asdict(one) for one in rows], "study": str(study.folder)},
    )


def _doses(arguments: argparse.Namespace) -> list[float]:
    return listed(arguments.doses, float) if arguments.doses else []


def _dose(arguments: argparse.Namespace, study: Study) -> Answer:
    from analysis.cases.doses import CONTROLS, dose_case, load_families

    dose_case(
        study, arguments.model, load_families(arguments.families), listed(arguments.concepts) if arguments.concepts else None,
        arguments.form, CONTROLS if arguments.controls is None else arguments.controls, arguments.seed or 0, device=arguments.device,
    )  # fmt: skip
    tests = study.read("dose_tests", DoseTest)
    return Answer(_dose_table(tests), {"doses": [asdict(one) for one in tests], "study": str(study.folder)})


def _dose_table(tests: Sequence[DoseTest]) -> str:
    from analysis.report.tables import dose_tests
    from analysis.report.terminal import drawn

    return drawn(dose_tests(tests))
