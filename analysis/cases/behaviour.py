"""Any behaviour under clamps: prompts, scorers of what is written, doses, controls; a new case is a file.

    name: apology
    prompts: ["Mia broke the vase. Her mother came in. Mia said,"]
    scorers: {sorry: {words: [sorry, forgive]}, runs: {regex: "ran away"}}
    concepts: [guilty, angry]
    doses: [-1, 1]

The effect of an arm is its score minus that of no clamp at the same prompt with the same luck; intervals are bootstraps over
prompts, and a label's rank among its controls, pushed as far, is its p.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from analysis.cases.arms import NONE, CaseArm, case_arms
from analysis.cases.kept import Kept, digest_of_clamp
from analysis.cases.scorers import scorer_of
from analysis.clamping.readouts import text_cost
from analysis.clamping.trial import ROWS
from analysis.clamping.verdict import rank_p
from analysis.concepts.concept import ConceptSet
from analysis.opening import open_subject
from analysis.records import CaseEffect
from analysis.study import Study, write_whole
from saes.dictionary import Dictionary
from saes.intervention import RowInterventions
from saes.nearest import did_you_mean
from saes.plain_file import read_plain
from training.language_models.language_model import LanguageModel

DRAWS = 2000
CONTROLS = 20
"""Of each kind."""
TAKEN = ("workshop", "coding", "foretell", "dose", "scenes", "preference", "compare", "harsh-or-sweet")
"""Names of other cases."""
LEAST = {"controls": 0, "rollouts": 1, "tokens": 1}
BETWEEN = {"temperature": (0.0, 10.0), "top_p": (0.0, 1.0)}
"""What a case's numbers may be."""


@dataclass(frozen=True)
class BehaviourCase:
    name: str
    prompts: tuple[str, ...]
    scorers: Mapping[str, Any]
    """name -> what `scorers.scorer_of` takes."""
    concepts: tuple[str, ...]
    doses: tuple[float, ...] = (-1.0, 1.0)
    controls: int = CONTROLS
    """Of each kind, for every push."""
    rollouts: int = 1
    """Texts a prompt and arm."""
    tokens: int = 40
    temperature: float = 0.7
    top_p: float = 0.95
    chat: bool = False
    """Whether a prompt is a user's turn, put into the model's chat template."""
    stop: tuple[str, ...] = ()


@dataclass
class Written:
    """One text."""

    arm: str
    prompt: int
    rollout: int
    text: str
    scores: dict[str, float] = field(default_factory=dict)
    cost: float = float("nan")
    """Nats a token for the unclamped model."""


def read_case(path: str | Path) -> BehaviourCase:
    """A case's YAML or JSON file. Raises ValueError naming the field that is wrong."""
    held = read_plain(path)
    if not isinstance(held, dict):
        raise ValueError(f"{path} must hold fields: name, prompts, scorers, concepts")
    return case_from(held, str(path))


def case_from(held: Mapping[str, Any], source: str) -> BehaviourCase:
    known = list(BehaviourCase.__dataclass_fields__)
    for name in held:
        if name not in known:
            raise ValueError(f"{source}: there is no field {name!r}{did_you_mean(name, known)}")
    for name in ("name", "prompts", "scorers", "concepts"):
        if not held.get(name):
            raise ValueError(f"{source}: {name!r} is needed")
    values = dict(held)
    for name, kind in (("prompts", str), ("concepts", str), ("doses", (int, float)), ("stop", str)):
        if name in values:
            some = [values[name]] if isinstance(values[name], str) else values[name]
            if not isinstance(some, list) or not all(isinstance(one, kind) for one in some):
                raise ValueError(f"{source}: {name} must be a list, got {values[name]!r}")
            values[name] = tuple(some)
    for name, least in LEAST.items():
        if name in values and (type(values[name]) is not int or values[name] < least):
            raise ValueError(f"{source}: {name} must be a whole number, {least} or more, got {values[name]!r}")
    for name, (low, high) in BETWEEN.items():
        value = values.get(name, high)
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(f"{source}: {name} must be a number from {low:g} to {high:g}, got {value!r}")
    if type(values.get("chat", False)) is not bool:
        raise ValueError(f"{source}: chat must be true or false, got {values['chat']!r}")
    values["concepts"] = tuple(dict.fromkeys(values["concepts"]))
    if not isinstance(held["name"], str) or not re.fullmatch(r"\w[\w.-]*", held["name"]) or held["name"] in TAKEN:
        raise ValueError(
            f"{source}: name must be of letters, digits, dots and hyphens, and none of {', '.join(TAKEN)}; got {held['name']!r}"
        )
    if not isinstance(held["scorers"], dict):
        raise ValueError(f"{source}: scorers must map names to scorers")
    if "fluency" in held["scorers"]:
        raise ValueError(f"{source}: every case has a score of the name fluency already: name yours otherwise")
    return BehaviourCase(**values)


def behaviour(
    study: Study | str | Path, case: BehaviourCase, model: LanguageModel | str | Path | None = None, seed: int = 0,
    progress: bool = True, *, dictionary: Dictionary | None = None, concept_set: ConceptSet | None = None, device: str = "auto",
) -> list[CaseEffect]:  # fmt: skip
    """Writes every arm at every prompt, scores it, and adds the rows to the table `case_effects` (those of this name go).

    Texts go to `case_NAME.jsonl` batch by batch, what was asked to `case_NAME.prompts.json`; a run of the same settings that
    was stopped goes on after them.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    scorers = {name: scorer_of(f"scorers.{name}", held, device) for name, held in case.scorers.items()}
    if not case.concepts:
        raise ValueError(f"{case.name}: {study.folder} has a label of none of the case's concepts")
    for concept in case.concepts:
        study.label(concept)
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    prompts = _rendered(model, case)
    asked = json.dumps(prompts, indent=1, ensure_ascii=False).encode() + b"\n"
    write_whole(study.folder / f"case_{case.name}.prompts.json", asked)
    arms = case_arms(study, model, dictionary, hook_name, case.concepts, case.doses, case.controls, seed, concept_set)
    by_key = {arm.key: arm for arm in arms}
    settings = {
        **asdict(case), "seed": seed, "model": model.name, "sae_hash": study.info.sae_hash,
        "clamps": {arm.key: digest_of_clamp(arm.intervention) for arm in arms},
    }  # fmt: skip
    path = study.folder / f"case_{case.name}.jsonl"
    wanted = [
        (arm.key, place, number) for place in range(len(prompts)) for number in range(case.rollouts) for arm in arms
    ]
    with (
        Kept(path, settings, lambda piece: (piece["arm"], piece["prompt"], piece["rollout"])) as kept,
        tqdm(total=len(wanted), desc=case.name, unit="text", disable=not progress) as bar,
    ):
        left = [one for one in wanted if one not in kept]
        bar.update(len(wanted) - len(left))
        for start in range(0, len(left), ROWS):
            batch = left[start : start + ROWS]
            some = [by_key[key] for key, _, _ in batch]
            kept.add(map(asdict, _written(model, dictionary, hook_name, case, prompts, some, batch, scorers, seed)))
            bar.update(len(batch))
        written = [Written(**kept[one]) for one in wanted]
    rows = effects_of(case.name, arms, written, list(scorers), len(prompts), seed)
    study.write(
        "case_effects", [*(row for row in study.read("case_effects", CaseEffect) if row.case != case.name), *rows]
    )
    return rows


def _written(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, case: BehaviourCase, prompts: Sequence[str],
    arms: Sequence[CaseArm], batch: Sequence[tuple[str, int, int]], scorers: Mapping[str, Any], seed: int,
) -> list[Written]:  # fmt: skip
    given = [prompts[place] for _, place, _ in batch]
    luck = [seed * 1_000_000 + place * 1000 + number for _, place, number in batch]  # the same in every arm
    hook = RowInterventions([arm.intervention for arm in arms]).hook(dictionary)
    texts = model.generate(
        model.tokenise(given, add_bos=False) if case.chat else given,  # the template begins the text itself
        case.tokens,
        case.temperature,
        case.top_p,
        seed=luck,
        hooks={hook_name: hook},
        stop=list(case.stop) or None,
    )
    costs = text_cost(model, given, texts)
    scores = {name: score(given, texts) for name, score in scorers.items()}
    return [
        Written(*one, text, {name: values[at] for name, values in scores.items()}, float(costs[at]))
        for at, (one, text) in enumerate(zip(batch, texts, strict=True))
    ]


def effects_of(
    name: str,
    arms: Sequence[CaseArm],
    written: Sequence[Written],
    scorers: Sequence[str],
    n_prompts: int,
    seed: int = 0,
) -> list[CaseEffect]:
    """Each arm but none against none: mean difference over prompts, and a label's rank among the controls of its push."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(n_prompts, size=(DRAWS, n_prompts))
    columns = [*scorers, "fluency"]
    table = {arm.key: np.full((len(columns), n_prompts), np.nan) for arm in arms}
    found: dict[tuple[str, int], list[list[float]]] = {}
    for one in written:
        found.setdefault((one.arm, one.prompt), []).append([*(one.scores[name] for name in scorers), one.cost])
    for (key, place), values in found.items():
        if key in table:
            some = np.array(values, dtype=float)
            known = ~np.isnan(some)
            table[key][:, place] = np.where(
                known.any(axis=0), np.nansum(some, axis=0) / np.maximum(1, known.sum(axis=0)), np.nan
            )
    base = table[NONE]
    means = {key: np.nanmean(values - base, axis=1) for key, values in table.items()}
    rows = []
    for arm in arms:
        if arm.kind == NONE:
            continue
        like = [
            one.key
            for one in arms
            if one.kind.startswith("random") and (one.concept, one.dose) == (arm.concept, arm.dose)
        ]
        for at, scorer in enumerate(columns):
            difference = table[arm.key][at] - base[at]
            some = difference[drawn]
            alone = np.isfinite(difference).sum() < 2  # one prompt tells nothing of how far prompts differ
            low, high = (np.nan, np.nan) if alone else np.nanquantile(np.nanmean(some, axis=1), [0.025, 0.975])
            others = np.array([means[key][at] for key in like if key != arm.key])
            p = None
            if arm.kind in ("label", "diff_means") and len(others):
                middle = float(np.median(others))
                p = rank_p(abs(means[arm.key][at] - middle), np.abs(others - middle))
            rows.append(
                CaseEffect(
                    name, scorer, arm.kind, arm.concept, arm.id, arm.dose, float(np.nanmean(base[at])), float(means[arm.key][at]),
                    float(low), float(high), p, len(others), int(np.isfinite(difference).sum()),
                )
            )  # fmt: skip
    return rows


def _rendered(model: LanguageModel, case: BehaviourCase) -> list[str]:
    if not case.chat:
        return list(case.prompts)
    if not getattr(model.tokenizer, "chat_template", None):
        raise ValueError(f"{model.name} is no chat model (its tokenizer has no chat template): leave out chat")
    return [
        model.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        for prompt in case.prompts
    ]


def harsh_or_sweet(form: str = "story", **changes: Any) -> BehaviourCase:
    """Flawed work shown in hope of praise: how much the answer praises, criticises, and is harsh."""
    import tomllib

    held = tomllib.loads((Path(str(files("analysis.cases"))) / "feedback.toml").read_text(encoding="utf-8"))
    people = ("Anna", "Ben", "Ruth", "Tom", "Kate", "Max")
    prompts = tuple(
        work["chat"] if form == "chat" else work["story"].replace("{Name}", people[number % len(people)])
        for number, work in enumerate(held["work"])
    )
    scorers = {name: {"words": held[name]} for name in ("praise", "criticism", "harsh")}
    given: dict[str, Any] = {"concepts": ("happy", "loving", "calm", "angry", "afraid", "desperate"), "chat": form == "chat",
                             "rollouts": 2, "stop": () if form == "chat" else ('"',)}  # fmt: skip
    return BehaviourCase("harsh-or-sweet", prompts, scorers, **{**given, **changes})
