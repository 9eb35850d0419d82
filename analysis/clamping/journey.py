"""The validation journey: a study with held labels -> the same study with clamps, each label with its verdict."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.clamping.judge import judge_for
from analysis.clamping.plan import DOSES, dose_arms, report_arms, split_prompts
from analysis.clamping.trial import NEW_TOKENS, TrialRoom
from analysis.clamping.verdict import VerdictRule, choose_dose, judge_arms
from analysis.concepts.concept import ConceptSet
from analysis.labelling.split import text_table
from analysis.observe import observe
from analysis.opening import concept_set_of, open_subject
from analysis.records import ClampResult, Label, Trial
from analysis.study import Study
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel

RULE = VerdictRule()
JUDGED = ("validated", "no effect", "unspecific", "breaks fluency")
"""The statuses that this journey gives."""
DENSITY_TEXTS = 300
"""Texts read to find out how often each latent fires, for controls of like density."""


def validate(
    study: Study | str | Path,
    concepts: Sequence[str] | None = None,
    doses: Sequence[float] | None = None,
    controls: int = 6,
    model: LanguageModel | str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
    *,
    rule: VerdictRule = RULE,
    concept_set: ConceptSet | str | Path | None = None,
    dictionary: Dictionary | None = None,
    judge_texts: str | Path | None = None,
    new_tokens: int = NEW_TOKENS,
    device: str = "auto",
) -> Study:
    """Clamps the study's held labels beside controls, gives each its verdict; writes `trials`, `clamps`, `labels`.

    `concepts` are names of held labels (default: all of them), `controls` how many controls there are of each of three
    kinds. A concept that was finished before with the same settings is not done again, so that a run that was stopped
    goes on where it was. Raises ValueError or FileNotFoundError, in one line, for input that cannot be used.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    doses = tuple(float(dose) for dose in (doses or DOSES))
    if min(doses) <= 0:
        raise ValueError(f"doses are positive numbers of label units, got {', '.join(map(str, doses))}")
    labels = _wanted(study, concepts)
    concept_set = concept_set_of(study, concept_set)
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)

    judge = judge_for([label.concept for label in labels], judge_texts, seed)
    checking = [(name, text.text) for name, concept in concept_set.concepts.items() for text in concept.of("checking")]
    settings = {
        "doses": list(doses),
        "controls": controls,
        "seed": seed,
        "new_tokens": new_tokens,
        "rule": asdict(rule),
        "judge_texts": str(judge_texts or "storyworld"),
        "model": model.name,
        "sae_hash": study.info.sae_hash,
    }
    trials, clamps = _finished(study, settings)
    judged = {"judge_accuracy": judge.accuracy, "judge_accuracy_checking": judge.accuracy_on(checking),
              "judge_concepts": len(judge.concepts), "judge_n_checking": len(checking)}  # fmt: skip
    study.write("clamps", clamps)  # first of the three: nothing of a run with other settings may pass for finished
    study.write("trials", trials)
    study.write("labels", _reopened(study, {clamp.concept for clamp in clamps}))
    study.update_info(settings={**study.info.settings, "validate": {**settings, **judged}})

    left = [label for label in labels if label.concept not in {clamp.concept for clamp in clamps}]
    room = TrialRoom(model, dictionary, hook_name, judge, new_tokens)
    density = _density(model, dictionary, hook_name, concept_set, seed) if left else np.zeros(0)
    taken = sorted({latent for label in study.labels(chosen=False) for latent in label.latents})
    diff_means = _diff_means(study)
    mean_length = float(study.info.settings.get("mean_activation_length", 1.0))

    with tqdm(
        total=_rows(left, concept_set, doses, controls, seed), desc="validate", unit="row", disable=not progress
    ) as bar:
        for label in left:
            name, words = label.concept, concept_set.concepts[label.concept].readout_words
            bar.set_postfix_str(name)
            choosing, reporting = split_prompts(concept_set, name, seed)
            tried = room.run(dose_arms(label, doses, dictionary), choosing, words, "dose", bar.update)
            arms = report_arms(
                label, choose_dose(rule, tried), dictionary, others=_others(study, label, concept_set), taken=taken,
                density=density, diff_means=diff_means.get(name), controls=controls, seed=seed,
            )  # fmt: skip
            reported = room.run(arms, reporting, words, "report", bar.update)
            results = judge_arms(arms, reported, rule, mean_length, seed)

            trials, clamps = trials + tried + reported, clamps + results
            study.write("trials", trials)
            study.write("labels", _with_status(study, name, results[0].status))
            study.write("clamps", clamps)  # last: a concept that stands here is finished
    return study


def _wanted(study: Study, concepts: Sequence[str] | None) -> list[Label]:
    """The held labels that were asked for."""
    held = {label.concept: label for label in study.labels() if label.status in ("held", *JUDGED)}
    if not held:
        raise ValueError(f"{study.folder} has no held label to validate")
    for name in concepts or ():
        if name not in held:
            status = study.label(name).status  # ValueError where there is no label at all
            raise ValueError(
                f"the label of {name!r} is {status}: only held labels are validated ({', '.join(sorted(held))})"
            )
    return [held[name] for name in dict.fromkeys(concepts or held)]


def _finished(study: Study, settings: dict) -> tuple[list[Trial], list[ClampResult]]:
    """What an earlier run with the same settings has done; nothing of a run with others, nor of half a concept."""
    before = study.info.settings.get("validate", {})
    if any(before.get(key) != value for key, value in settings.items()):
        return [], []
    labels = {label.concept: label for label in study.labels()}
    clamps = [clamp for clamp in study.read("clamps", ClampResult) if labels[clamp.concept].status in JUDGED]
    done = {clamp.concept for clamp in clamps}
    return [trial for trial in study.read("trials", Trial) if trial.concept in done], clamps


def _density(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, concept_set: ConceptSet, seed: int
) -> Float[np.ndarray, " d_sae"]:
    """How often each latent fires on a sample of finding texts."""
    table = text_table(concept_set)
    finding = np.flatnonzero(table.split == "finding")
    sample = np.random.default_rng(seed).permutation(finding)[:DENSITY_TEXTS]
    return observe(model, dictionary, hook_name, [table.texts[text] for text in sample]).firings.density()


def _diff_means(study: Study) -> dict[str, np.ndarray]:
    path = study.folder / "diff_means.npz"
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _others(study: Study, label: Label, concept_set: ConceptSet) -> list[Label]:
    """The chosen labels of other families that were held."""
    family = concept_set.family_of(label.concept)
    return [other for other in study.labels() if other.concept not in family and other.status != "rejected"]


def _rows(labels: Sequence[Label], concept_set: ConceptSet, doses: Sequence[float], controls: int, seed: int) -> int:
    """About how many rows there are to run; exact where there are labels enough for all controls."""
    total = 0
    for label in labels:
        choosing, reporting = split_prompts(concept_set, label.concept, seed)
        total += len(doses) * len(choosing) + (3 + 3 * controls) * len(reporting)
    return total


def _reopened(study: Study, done: set[str]) -> list[Label]:
    """All labels, a verdict of which no trial is left being taken back."""
    return [
        replace(label, status="held") if label.status in JUDGED and label.concept not in done else label
        for label in study.labels(chosen=False)
    ]


def _with_status(study: Study, concept: str, status: str) -> list[Label]:
    """All labels, the concept's chosen one with its verdict."""
    return [
        replace(label, status=status) if label.chosen and label.concept == concept else label
        for label in study.labels(chosen=False)
    ]
