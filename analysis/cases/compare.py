"""Two models (base and tuned, or two checkpoints of a run) read through one SAE: which labels' levels differ, on the same prompts.

The dictionary is the study's; the other model must have the same width at the site. A shift is paired by prompt. That both
models share the directions is an assumption: how well the SAE reconstructs the other model's activations stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.cases.arms import random_labels
from analysis.cases.kept import write_lines
from analysis.concepts.concept import ConceptSet
from analysis.intervals import control_span
from analysis.labelling.scores import benjamini_hochberg
from analysis.monitoring.reader import LevelReader
from analysis.opening import concept_set_of, open_subject
from analysis.records import LevelShift
from analysis.study import Study
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

DRAWS = 4000
CONTROLS = 60


@dataclass(frozen=True)
class Comparison:
    shifts: list[LevelShift]
    explained: tuple[float, float]
    """Share of the variance of the prompts' activations that the SAE explains, in the study's model and in the other."""


def compare(
    study: Study | str | Path, other: LanguageModel | str | Path, model: LanguageModel | str | Path | None = None,
    prompts: Sequence[str] | None = None, name: str = "", concepts: Sequence[str] | None = None, controls: int = CONTROLS,
    seed: int = 0, progress: bool = True, *, dictionary: Dictionary | None = None, concept_set: ConceptSet | None = None,
    device: str = "auto",
) -> Comparison:  # fmt: skip
    """Writes the table `level_shifts` and `compare_transcripts.jsonl` (what was read, and both models' levels).

    Prompts: by default the study's neutral openings and its neutral checking texts.

    Raises ValueError where the other model's width at the site is another.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    labels = [study.label(one) for one in concepts] if concepts else [one for one in study.labels() if one.is_held]
    if not labels:
        raise ValueError(f"no label of {study.folder} held: name concepts")
    if prompts is not None and not prompts:
        raise ValueError(f"there is no prompt to read both models on: {name or 'none was given'}")
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    other = open_model(str(other), device) if isinstance(other, (str, Path)) else other
    if other.width(hook_name) != dictionary.d_in:
        raise ValueError(
            f"{other.name} has width {other.width(hook_name)} at {hook_name}, and the SAE of {study.folder} reads {dictionary.d_in}"
        )
    held = concept_set_of(study, concept_set)
    if prompts is None:
        prompts = [text.text for split in ("prompt", "checking") for text in held.neutral.get(split, ())]
        name = name or f"neutral texts of {held.name}"
    nulls = random_labels(labels, study, model, dictionary, hook_name, controls, seed, held)
    levels, explained = [], []
    for one in tqdm((model, other), desc="compare", unit="model", disable=not progress):
        reader = LevelReader(one, dictionary, hook_name, [*labels, *nulls])
        levels.append(np.stack([found.mean(axis=0) for found in reader.texts(prompts)]))
        explained.append(_explained(one, dictionary, hook_name, prompts))
    own, theirs = levels
    shifts = theirs - own
    random = shifts[:, len(labels) :].mean(axis=0)
    null, band = np.abs(random), control_span(random)
    rows = []
    for at, label in enumerate(labels):
        mine = shifts[:, at]
        low, high, p = paired(mine, seed)
        share = float(np.mean(null >= abs(mine.mean()))) if len(null) else float("nan")
        family = held.concepts[label.concept].family if label.concept in held.concepts else ""
        rows.append(
            LevelShift(
                label.concept, family, model.name, other.name, name or "prompts given", float(own[:, at].mean()),
                float(theirs[:, at].mean()), float(mine.mean()), low, high, p, 1.0, share, len(null), len(prompts), *band,
            )
        )  # fmt: skip
    q = benjamini_hochberg(np.array([one.p for one in rows]))
    rows = [replace(one, q=float(value)) for one, value in zip(rows, q, strict=True)]
    study.write("level_shifts", rows)
    write_lines(
        study.folder / "compare_transcripts.jsonl",
        (
            {"text": prompt, "levels": {
                label.concept: [round(float(own[number, at]), 6), round(float(theirs[number, at]), 6)] for at, label in enumerate(labels)
            }}
            for number, prompt in enumerate(prompts)
        ),
    )  # fmt: skip
    return Comparison(rows, (explained[0], explained[1]))


def paired(differences: Float[np.ndarray, " prompt"], seed: int = 0) -> tuple[float, float, float]:
    """Bootstrap interval of the mean over prompts, and p by flipping signs (both ways)."""
    rng = np.random.default_rng(seed)
    n = len(differences)
    drawn = differences[rng.integers(n, size=(DRAWS, n))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    flipped = np.abs((rng.choice([-1.0, 1.0], size=(DRAWS, n)) * differences).mean(axis=1))
    return float(low), float(high), float((1 + np.sum(flipped >= abs(differences.mean()) - 1e-12)) / (1 + DRAWS))


def _explained(model: LanguageModel, dictionary: Dictionary, hook_name: str, prompts: Sequence[str]) -> float:
    """1 - error / variance of the activations at the prompts' tokens."""
    import torch

    kept = []
    with torch.no_grad():
        for start in range(0, len(prompts), 64):
            tokens = model.tokenise(prompts[start : start + 64]).to(model.device)
            kept.append(model.activations(tokens, [hook_name])[hook_name][tokens.keep].float())
        x = torch.cat(kept)
        error = (dictionary.decode(dictionary.encode(x)) - x).square().sum()
    return float(1 - error / (x - x.mean(dim=0)).square().sum())
