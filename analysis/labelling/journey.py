"""The labelling journey: a checkpoint and a concept set -> a study with labels, cards, excerpts and baselines."""

import datetime
import io
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from analysis.concepts.concept import ConceptSet, bundled_names, load_concepts
from analysis.firings import Firings
from analysis.labelling.affect import affect
from analysis.labelling.baselines import all_baselines, difference_of_means
from analysis.labelling.choose import Finding, Pools, Rules, choose_labels
from analysis.labelling.confounds import confounds, masked_texts
from analysis.labelling.directions import nearest_latents, promoted_tokens
from analysis.labelling.effects import OutputEffect
from analysis.labelling.excerpts import top_excerpts
from analysis.labelling.lexical import Masked, against_its_name, values_of
from analysis.labelling.probes import sparse_probes
from analysis.labelling.scores import auroc
from analysis.labelling.split import TextTable, text_table
from analysis.observe import observe, read
from analysis.opening import at_one_site
from analysis.records import Affect, FeatureCard, Label, StudyInfo
from analysis.study import SCHEMA, Study, write_whole
from saes.autoencoder import SparseAutoencoder
from saes.checkpoint import sae_hash
from saes.dictionary import Dictionary
from saes.opening import find_sae, open_dictionary
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

DEFAULT_RULES = Rules()
CENTRE_TEXTS = 256


def label(
    checkpoint: str | Path,
    concepts: str | Path | ConceptSet = "emotions",
    model: str | LanguageModel | None = None,
    out: str | Path | None = None,
    *,
    sae_lens_release: str | None = None,
    open_sealed: bool = False,
    rules: Rules = DEFAULT_RULES,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Study:
    """Labels an SAE's latents with concepts; everything found goes to the study folder `out` (default: beside the SAE).

    `model` defaults to the one that the SAE was trained on. Raises ValueError or FileNotFoundError, in one line, for
    input that cannot be used.
    """
    sae, site, _ = open_dictionary(str(checkpoint), sae_lens_release)
    dictionary = at_one_site(sae)
    concept_set = concepts if isinstance(concepts, ConceptSet) else load_concepts(concepts, open_sealed)
    if len(concept_set.concepts) < 2:
        raise ValueError(f"{concept_set.name} holds one concept: a label is compared with other concepts, so give two")
    for name, concept in concept_set.concepts.items():
        if not concept.of("implicit"):
            raise ValueError(f"{concept_set.name}: {name} has no implicit texts, on which its label is scored, too")
    if model is None or isinstance(model, (str, Path)):
        model = open_model(str(model or site.model), device)
    dictionary = dictionary.to(model.device) if isinstance(dictionary, torch.nn.Module) else dictionary
    out = Path(out) if out else Path(checkpoint) / "study"
    table = text_table(concept_set)
    names = tuple(concept_set.concepts)
    families = {name: concept_set.family_of(name) for name in names}
    rng = np.random.default_rng(seed)

    dictionaries: dict[str, Dictionary] = {"sae": dictionary}
    if isinstance(dictionary, SparseAutoencoder):
        dictionaries["random_sae"] = _untrained(dictionary, _mean_activation(model, site.hook_name, table, rng), seed)
    places = {"residual_basis": site.hook_name} | _neurons(model, site.hook_name)
    seen = read(model, dictionaries, site.hook_name, table.texts, list(places.values()))
    firings = seen.firings["sae"]
    pools = {name: Pools(found) for name, found in seen.firings.items()}
    effect = OutputEffect(model, dictionary, site.hook_name, table, seed)
    with tqdm(total=len(names), desc="label", unit="concept", disable=not progress) as bar:
        labels = choose_labels(pools["sae"], table, families, rng, rules, effect, lambda concept: bar.update())
    masked = _read_masked(model, dictionary, site.hook_name, table, concept_set)
    labels = [
        against_its_name(one, pools["sae"], masked, seen.strings, table, concept_set.concepts[one.concept].names)
        for one in labels
    ]
    panel = [
        row
        for one in labels
        if one.chosen
        for row in confounds(
            one.concept, values_of(pools["sae"], one), masked.values_of(one), seen.strings, firings.n_tokens, table,
            concept_set.concepts[one.concept].names,
        )
    ]  # fmt: skip
    if open_sealed:
        labels = _with_sealed_scores(labels, model, dictionary, site.hook_name, concept_set)

    findings = {name: Finding(found, table, rules, names) for name, found in pools.items()}
    dense = {method: seen.dense[place] for method, place in places.items()}
    baselines = all_baselines(pools, findings, dense, seen.means, table, names, seed)
    detectors = findings["sae"].best()
    probes = [
        row
        for number, candidates in enumerate(detectors)
        for row in sparse_probes(pools["sae"], findings["sae"], table, number, candidates)
    ]
    latents = sorted({latent for one in labels for latent in one.latents})
    tone = affect(pools["sae"].by_pooling["mean"], "mean", findings["sae"].scales, table, concept_set, latents, seed)
    cards = _cards(model, dictionary, firings, labels, latents, concept_set, tone)
    excerpts = [
        one for latent, mine in firings.of_each(latents) for one in top_excerpts(mine, seen.strings, table, latent)
    ]
    settings = {"seed": seed, "rules": rules.__dict__, "hook_name": site.hook_name, "concepts": _source(concepts),
                "sae_lens_release": sae_lens_release, "mean_activation_length": seen.mean_length}  # fmt: skip
    study = Study.create(out, _info(model, site, checkpoint, concept_set, settings, open_sealed))
    tables: dict[str, Sequence[Any]] = {"labels": labels, "baselines": baselines, "confounds": panel, "probes": probes, "affect": tone,
              "cards": cards, "excerpts": excerpts}  # fmt: skip
    for name, rows in tables.items():
        study.write(name, rows)
    directions = io.BytesIO()
    np.savez(directions, **{name: difference_of_means(seen.means, table, name) for name in names})  # type: ignore[arg-type]
    write_whole(study.folder / "diff_means.npz", directions.getvalue())
    if open_sealed:
        _log_opening(study)
    return study


def _source(concepts: str | Path | ConceptSet) -> str:
    """How the concept set is found again: a bundled name, or the folder's whole path."""
    if isinstance(concepts, ConceptSet):
        return concepts.name
    return str(concepts) if str(concepts) in bundled_names() else str(Path(concepts).resolve())


def _with_sealed_scores(labels: list[Label], model, dictionary, hook_name: str, concept_set: ConceptSet) -> list[Label]:
    """The frozen choices on the sealed texts: what a release reports once."""
    table = text_table(concept_set, ("sealed",))
    pools = Pools(observe(model, dictionary, hook_name, table.texts).firings)
    scored = []
    for one in labels:
        own, others = table.positives(one.concept, "sealed"), table.negatives(one.concept, "sealed")
        values = pools.score(one.pooling, one.latents, one.scales, np.concatenate([own, others]))
        scored.append(replace(one, auroc_sealed=auroc(values, np.arange(len(values)) < len(own))))
    return scored


def _log_opening(study: Study) -> None:
    """Says in benchmarks/RESULTS.md (in a checkout), else in the study, that the sealed texts were opened."""
    held = [one for one in study.labels() if one.is_held and one.auroc_sealed is not None]
    middle = f"{np.median([one.auroc_sealed for one in held]):.2f}" if held else "-"
    line = (
        f"\n- {study.info.created[:10]} sealed texts opened at {study.info.commit or study.info.version}: SAE "
        f"{study.info.sae_hash[:12]}, {len(held)} held labels, median sealed AUROC {middle}\n"
    )
    results = Path(__file__).parents[2] / "benchmarks" / "RESULTS.md"
    with (results if results.exists() else study.folder / "sealed_openings.md").open("a") as file:
        file.write(line)


def _read_masked(model, dictionary, hook_name: str, table: TextTable, concept_set: ConceptSet) -> Masked:
    texts = masked_texts(table, concept_set)
    seen = observe(model, dictionary, hook_name, list(texts.values())) if texts else None
    return Masked(list(texts), Pools(seen.firings) if seen else None)


def _mean_activation(model: LanguageModel, hook_name: str, table: TextTable, rng: np.random.Generator) -> np.ndarray:
    """[d_in] over some finding texts: where an untrained SAE is centred."""
    finding = np.flatnonzero(table.split == "finding")
    some = rng.permutation(finding)[:CENTRE_TEXTS]
    return read(model, {}, hook_name, [table.texts[text] for text in some]).means.mean(axis=0)


def _untrained(sae: SparseAutoencoder, centre: np.ndarray, seed: int) -> SparseAutoencoder:
    """An SAE of the same shape and sparsity with random directions."""
    config = replace(sae.config, sparsity="topk") if sae.config.k else sae.config
    random = SparseAutoencoder(config, seed=seed).to(sae.W_dec.device)
    with torch.no_grad():
        random.b_dec.copy_(torch.from_numpy(centre))
    return random


def _neurons(model: LanguageModel, hook_name: str) -> dict[str, str]:
    """The neurons of the layer's MLP, where the model shows them."""
    place = ".".join([*hook_name.split(".")[:2], "mlp.hook_post"])
    return {"neurons": place} if place in model.hook_names() else {}


def _cards(
    model, dictionary, firings: Firings, labels: list[Label], latents: list[int], concept_set: ConceptSet,
    tone: list[Affect],
) -> list[FeatureCard]:  # fmt: skip
    density, mean_active, peak = firings.density(), firings.mean_active(), firings.peak()
    tokens, neighbours = promoted_tokens(model, dictionary, latents), nearest_latents(dictionary, latents)
    ratings = {one.latent: one for one in tone}
    cards = []
    for (latent, own), (up, down), (near, cosine) in zip(firings.of_each(latents), tokens, neighbours, strict=True):
        mine = [one.concept for one in labels if one.chosen and latent in one.latents]
        counts, edges = np.histogram(own.value, bins=20)
        first, rated = concept_set.concepts[mine[0]] if mine else None, ratings.get(latent)
        cards.append(
            FeatureCard(
                latent=latent, concepts=mine, density=float(density[latent]), peak=float(peak[latent]),
                mean_active=float(mean_active[latent]), histogram_edges=edges.astype(float).tolist(),
                histogram_counts=counts.tolist(), promoted=up, suppressed=down, nearest=near, nearest_cosine=cosine,
                valence=first.valence if first else None, arousal=first.arousal if first else None,
                valence_r=rated.valence_r if rated else None, arousal_r=rated.arousal_r if rated else None,
            )
        )  # fmt: skip
    return cards


def _info(model, site, checkpoint, concept_set: ConceptSet, settings: dict, opened: bool) -> StudyInfo:
    folder = None if settings["sae_lens_release"] else find_sae(checkpoint)
    return StudyInfo(
        schema=SCHEMA, model=model.name, site=str(site), sae_folder=str(checkpoint),
        sae_hash=sae_hash(folder) if folder else "", concept_set=concept_set.name,
        concept_hash=concept_set.hash, command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), commit=_commit(), version=_version(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        settings=settings, opened_sealed=opened,
    )  # fmt: skip


def _commit() -> str:
    """The commit of the checkout that this code runs from; empty for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:  # no git on this machine
        return ""
    return found.stdout.strip()


def _version() -> str:
    try:
        return version("emotion-saes")
    except PackageNotFoundError:
        return "0"
