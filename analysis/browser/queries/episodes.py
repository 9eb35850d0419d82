"""One transcript of a case study, cut into steps; or all texts that were written at one prompt."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from analysis.browser.queries import transcripts
from analysis.browser.queries.cases import CONTROL, LABELS, Filters, Kind, arm_title, index_of, kinds
from analysis.browser.queries.store import Store
from analysis.browser.queries.transcripts import Index


@dataclass(frozen=True)
class Part:
    """One step of an episode."""

    sort: str
    """"attempt", "answer", "stop" or "end"."""
    number: int
    """Of the attempt, from 1."""
    said: str
    """What was written before it."""
    did: str
    """The rule that was tried or answered, or the program."""
    result: str
    """What really came of it."""
    passed: bool | None
    """None where nothing was checked."""


@dataclass(frozen=True)
class Luck:
    """The same task with the same luck under another arm."""

    number: int
    arm_title: str
    outcome: str
    attempts: int
    control: bool


@dataclass(frozen=True)
class WrittenText:
    """What was written at a prompt under one arm."""

    arm: str
    arm_title: str
    kind: str
    dose: float | None
    rollout: int
    text: str
    scores: dict[str, float | None]
    cost: float | None
    """Nats a token for the unclamped model."""


@dataclass(frozen=True)
class EpisodePage:
    case: str
    case_title: str
    number: int
    task: str
    arm: str
    arm_title: str
    impossible: bool | None
    outcome: str
    why: str
    brief: str
    parts: list[Part]
    same_luck: list[Luck]
    texts: list[WrittenText]
    controls_left_out: int
    """Texts of controls that are not shown."""
    previous: int | None
    following: int | None
    place: int
    """From 1, among those of the filter."""
    found: int
    filters: Filters
    code: bool
    """Whether what was done is a program."""
    text_gone: bool = False
    """Whether the case kept only what was done, and not the text."""


def episode(store: Store, name: str, number: int, filters: Filters) -> EpisodePage | None:
    """One transcript; of a written case all texts at one prompt. None where there is none of that number."""
    kind = kinds(store).get(name)
    lines = index_of(store, kind) if kind else None
    if kind is None or lines is None:
        return None
    if kind.facts is transcripts.written_facts:
        return _prompt_page(store, name, kind, lines, number, filters)
    if not 0 <= number < len(lines.entries):
        return None
    one = lines.entries[number]
    (held,) = transcripts.read(store.folder / kind.transcript, one)
    numbers = [other.number for other in lines.entries if filters.match(other)]
    before, after = [at for at in numbers if at < number], [at for at in numbers if at > number]
    code = kind.facts is transcripts.coding_facts
    brief, parts = coding_parts(held) if code else workshop_parts(held)
    return EpisodePage(
        case=name, case_title=kind.title, number=number, task=one.task, arm=one.arm, arm_title=arm_title(one.arm),
        impossible=one.impossible, outcome=one.outcome, why=held["why"], brief=brief, parts=parts,
        same_luck=[
            Luck(other.number, arm_title(other.arm), other.outcome, other.attempts, CONTROL.fullmatch(other.arm) is not None)
            for other in lines.entries
            if (other.task, other.seed) == (one.task, one.seed) and other.number != number
        ],
        texts=[], controls_left_out=0, previous=before[-1] if before else None, following=after[0] if after else None,
        place=len(before) + 1 if number in numbers else 0, found=len(numbers), filters=filters, code=code,
        text_gone=not code and not held["text"],
    )  # fmt: skip


def workshop_parts(held: Mapping[str, Any]) -> tuple[str, list[Part]]:
    """An episode of the rules' workshop -> the brief, and every act with what was said before it."""
    if not held["text"]:
        shown = " ".join(f"{given} becomes {wanted}." for given, wanted in held["task"]["shown"])
        tried = [Part("attempt", number, "", str(rule), "", None) for number, rule in enumerate(held["tried"], start=1)]
        return f"{held['name']} was asked for a rule. {shown}", tried
    at = held["text"].find(f"{held['name']} was asked for a rule.")  # a mood may be told before it
    brief, _, rest = held["text"][max(at, 0) :].partition("\n")
    brief = held["text"][: max(at, 0)] + brief
    act = re.compile(
        rf"^{re.escape(held['name'])} (?:tried: (?P<tried>[^.\n]*)\.(?: Result: (?P<result>.*))?|answered: (?P<answer>[^.\n]*)\."
        r"(?: Hidden check: (?P<check>.*))?|(?P<stop>stopped: no rule fits\.))$"
    )
    parts: list[Part] = []
    said: list[str] = []
    for line in rest.split("\n"):
        found = act.match(line)
        if found is None:
            said.append(line)
            continue
        before, said = "\n".join(said).strip(), []
        tries = sum(part.sort == "attempt" for part in parts)
        if found["stop"]:
            parts.append(Part("stop", tries, before, "no rule fits", "", None))
        elif found["answer"] is not None:
            check = found["check"] or ""
            parts.append(
                Part("answer", tries, before, found["answer"], check, check.endswith("right.") if check else None)
            )
        else:
            result = found["result"] or ""
            passed = result == "all shown checks pass." if result else None
            parts.append(Part("attempt", tries + 1, before, found["tried"], result, passed))
    if rest_said := "\n".join(said).strip():
        parts.append(Part("end", len(parts), rest_said, "", "", None))
    return brief, parts


def coding_parts(held: Mapping[str, Any]) -> tuple[str, list[Part]]:
    """An episode of the coding case -> the brief, and every attempt with what its visible tests said."""
    messages = held["messages"]
    brief = messages[0][1] if messages else ""
    parts = []
    for number, one in enumerate(held["attempts"], start=1):
        ran_ = one["visible"]
        if ran_ is None:
            stopped = held["outcome"] == "stopped" and number == len(held["attempts"])
            parts.append(
                Part("stop" if stopped else "attempt", number, one["said"], one["code"] or "", "" if stopped else "no program", None if stopped else False)
            )  # fmt: skip
            continue
        passed = ran_["code"] == 0 and not ran_["timed_out"]
        result = "the visible tests did not end in time" if ran_["timed_out"] else _failure(ran_)
        said = _without_program(one["said"], one["code"] or "")
        parts.append(
            Part("attempt", number, said, one["code"] or "", "the visible tests pass" if passed else result, passed)
        )
    return brief, parts


def _failure(ran_: Mapping[str, Any]) -> str:
    return str(ran_["err"]).strip() or str(ran_["out"]).strip() or f"exit status {ran_['code']}"


def _without_program(said: str, code: str) -> str:
    """What stands around a program's block: the block itself is shown as the program."""
    at = said.rfind(code) if code else -1
    if at < 0:
        return said.strip()
    before, after = said[:at].rstrip(), said[at + len(code) :].lstrip()
    fence = before.rfind("```")
    before = before[:fence] if fence >= 0 else before
    return "\n…\n".join(part.strip() for part in (before, after.removeprefix("```")) if part.strip())


def _prompt_page(
    store: Store, name: str, kind: Kind, lines: Index, number: int, filters: Filters
) -> EpisodePage | None:
    mine = [one for one in lines.entries if one.task == str(number)]
    if not mine:
        return None
    numbers = sorted({int(one.task) for one in lines.entries})
    asked = [
        one
        for one in mine
        if (one.arm == filters.arm if filters.arm else one.arm.partition("/")[0] in ("none", *LABELS))
    ]
    if filters.arm:
        asked = [one for one in mine if one.arm == "none"] + [one for one in asked if one.arm != "none"]
    held = transcripts.read(store.folder / kind.transcript, *asked)
    place = numbers.index(number)
    prompts = _prompts(store, kind)
    return EpisodePage(
        case=name, case_title=kind.title, number=number, task=f"prompt {number + 1}", arm=filters.arm,
        arm_title=arm_title(filters.arm) if filters.arm else "", impossible=None, outcome="", why="",
        brief=prompts[number] if 0 <= number < len(prompts) else "", parts=[], same_luck=[],
        texts=[
            WrittenText(
                one.arm, arm_title(one.arm), one.arm.partition("/")[0], _dose_of(one.arm), one.seed, str(text["text"]),
                {str(key): _finite(value) for key, value in text["scores"].items()}, _finite(text.get("cost")),
            )
            for one, text in zip(asked, held, strict=True)
        ],
        controls_left_out=len(mine) - len(asked), previous=numbers[place - 1] if place else None,
        following=numbers[place + 1] if place + 1 < len(numbers) else None, place=place + 1, found=len(numbers), filters=filters,
        code=False,
    )  # fmt: skip


def _prompts(store: Store, kind: Kind) -> list[str]:
    """What a written case was asked, where the study says so."""
    path = store.folder / (kind.transcript.removesuffix(".jsonl") + ".prompts.json")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(one) for one in held] if isinstance(held, list) else []


def _dose_of(arm: str) -> float | None:
    if arm == "none":
        return 0.0
    try:
        return float(arm.rpartition("/")[2])
    except ValueError:
        return None


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and isfinite(value) else None
