"""Why a label has its status, in words and with the numbers that decided."""

from collections.abc import Sequence
from typing import Any

from analysis.labelling.lexical_rule import MOST_LOST, MOST_SHARE
from analysis.records import ClampResult, Label
from analysis.report.table import Chance, number, percent

STATUS_ABOUT = {
    "candidate": "found, not yet checked",
    "held": "holds on checking texts; clamping not yet tested",
    "rejected": "did not hold on checking texts",
    "validated": "clamping moves the text towards the concept, more than the controls do",
    "no effect": "holds as a detector, but clamping does not move the text by both its judge and the readout words",
    "unspecific": "clamping moves the text, but controls do so as well",
    "breaks fluency": "clamping moves the text only where it also breaks it",
}
WRITTEN_ABOUT = {
    "validated": "pushing them moves the text towards the concept, more than the controls do",
    "no effect": "pushing them does not move the text by both the concept's judge and its readout words",
    "unspecific": "pushing them moves the text, but controls do so as well",
    "breaks fluency": "pushing them moves the text only where it also breaks it",
}
"""The same of latents that write a concept, which nothing held as detectors."""
TOO_WEAK, NAME, CHANCE = "detects too little", "detects the concept's name", "may be chance"


def rejections(label: Label, rules: dict[str, Any]) -> dict[str, str]:
    """Each bar that the label does not pass, with its numbers."""
    least, most = rules.get("least_auroc", 0.80), rules.get("most_q", 0.05)
    found = {}
    if label.auroc_checking < least:
        found[TOO_WEAK] = f"AUROC on checking texts {number(label.auroc_checking)} is below {number(least)}"
    if label.lexical:
        found[NAME] = (
            f"it detects the concept's name: {percent(label.lexical_share)} of its firing falls on it (at most "
            f"{percent(MOST_SHARE)}), and without it the AUROC is {number(label.auroc_masked)} instead of "
            f"{number(label.auroc_checking)} (it may lose at most {percent(MOST_LOST)} of what lies above 0.5)"
        )
    if label.q > most:
        found[CHANCE] = f"{Chance(label.q).of('q')} is above {number(most)}"
    return found


def why(label: Label, clamps: Sequence[ClampResult], rules: dict[str, Any]) -> str:
    """The reason behind a status: which rule, which number."""
    if label.status == "rejected":
        return "; ".join(rejections(label, rules).values()) or STATUS_ABOUT["rejected"]
    result = next((one for one in clamps if (one.arm, one.concept) == ("label", label.concept)), None)
    if label.status == "candidate":
        return STATUS_ABOUT["candidate"]
    if result is None or not label.chosen:
        return (
            f"{STATUS_ABOUT['held'] if label.status == 'held' else STATUS_ABOUT[label.status]}: {_passed(label, rules)}"
        )
    told = why_clamped(result)
    return f"{told}; {_passed(label, rules)}" if result.status == "no judge" else told


def why_clamped(result: ClampResult) -> str:
    """The numbers behind the verdict on one of the two claims about a concept."""
    if result.status == "no judge":
        return (
            f"the judge of {result.concept} is hardly better than chance (AUROC {number(result.judge_auroc)}, lower end "
            f"{number(result.judge_auroc_low)}): clamping cannot be judged"
        )
    written = result.claim == "written"
    about = (WRITTEN_ABOUT if written else STATUS_ABOUT)[result.status]
    others = "the latents that write concepts of other families" if written else "other families' labels"
    return (
        f"{about}: judge {number(result.judge, sign=True)} [{number(result.judge_low, sign=True)}, "
        f"{number(result.judge_high, sign=True)}] of the way at dose {result.dose:g}, readout {number(result.readout, sign=True)} "
        f"[{number(result.readout_low, sign=True)}, {number(result.readout_high, sign=True)}] nats, strongest control "
        f"{number(result.control_judge_max, sign=True)}, {Chance(result.p).of('p')} among {result.n_controls} controls at "
        f"the same KL ({Chance(result.q).of('q')}), as much from {percent(result.foreign_share)} of {others} "
        f"(n = {result.n_foreign}), fluency cost {number(result.fluency, sign=True)} nats a token, n = {result.n_prompts} prompts; "
        f"detectable with 80 % power: {number(result.detectable)}"
    )


def _passed(label: Label, rules: dict[str, Any]) -> str:
    """The bars of the checking texts, with what the label shows at each."""
    least, most = rules.get("least_auroc", 0.80), rules.get("most_q", 0.05)
    said = f"AUROC on checking texts {number(label.auroc_checking)} reaches {number(least)}, {Chance(label.q).of('q')} is at most {number(most)}"
    if label.lexical is None:
        return said
    return (
        f"{said}, {percent(label.lexical_share)} of the firing falls on the concept's name and without it the AUROC is "
        f"{number(label.auroc_masked)}"
    )
