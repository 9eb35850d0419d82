"""What each case study found, in a sentence with its numbers."""

import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from analysis.records import (
    CaseEffect,
    DoseTest,
    Foretelling,
    LevelShift,
    PreferenceShift,
    PreferenceTest,
    SceneRead,
    WorkshopArm,
    WorkshopControls,
)
from analysis.report import tables
from analysis.report.table import Chance, Estimate, Share

Records = dict[str, list[Any]]
"""A case's records, by table."""


def says(name: str, records: Records) -> str:
    """What a case found, in a sentence with its numbers; "" where it was not run."""
    if "case_effects" in records:
        return _effects_say(records["case_effects"])
    told: dict[str, Callable[[Records], str]] = {
        "workshop": lambda found: _arms_say(found["workshop"], found["workshop_controls"]),
        "coding": lambda found: _arms_say(found["coding"]),
        "foretell": lambda found: _foretelling_says(found["foretellings"]),
        "dose": lambda found: _doses_say(found["dose_tests"]),
        "scenes": lambda found: _scenes_say(found["scenes"]),
        "preference": lambda found: _preference_says(found["preference_tests"], found["preference_shifts"]),
        "compare": lambda found: _shifts_say(found["level_shifts"]),
    }
    return told[name](records)


def _rate(one: WorkshopArm) -> str:
    return f"{Share(one.cheat_rate)} [{Share(one.cheat_low)}, {Share(one.cheat_high)}]"


WAYS = ("desperate_down", "desperate_up", "calm_down", "calm_up")


def _arms_say(arms: Sequence[WorkshopArm], controls: Sequence[WorkshopControls] = ()) -> str:
    base = next((one for one in arms if one.arm == "none"), None)
    if base is None:
        return ""
    text = (
        f"Without a clamp {_rate(base)} of {base.n_impossible} impossible tasks end in cheating "
        f"({Share(base.invalid_rate)} are broken off)"
    )
    chosen = {way: found for way in WAYS if (found := _strongest(arms, way))}
    moved = [
        f"{_rate(one)} with {tables.arm_words(way)} at {abs(one.dose):g} ({_beside(one)})"
        for way, one in chosen.items()
    ]
    text += f"; {', '.join(moved)}." if moved else "."
    own = chosen.get("desperate_down")
    counted = [one for one in controls if one.arm in chosen and one.measure == "cheating" and one.kind == "all"]
    if counted:
        told = [f"{one.n_as_large} of {one.n_controls} ({tables.arm_words(one.arm)})" for one in counted]
        tasks = counted[0].n_tasks
        return f"{text} Controls that are pushed as far and move it as much, the same way, on {tasks} tasks: {', '.join(told)}."
    down = [one.cheat_rate for one in arms if own and one.arm.startswith("control") and one.dose == own.dose]
    if own and down:
        far = sum(rate <= own.cheat_rate for rate in down)
        text += f" {far} of {len(down)} controls lower it as much as desperate down does."
    return text


def _beside(one: WorkshopArm) -> str:
    """The change against no clamp on the same tasks, where it was measured, and the broken texts."""
    broken = f"{Share(one.invalid_rate)} broken off"
    if not isfinite(one.change):
        return broken
    return f"paired change {Estimate(one.change, one.change_low, one.change_high, sign=True)}; {broken}"


def _strongest(arms: Sequence[WorkshopArm], way: str) -> WorkshopArm | None:
    """The arm of a concept pushed one way; of several doses the largest."""
    found = [one for one in arms if re.fullmatch(rf"{way}(_[\d.]+)?", one.arm)]
    return max(found, key=lambda one: abs(one.dose), default=None)


def _foretelling_says(found: Sequence[Foretelling]) -> str:
    if not found:
        return ""
    first = next((one for one in found if one.concept == "desperate"), found[0])
    text = (
        f"The level of {first.concept} after the last failed attempt tells the {first.n_cheated} episodes that will end in cheating "
        f"from the {first.n_stopped} that will end in an honest stop with AUROC {Estimate(first.auroc, first.low, first.high)}; "
        f"a bag of words of the same beginning with {Estimate(first.words, first.words_low, first.words_high)}"
    )
    share = first.control_share
    return text + (
        f"; {Share(share)} of {first.n_controls} random groups lie as far from 0.5." if isfinite(share) else "."
    )


def _doses_say(found: Sequence[DoseTest]) -> str:
    if not found:
        return ""
    best = max(found, key=lambda one: one.contrast)
    n = sum(one.q <= 0.05 and one.contrast > 0 for one in found)
    return (
        f"{n} of {len(found)} labels follow the danger and not the number (q ≤ 0.05). Largest contrast: {best.concept}, "
        f"{Estimate(best.contrast, best.low, best.high, sign=True)} over {best.n_families} families, {Chance(best.q).of('q')}."
    )


def _scenes_say(found: Sequence[SceneRead]) -> str:
    wanted = [one for one in found if one.expected]
    rest = [one for one in found if not one.expected]
    if not wanted:
        return ""
    text = (
        f"In {sum(one.rise > 0 for one in wanted)} of {len(wanted)} pairs of a scene and a label that it should wake, the label reads "
        "higher than in the scene's twin"
    )
    if rest:
        text += f"; so it does in {sum(one.rise > 0 for one in rest)} of the {len(rest)} other pairs ({Share(sum(one.rise > 0 for one in rest) / len(rest))})"
    return text + "."


def _preference_says(found: Sequence[PreferenceTest], shifts: Sequence[PreferenceShift]) -> str:
    if not found:
        return ""
    far = max(found, key=lambda one: abs(one.r))
    text = (
        f"{sum(one.q <= 0.05 for one in found)} of {len(found)} labels go with what the model prefers (q ≤ 0.05). Largest "
        f"correlation: {far.concept}, {Estimate(far.r, far.low, far.high, sign=True)} over {far.n_activities} activities, "
        f"{Chance(far.q).of('q')}."
    )
    tested = [one for one in shifts if one.arm == "label" and one.p is not None]
    if tested:
        n = sum(one.p is not None and one.p <= 0.05 for one in tested)
        text += f" {n} of {len(tested)} clamps move the Elo of clamped activities further than their controls do (p ≤ 0.05 each)."
    return text


def _shifts_say(found: Sequence[LevelShift]) -> str:
    if not found:
        return ""
    far = max(found, key=lambda one: abs(one.shift))
    up, down = (sum(one.q <= 0.05 and one.shift * way > 0 for one in found) for way in (1, -1))
    return (
        f"In {far.other}, {up} of {len(found)} labels read higher and {down} lower than in {far.model} (q ≤ 0.05, {far.n_prompts} "
        f"prompts). Largest shift: {far.concept}, {Estimate(far.shift, far.low, far.high, 3, True)} dose units."
    )


def _effects_say(found: Sequence[CaseEffect]) -> str:
    tested = [one for one in found if one.arm == "label" and one.scorer != "fluency" and one.p is not None]
    if not found:
        return ""
    if not tested:
        n = sum(one.arm == "label" for one in found)
        return f"{n} changes were measured, without controls: nothing can be said of them."
    passed = [one for one in tested if one.p is not None and one.p <= 0.05]
    best = min(tested, key=lambda one: (one.p if one.p is not None else 1.0, -abs(one.effect)))
    return (
        f"{len(passed)} of {len(tested)} changes by labels lie beyond their controls at p ≤ 0.05 each (by chance about "
        f"{0.05 * len(tested):.1f}). Smallest p: {best.concept} {best.dose:+g} moves {best.scorer} by "
        f"{Estimate(best.effect, best.low, best.high, sign=True)} from {Estimate(best.base)} ({best.n_prompts} prompts, "
        f"{best.n_controls} controls, {Chance(best.p).of('p')})."
    )
