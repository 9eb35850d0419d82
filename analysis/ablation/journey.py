"""The ablation journey: a study with held labels -> the same study with what the model loses without their latents."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from analysis.ablation.groups import Group, groups_of, matched_groups
from analysis.ablation.heat_map import heat_map
from analysis.ablation.measures import Changes, Loss, Measure, Readouts, Workshop
from analysis.clamping.verdict import VerdictRule, bootstrap_means
from analysis.concepts.concept import ConceptSet
from analysis.observe import sample_firings
from analysis.opening import as_labelled, concept_set_of, open_subject
from analysis.records import Ablation
from analysis.study import Study, write_whole
from saes.dictionary import Dictionary
from saes.nearest import did_you_mean
from training.language_models.language_model import LanguageModel

METRICS = ("loss", "readouts", "workshop")
RULE = VerdictRule()
"""How intervals are drawn: as those of clamps."""
EPISODES = (12, 8)
"""Impossible and possible tasks of the workshop that every group plays."""


def ablate(
    study: Study | str | Path,
    groups: str = "each",
    metric: str = "loss",
    concepts: Sequence[str] | None = None,
    controls: int = 20,
    model: LanguageModel | str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
    *,
    episodes: tuple[int, int] = EPISODES,
    concept_set: ConceptSet | str | Path | None = None,
    dictionary: Dictionary | None = None,
    device: str = "auto",
) -> Study:
    """Ablates groups of labelled latents at every token, beside `controls` random groups each; writes `ablations`.

    `groups` is each, family, all or only; `metric` loss, readouts or a case; `concepts` are names of held labels (default:
    all of them). Draws `ablations_METRIC.svg` into the study, over all groups measured so far. A group that was finished
    before with the same settings is not done again. Raises ValueError, in one line, for input that cannot be used.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: one of {', '.join(METRICS)}{did_you_mean(metric, METRICS)}")
    if controls < 1:
        raise ValueError(f"an ablation without random groups beside it proves nothing: controls is {controls}")
    if metric == "workshop" and min(episodes) < 1:
        raise ValueError(
            f"tasks of both kinds are needed, got {episodes[0]} impossible and {episodes[1]} possible ones"
        )
    labels = study.held(concepts, "ablated")
    concept_set = concept_set_of(study, concept_set)
    families = {name: concept.family for name, concept in concept_set.concepts.items()}
    wanted = groups_of(labels, families, groups)
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)

    settings = {
        "labels": {label.concept: label.latents for label in labels}, "controls": controls, "seed": seed,
        "model": model.name, "sae_hash": study.info.sae_hash, "episodes": list(episodes) if metric == "workshop" else [],
    }  # fmt: skip
    done = _finished(study, metric, settings)
    study.write("ablations", done)
    left = [group for group in wanted if (metric, group.kind, group.name) not in {_key(row) for row in done}]
    if left:
        measure = _measure(metric, model, dictionary, hook_name, concept_set, episodes, seed)
        density = sample_firings(as_labelled(model, study), dictionary, hook_name, concept_set, seed).density()
        taken = sorted({latent for label in study.labels(chosen=False) for latent in label.latents})
        unit = f"{measure.unit}s of a group"
        with tqdm(total=len(left) * (1 + controls), desc=f"ablate: {unit}", unit="group", disable=not progress) as bar:
            for group in left:
                bar.set_postfix_str(f"{group.kind} {group.name}")
                rng = np.random.default_rng([seed, zlib.crc32(f"{group.kind}/{group.name}".encode())])
                matched = matched_groups(group.latents, density, taken, controls, rng)
                changed = measure.changes([group.latents, *matched], bar.update)
                done = done + summarise(metric, group, changed[0], changed[1:], seed)
                study.write("ablations", done)  # a group that stands here is finished
    shown = [row for row in done if row.metric == metric]
    write_whole(study.folder / f"ablations_{metric}.svg", heat_map(shown, metric).encode())
    return study


def summarise(
    metric: str, group: Group, changes: Changes, controls: Sequence[Changes], seed: int = 0
) -> list[Ablation]:
    """A row for each target, and for the group's own concepts together where they are targets."""
    targets = list(changes)
    own = [name for name in group.concepts if name in changes]
    rows = []
    for target in ["own"] * bool(own) + targets:
        parts = own if target == "own" else [target]
        effects = together(changes, parts)
        means = np.array([together(one, parts).mean() for one in controls])
        _, (low,), (high,) = bootstrap_means(effects[:, None], RULE, seed)
        distance = np.abs(means - np.median(means))
        rows.append(
            Ablation(
                metric=metric, kind=group.kind, name=group.name, latents=list(group.latents), target=target,
                effect=float(effects.mean()), low=float(low), high=float(high), control_mean=float(means.mean()),
                control_low=float(np.quantile(means, 0.05)), control_high=float(np.quantile(means, 0.95)),
                p=float((1 + (distance >= abs(effects.mean() - np.median(means))).sum()) / (1 + len(means))),
                n_controls=len(means), n=len(effects),
            )
        )  # fmt: skip
    return rows


def together(changes: Changes, targets: Sequence[str]) -> np.ndarray:
    """Some targets as one: each unit that is any one's once, with the mean of its changes."""
    found = np.stack([changes[target] for target in targets])
    return np.nanmean(found[:, ~np.isnan(found).all(axis=0)], axis=0)


def _finished(study: Study, metric: str, settings: dict) -> list[Ablation]:
    """What earlier runs have measured; of this metric only where they had the same settings, which are now recorded."""
    before = study.info.settings.get("ablate", {})
    rows = study.read("ablations", Ablation)
    if before.get(metric) != settings:
        rows = [row for row in rows if row.metric != metric]
        study.write("ablations", rows)  # first: nothing of other settings may pass for finished
        study.update_info(settings={**study.info.settings, "ablate": {**before, metric: settings}})
    return rows


def _key(row: Ablation) -> tuple[str, str, str]:
    return row.metric, row.kind, row.name


def _measure(
    metric: str, model: LanguageModel, dictionary: Dictionary, hook_name: str, concept_set: ConceptSet,
    episodes: tuple[int, int], seed: int,
) -> Measure:  # fmt: skip
    match metric:
        case "loss":
            return Loss(model, dictionary, hook_name, concept_set)
        case "readouts":
            return Readouts(model, dictionary, hook_name, concept_set)
        case _:
            return Workshop(model, dictionary, hook_name, *episodes, seed)
