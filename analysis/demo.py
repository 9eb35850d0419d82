"""The whole journey on one model, from top to bottom: train, choose, label, validate, workshop, report.

demo("checkpoints/demo") -> the summary; the folder then holds saes/ (those trained), sae/ (the chosen one), study/,
report.html, picture.png, summary.json
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analysis.concepts.concept import load_concepts
from analysis.figures import ARMS, picture
from analysis.records import CLAIMS, Baseline, ClampResult, Label, WorkshopArm
from analysis.report.content import content, headline
from analysis.report.report import write_report
from analysis.study import Study

STAGES = ("train", "choose", "label", "validate", "workshop", "report")
FACTS = ("explained_variance", "l0", "dead", "ce_recovered")
N_IMPOSSIBLE, N_POSSIBLE = 60, 40
"""Episodes of the workshop in each arm."""
CANDIDATES = 3
"""SAEs, of seeds one after the other, that are trained on the same activations; finding texts decide which goes on."""
CONTROLS = 30
"""Random latents, and as many random directions, that all labels are measured against."""
PROMPTS = 36
"""Neutral prompts that labels are clamped at: a third to choose the dose on."""
CLAMP_DOSES = (0.5, 1.0, 2.0, 4.0)
CONTINUATIONS = 2
"""Fewer doses and texts than `saes validate` takes, for the sake of the clock: what has a small effect goes unseen."""
CONTROL_ARMS = 2
"""A group of random latents and a random direction that the workshop pushes as far as it pushes `desperate`, down and up."""


def demo(
    out: str | Path = "checkpoints/demo",
    *,
    model: str = "storyteller",
    concepts: str | Path = "core",
    recipe: str = "storyteller",
    settings: Sequence[str] = (),
    doses: Sequence[float] = CLAMP_DOSES,
    controls: int = CONTROLS,
    seed: int = 0,
    device: str = "auto",
    fresh: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Runs every stage and returns what summary.json holds.

    A stage that an earlier call finished with the same settings is not done twice, and one that was interrupted goes on
    where it can; `fresh` begins again. `settings` are "field=value" changes to the SAE's recipe.
    """
    from analysis.cases.pushes import CLAMPED
    from analysis.cases.workshop import workshop
    from analysis.clamping.journey import validate
    from analysis.labelling.candidates import most_promising
    from analysis.labelling.journey import label
    from training.language_models.opening import find_folder, open_model
    from training.loop import FREE, train
    from training.recipes import recipe as recipe_named

    out = Path(out)
    saes, sae, study_folder = out / "saes", out / "sae", out / "study"
    spec = (
        recipe_named(recipe).with_fields(model=model, out=str(saes), seed=seed, device=device).with_settings(settings)
    )
    spec = spec.with_fields(grid={"seed": [spec.seed + number for number in range(CANDIDATES)], **spec.grid})
    language_model, concept_set = open_model(model, device), load_concepts(concepts)
    decisive = {name: value for name, value in json.loads(spec.to_json()).items() if name not in FREE}
    plan = {
        "train": {**decisive, "model_hash": _weights_hash(find_folder(model))},
        "choose": {"concepts": concept_set.hash},
        "label": {"concepts": concept_set.hash, "claims": CLAIMS},
        "validate": {
            "claims": CLAIMS,
            "doses": list(doses),
            "controls": controls,
            "prompts": PROMPTS,
            "continuations": CONTINUATIONS,
        },
        "workshop": {
            "n_impossible": N_IMPOSSIBLE,
            "n_possible": N_POSSIBLE,
            "controls": CONTROL_ARMS,
            "dose": "chosen",
        },
        "report": {},
    }
    stages = Stages(out, plan, fresh)

    def training() -> None:
        _clear_unless(saes, decisive)
        train(spec, progress=progress, resume=saes.exists())

    def choosing() -> None:
        found = [member.folder for member in spec.members()]
        best, worth = most_promising(found, concept_set, language_model, seed)
        shutil.rmtree(sae, ignore_errors=True)
        shutil.copytree(best, sae)
        _write_json(out / "chosen.json", {"chosen": best.name, "worth": worth})
        print(
            "worth on finding texts: " + ", ".join(f"{name} {value:.3f}" for name, value in worth.items()),
            file=sys.stderr,
        )

    def labelling() -> None:
        if (study_folder / "study.json").exists():  # tables of an earlier SAE must not stay beside the new labels
            shutil.rmtree(study_folder)
        label(sae, concepts, language_model, study_folder, seed=seed, progress=progress)

    def validating() -> None:
        study = Study.open(study_folder)
        if any(one.status != "rejected" for one in study.labels()):
            validate(
                study,
                None,
                doses,
                controls,
                language_model,
                seed,
                progress,
                concept_set=concept_set,
                prompts=PROMPTS,
                continuations=CONTINUATIONS,
            )

    def working() -> None:
        if set(CLAMPED) <= set(concept_set.concepts):
            workshop(Study.open(study_folder), language_model, N_IMPOSSIBLE, N_POSSIBLE, controls=CONTROL_ARMS, seed=seed + 1,
                     progress=progress, concepts=CLAMPED, rivals=False, concept_set=concept_set)  # fmt: skip

    def reporting() -> None:
        study, quality = Study.open(study_folder), _quality(sae)
        write_report(study, out / "report.html", {"quality": quality, "seconds": stages.seconds})
        shown = content(study)
        picture(out / "picture.png", shown.marks, shown.workshop)

    for stage, work, leaves in (
        ("train", training, saes / "sweep.json"),
        ("choose", choosing, sae / "cfg.json"),
        ("label", labelling, study_folder / "labels.parquet"),
        ("validate", validating, study_folder / "labels.parquet"),
        ("workshop", working, study_folder / "study.json"),
        ("report", reporting, out / "report.html"),
    ):
        stages.run(stage, work, leaves)
    summary = summarise(Study.open(study_folder), _quality(sae), stages.seconds)
    _write_json(out / "summary.json", summary)
    return summary


def summarise(study: Study, quality: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """What summary.json holds; a share that nothing was counted for is null."""
    counts = headline(study.read("labels", Label), study.read("baselines", Baseline), study.read("clamps", ClampResult))
    arms = {arm.arm: arm for arm in study.read("workshop", WorkshopArm)}
    return {
        "sae": {name: quality.get(name) for name in FACTS},
        **counts,
        "workshop": {
            "cheat_rate": {name: _known(arm.cheat_rate) for name, arm in arms.items()},
            "cheat_interval": {name: [arm.cheat_low, arm.cheat_high] for name, arm in arms.items()},
            "invalid": {name: _known(arm.invalid_rate) for name, arm in arms.items()},
            "solve_rate": {name: _known(arm.solve_rate) for name, arm in arms.items()},
            "n": min((arm.n_impossible for arm in arms.values()), default=0),
        },
        "seconds": seconds,
    }


def ending(summary: dict[str, Any], out: str | Path) -> str:
    """The short table at the end."""
    sae, labels, clamps, work = (summary[part] for part in ("sae", "labels", "clamps", "workshop"))
    rates = ", ".join(
        f"{name.replace('_', ' ')} {_percent(rate)} [{_percent(low)}, {_percent(high)}]"
        for name, rate in work["cheat_rate"].items()
        if name in ARMS
        for low, high in [work["cheat_interval"][name]]
    )
    rows = [
        (
            "SAE",
            f"explained variance {_number(sae['explained_variance'], 3)}, L0 {_number(sae['l0'], 1)}, dead "
            f"{_percent(sae['dead'])}, cross-entropy recovered {_number(sae['ce_recovered'], 3)}",
        ),
        (
            "labels",
            f"{labels['held_single']} of {labels['concepts']} concepts held by one latent, {labels['held_recipe']} by a "
            f"recipe, {labels['distinct_latents']} distinct latents",
        ),
        (
            "median AUROC",
            f"checking {_number(labels['auroc_checking_median'])}, implicit {_number(labels['implicit_auroc_median'])}; "
            f"difference of means {_number(labels['diff_means_auroc_median'])}, probe "
            f"{_number(labels['probe_auroc_median'])}, untrained SAE {_number(labels['random_sae_auroc_median'])}",
        ),
        (
            "clamps",
            f"{clamps['validated']} of {clamps['tested']} labels validated, {clamps['written_validated']} of "
            f"{clamps['written_tested']} sets of latents that write a concept, {clamps['concepts_validated']} of "
            f"{clamps['concepts']} concepts by either; controls {clamps['control_validated']} of "
            f"{clamps['control_tested']} (concepts with one: {clamps['concepts_with_a_control']}); difference of means {clamps['diff_means_validated']} of {clamps['diff_means_tested']}",
        ),
        ("cheating", f"{rates or 'not run'} (n = {work['n']} impossible tasks an arm)"),
        ("seconds", ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in summary["seconds"].items())),
        ("look at", f"{Path(out) / 'report.html'}"),
    ]
    return "\n".join(f"{name:<14}{what}" for name, what in rows)


class Stages:
    """Runs stages in order, notes what each took, and skips what an earlier call finished with the same settings.

    A stage counts as done only where it and everything before it ran with the settings of now.
    """

    def __init__(self, out: Path, plan: dict[str, Any], fresh: bool = False):
        self.path, self.plan = out / "stages.json", json.loads(json.dumps(plan))
        out.mkdir(parents=True, exist_ok=True)
        before = {} if fresh or not self.path.exists() else json.loads(self.path.read_text())
        if fresh and self.path.exists():  # only what a demo left here
            for part in (out / "saes", out / "sae", out / "study"):
                shutil.rmtree(part, ignore_errors=True)
        self.done: dict[str, Any] = {}
        for stage in plan:  # up to the first one that differs
            if stage not in before or before[stage]["settings"] != self.plan[stage]:
                break
            self.done[stage] = before[stage]
        self.seconds: dict[str, float] = {stage: found["seconds"] for stage, found in self.done.items()}

    def run(self, stage: str, work: Callable[[], None], leaves: Path) -> None:
        if stage in self.done and leaves.exists():
            print(f"[{stage}] done before", file=sys.stderr)
            return
        self.done = {
            name: self.done[name] for name in list(self.plan)[: list(self.plan).index(stage)] if name in self.done
        }
        print(f"[{stage}]", file=sys.stderr)
        began = time.monotonic()
        work()
        self.seconds[stage] = round(time.monotonic() - began, 1)
        print(f"[{stage}] {self.seconds[stage]:.0f} s", file=sys.stderr)
        self.done[stage] = {"settings": self.plan[stage], "seconds": self.seconds[stage]}
        _write_json(self.path, self.done)


def _clear_unless(saes: Path, settings: dict[str, Any]) -> None:
    """Takes away what an earlier demo trained here with other settings."""
    path = saes / "spec.json"
    if path.exists():
        before = json.loads(path.read_text())
        if any(before.get(name) != value for name, value in settings.items()):
            shutil.rmtree(saes)


def _weights_hash(folder: str | None) -> str:
    """Of a local model's weights, so that a retrained model is not taken for the old one; empty for a hub name."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")) if folder else ():
        digest.update(path.read_bytes())
    return digest.hexdigest() if folder else ""


def _quality(sae: Path) -> dict[str, Any]:
    return json.loads((sae / "quality.json").read_text())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(part, path)


def _known(value: float) -> float | None:
    return None if value != value else value


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
