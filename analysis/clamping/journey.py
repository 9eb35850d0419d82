"""The validation journey: a study with held labels -> the same study with one battery over all of them, and verdicts."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.clamping.battery import Battery, clamp_results, concept_effects, dose_points, trials
from analysis.clamping.finished import Finished, digest_of
from analysis.clamping.judge import Judge, judge_for
from analysis.clamping.matching import GRID, PUSHES, pushes_for, targets
from analysis.clamping.necessity import necessity
from analysis.clamping.plan import (
    DOSES,
    DOWN,
    RIVAL,
    Arm,
    Control,
    Prompt,
    claim_kind,
    continued,
    control_pool,
    curve_arms,
    label_arm,
    rival_arms,
    split_prompts,
    told_arms,
)
from analysis.clamping.trial import NEW_TOKENS, TrialRoom, joined
from analysis.clamping.verdict import VerdictRule, bootstrap_means, choose_dose
from analysis.concepts.concept import ConceptSet
from analysis.observe import sample_firings
from analysis.opening import as_labelled, concept_set_of, open_subject
from analysis.records import CLAIMS, Label, Writer
from analysis.study import Study
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel

RULE = VerdictRule()
JUDGED = ("validated", "no effect", "unspecific", "breaks fluency")
"""The statuses that this journey gives."""
CONTROLS = 40
"""Of each of two kinds: groups of random latents, and random directions."""
CONTINUATIONS = 3
"""Texts that are written from each prompt under each arm. A short text is mostly luck: with one from each of 35
prompts, an effect had to be a quarter to three quarters of the way to be seen (`ClampResult.detectable`)."""
KL_PROMPTS = 6
"""Choosing prompts on which the controls' pushes are matched to the claims' KL."""


def validate(
    study: Study | str | Path,
    concepts: Sequence[str] | None = None,
    doses: Sequence[float] | None = None,
    controls: int = CONTROLS,
    model: LanguageModel | str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
    *,
    rule: VerdictRule = RULE,
    concept_set: ConceptSet | str | Path | None = None,
    dictionary: Dictionary | None = None,
    judge_texts: str | Path | None = None,
    prompts: int | None = None,
    continuations: int = CONTINUATIONS,
    new_tokens: int = NEW_TOKENS,
    device: str = "auto",
) -> Study:
    """Clamps the study's held labels beside controls that all of them share, and gives each its verdict.

    So are the latents that write each of these concepts (`analysis/labelling/writers.py`), as a second claim beside the label.
    Writes `trials`, `clamps`, `curves`, `effects`, `necessity` and the status of labels and writers. `concepts` are names of held
    labels (default: all of them), `controls` how many there are of each of two kinds, `prompts` how many neutral prompts
    are used (default: all), `continuations` how many texts are written from each (one at the doses that no verdict is about); a
    prompt counts by their mean. What a run that was stopped had
    finished with the same settings is not done again. Raises ValueError or FileNotFoundError, in one line, for input
    that cannot be used.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    doses = tuple(sorted({float(dose) for dose in (doses or DOSES)}))
    if prompts is not None and prompts < 3:
        raise ValueError(f"at least 3 prompts are needed, one to choose the dose on, got {prompts}")
    if continuations < 1:
        raise ValueError(f"at least 1 text is written from each prompt, got {continuations}")
    if min(doses) <= 0:
        raise ValueError(f"doses are positive numbers of label units, got {', '.join(map(str, doses))}")
    labels = study.held(concepts, "validated")
    concept_set = concept_set_of(study, concept_set)
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    settings = {
        "doses": list(doses),
        "controls": controls,
        "seed": seed,
        "prompts": prompts,
        "continuations": continuations,
        "curve_continuations": 1,
        "new_tokens": new_tokens,
        "rule": asdict(rule),
        "judge_texts": str(judge_texts or concept_set.name),
        "model": model.name,
        "sae_hash": study.info.sae_hash,
    }
    diff_means, concepts_clamped = study.diff_means(), {label.concept for label in labels}
    writers = [one for one in study.read("writers", Writer) if one.concept in concepts_clamped]
    claims: list[Label | Writer] = [*labels, *writers]
    digest = digest_of({
        **settings, "concept_hash": concept_set.hash, "judge_texts_held": _content(judge_texts),
        "claims": [[claim_kind(one), one.concept, one.latents, one.weights, one.scales] for one in claims],
    })  # fmt: skip
    if study.info.settings.get("validate", {}).get("finished") == digest and study.read("clamps"):
        return study

    firings = sample_firings(as_labelled(model, study), dictionary, hook_name, concept_set, seed)
    density, scales = firings.density(), firings.scales()
    claimed: list[Label | Writer] = [*study.labels(chosen=False), *writers]
    taken = sorted({latent for one in claimed for latent in one.latents})
    models = [one for pair in zip_longest(labels, writers) for one in pair if one]
    pool = control_pool(models, controls, dictionary, taken=taken, density=density, scales=scales, seed=seed)
    choosing, reporting = split_prompts(concept_set, seed, prompts)
    judge = judge_for([label.concept for label in labels], concept_set, judge_texts, seed)
    for name in judge.concepts:
        if not concept_set.concepts[name].readout_words:
            raise ValueError(f"{concept_set.name}: {name} has no readout words, which every clamp is read on: add some")
    words = [concept_set.concepts[name].readout_words for name in judge.concepts]
    room = TrialRoom(model, dictionary, hook_name, judge, words, new_tokens)
    tries, reports = continued(choosing, continuations), continued(reporting, continuations)
    room.write_baselines([*tries, *reports])  # what cannot be used is said before anything is taken back
    study.update_info(settings={**study.info.settings, "validate": {**_about(judge), **settings}})
    _take_back(study)
    finished = Finished(study.folder / "battery", digest)

    with tqdm(
        total=_rows(claims, diff_means, len(doses), len(pool), len(tries), len(reports), len(reporting)),
        desc="validate", unit="row", disable=not progress,
    ) as bar:  # fmt: skip
        bar.set_postfix_str("doses")
        tried = [label_arm(claim, dose, dictionary) for claim in claims for dose in doses]
        at_doses = room.run(tried, tries, "dose", finished, bar.update)
        by_dose = at_doses.by_prompt(continuations)
        at, kls = [], []
        for number, claim in enumerate(claims):
            mine = by_dose.of(range(number * len(doses), (number + 1) * len(doses)))
            effect = mine.judge[..., judge.concepts.index(claim.concept)].mean(axis=1)
            place = choose_dose(
                rule, doses, effect, np.array([_most_cost(costs, rule, seed) for costs in mine.fluency])
            )
            at.append(doses[place])
            kls.append(float(mine.kl[place].mean()))

        bar.set_postfix_str("controls' pushes")
        dosed = list(zip(claims, at, strict=True))
        middle = float(np.median([label_arm(claim, dose, dictionary).push for claim, dose in dosed]))
        told = [arm for claim, dose in dosed for arm in told_arms(claim, dose, dictionary)]
        told += [
            arm
            for label, dose in dosed
            if isinstance(label, Label) and label.concept in diff_means
            for arm in rival_arms(label, dose, dictionary, diff_means[label.concept])
        ]
        told += control_arms(pool, room, choosing[:KL_PROMPTS], middle, kls)
        curves = [arm for claim, dose in dosed for arm in curve_arms(claim, dose, doses, dictionary)]
        bar.set_postfix_str("report")
        reported = room.run(told, reports, "report", finished, bar.update)
        bar.set_postfix_str("curves")
        drawn = room.run(curves, reporting, "report", finished, bar.update)

    families = {name: concept.family for name, concept in concept_set.concepts.items()}
    mean_length = float(study.info.settings.get("mean_activation_length", 1.0))
    effects = joined([reported.by_prompt(continuations), drawn])
    chosen = {(claim_kind(claim), claim.concept): dose for claim, dose in dosed}
    battery = Battery([*told, *curves], reporting, effects, chosen, judge, families, rule, mean_length, seed)
    results = clamp_results(battery)
    with tqdm(total=len(labels), desc="ablate", unit="label", disable=not progress) as bar:
        needed = necessity(
            labels, concept_set, model, dictionary, hook_name, judge, density, taken, rule, seed, bar.update
        )
    study.write("trials", [
        *trials(tried, tries, at_doses, room.baselines, judge.concepts, "dose"),
        *trials(told, reports, reported, room.baselines, judge.concepts, "report"),
        *trials(curves, reporting, drawn, room.baselines, judge.concepts, "report"),
    ])  # fmt: skip
    study.write("curves", dose_points(battery))
    study.write("effects", concept_effects(battery))
    study.write("necessity", needed)
    study.write("clamps", results)
    status = {(one.arm, one.concept): one.status for one in results if one.arm in CLAIMS}
    study.write("writers", [
        replace(one, status=status.get(("written", one.concept), one.status)) for one in study.read("writers", Writer)
    ])  # fmt: skip
    study.write("labels", [
        replace(label, status=status["label", label.concept])
        if label.chosen and status.get(("label", label.concept)) in JUDGED else label
        for label in study.labels(chosen=False)
    ])  # fmt: skip
    study.update_info(settings={**study.info.settings, "validate": {**_about(judge), **settings, "finished": digest}})
    finished.remove()
    return study


def control_arms(
    pool: Sequence[Control], room: TrialRoom, prompts: Sequence[Prompt], middle: float, kls: Sequence[float]
) -> list[Arm]:
    """Every control at the pushes at which it moves the model's output as far as the claims do, weak to strong."""
    grid = middle * np.array(GRID)
    tried = room.output_kl([control.arm(push) for control in pool for push in grid], prompts)
    pushes = pushes_for(tried.mean(axis=1).reshape(len(pool), len(grid)), grid, targets(kls))
    return [control.arm(float(push)) for control, row in zip(pool, pushes, strict=True) for push in row]


def _most_cost(costs: Float[np.ndarray, " prompt"], rule: VerdictRule, seed: int) -> float:
    """The upper end of the interval of the mean cost, where anything was written; NaN where nothing ever was."""
    known = costs[~np.isnan(costs)]
    return float(bootstrap_means(known[:, None], rule, seed)[2][0]) if len(known) else float("nan")


def _take_back(study: Study) -> None:
    """Verdicts and tables of an earlier run: nothing of a run with other settings may pass for this one's."""
    for table in ("clamps", "trials", "curves", "effects", "necessity"):
        study.write(table, [])
    study.write("writers", [replace(one, status="candidate") for one in study.read("writers", Writer)])
    study.write("labels", [
        replace(label, status="held") if label.status in JUDGED else label for label in study.labels(chosen=False)
    ])  # fmt: skip


def _about(judge: Judge) -> dict[str, float | int]:
    """What a reader should know of the judges."""
    return {
        "judge_concepts": len(judge.concepts),
        "judge_auroc_median": float(np.median(judge.auroc)),
        "judge_auroc_least": float(judge.auroc.min()),
        "judge_texts_least": min(judge.n_own),
    }


def _content(judge_texts: str | Path | None) -> str:
    """What the file of judge texts holds; "" where none is named by its path."""
    return Path(judge_texts).read_text(encoding="utf-8") if judge_texts and Path(judge_texts).is_file() else ""


def _rows(
    claims: Sequence[Label | Writer], diff_means: dict, n_doses: int, n_controls: int, n_choosing: int, n_reports: int,
    n_reporting: int,
) -> int:  # fmt: skip
    """How many rows are written on."""
    labels = [one for one in claims if isinstance(one, Label)]
    rivals = sum(label.concept in diff_means for label in labels)
    told = 2 * len(claims) + len(labels) + rivals * len(RIVAL) + n_controls * PUSHES
    curves = len(claims) * (n_doses - 1 + len(DOWN))
    return len(claims) * n_doses * n_choosing + told * n_reports + curves * n_reporting
