"""The labelling journey: a checkpoint and a concept set -> a study with labels, cards, excerpts and baselines."""

import datetime
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from analysis.concepts.column_map import bundled_maps
from analysis.concepts.concept import ConceptSet, bundled_names, load_concepts
from analysis.firings import Firings
from analysis.labelling.affect import affect
from analysis.labelling.baselines import all_baselines, difference_of_means
from analysis.labelling.choose import Finding, Pools, Rules, choose_labels
from analysis.labelling.confounds import confounds, masked_texts
from analysis.labelling.directions import nearest_latents, promoted_tokens
from analysis.labelling.effects import OutputEffect
from analysis.labelling.excerpts import excerpts_of
from analysis.labelling.firing_words import write_firing_words
from analysis.labelling.lexical import Masked, against_its_name, values_of
from analysis.labelling.probes import sparse_probes
from analysis.labelling.scores import auroc
from analysis.labelling.split import TextTable, text_table
from analysis.labelling.writers import with_detection, writers_of
from analysis.observe import check_width, observe
from analysis.observe import read as read_texts
from analysis.opening import on_device, reads_one_site, study_beside, writes_elsewhere
from analysis.records import WRITTEN, Affect, FeatureCard, Label, StudyInfo, Writer
from analysis.study import SCHEMA, Study
from saes.autoencoder import SparseAutoencoder
from saes.dictionary import Dictionary
from saes.opening import dictionary_hash, find_sae, known_site, open_dictionary
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

DEFAULT_RULES = Rules()
CENTRE_TEXTS = 256
CARDS_AT_ONCE = 512
"""Latents whose logits and cosines are held together."""


def label(
    checkpoint: str | Path,
    concepts: str | Path | ConceptSet = "emotions",
    model: str | LanguageModel | None = None,
    out: str | Path | None = None,
    *,
    sae_lens_release: str | None = None,
    hook_name: str | None = None,
    read: str = "all",
    open_sealed: bool = False,
    rules: Rules = DEFAULT_RULES,
    cards: str | int = "labelled",
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Study:
    """Labels an SAE's latents with concepts; everything found goes to the study folder `out` (default: beside the SAE).

    `checkpoint` may lie in any format of `saes.formats`. `model` and `hook_name` default to where the SAE was trained, and
    are needed where it does not say. A transcoder is labelled by what it reads, without output effects. `read` is
    whose tokens of a chat model are read (see `training.language_models.chat`); output effects are those on plain texts.
    `cards` says which latents get a card and excerpts: "labelled", "all", or beside the labelled ones so many drawn at random
    among those that fire.
    Beside the labels stand the latents that write each concept (`analysis/labelling/writers.py`), whose clamp `validate` judges too.
    Raises ValueError or FileNotFoundError, in one line, for
    input that cannot be used.
    """
    check_cards(cards)
    named = str(model or "") if model is None or isinstance(model, str | Path) else model.name
    opened, site, metadata = open_dictionary(checkpoint, sae_lens_release, model=named, hook_name=hook_name)
    site = known_site(site, checkpoint)
    concept_set = concepts if isinstance(concepts, ConceptSet) else load_concepts(concepts, open_sealed)
    if len(concept_set.concepts) < 2:
        raise ValueError(f"{concept_set.name} holds one concept: a label is compared with other concepts, so give two")
    if taken := [name for name in concept_set.concepts if name.endswith(WRITTEN)]:
        raise ValueError(
            f"{concept_set.name}: a concept cannot be called {taken[0]!r}: a clamp means by NAME{WRITTEN} the latents that write NAME"
        )
    if model is None or isinstance(model, (str, Path)):
        model = open_model(str(model or site.model), device)
    plain, model = model, model if read == "all" else model.reading(read)
    dictionary = on_device(reads_one_site(opened), model.device)
    check_width(model, dictionary, site.hook_name)
    out = Path(out) if out else study_beside(find_sae(checkpoint))
    table = text_table(concept_set)
    names = tuple(concept_set.concepts)
    families = {name: concept_set.family_of(name) for name in names}
    rng = np.random.default_rng(seed)

    dictionaries: dict[str, Dictionary] = {"sae": dictionary}
    centre: dict[str, np.ndarray] = {}
    if isinstance(dictionary, SparseAutoencoder):
        centre["centre"] = _mean_activation(model, site.hook_name, table, rng)
        dictionaries["random_sae"] = untrained(dictionary, centre["centre"], seed)
    places = {"residual_basis": site.hook_name} | _neurons(model, site.hook_name)
    seen = read_texts(model, dictionaries, site.hook_name, table.texts, list(places.values()))
    firings = seen.firings["sae"]
    pools = {name: Pools(found) for name, found in seen.firings.items()}
    effect = None if writes_elsewhere(dictionary) else OutputEffect(plain, dictionary, site.hook_name, table, seed)
    findings = {name: Finding(found, table, rules, names) for name, found in pools.items()}
    with tqdm(total=len(names), desc="label", unit="concept", disable=not progress) as bar:
        labels = choose_labels(
            pools["sae"], table, families, rng, rules, effect, lambda concept: bar.update(), findings["sae"]
        )
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

    dense = {method: seen.dense[place] for method, place in places.items()}
    baselines = all_baselines(pools, findings, dense, seen.means, table, names, seed)
    detectors = findings["sae"].detectors
    probes = [
        row
        for number, candidates in enumerate(detectors)
        for row in sparse_probes(pools["sae"], findings["sae"], table, number, candidates)
    ]
    means = {name: difference_of_means(seen.means, table, name) for name in names}
    writers: list[Writer] = []
    if not writes_elsewhere(dictionary):
        writers = writers_of([one for one in labels if one.chosen], means, dictionary, findings["sae"].scales)
        writers = with_detection(writers, pools["sae"], table)
    claims: list[Label | Writer] = [*labels, *writers]
    labelled = sorted({latent for one in claims for latent in one.latents})
    latents = _with_cards(cards, labelled, firings, seed)
    tone = affect(pools["sae"].by_pooling["mean"], "mean", findings["sae"].scales, table, concept_set, labelled, seed)
    settings = {"seed": seed, "rules": rules.__dict__, "hook_name": site.hook_name, "read": read, "concepts": _source(concepts),
                "hook_name_out": metadata.get("hook_name_out"), "sae_lens_release": sae_lens_release, "mean_activation_length": seen.mean_length}  # fmt: skip
    study = Study.create(out, _info(model, site, checkpoint, concept_set, settings, open_sealed))
    excerpts = (
        one for latent, mine in firings.of_each(latents) for one in excerpts_of(mine, seen.strings, table, latent, seed)
    )
    tables: dict[str, Iterable[Any]] = {"labels": labels, "writers": writers, "baselines": baselines, "confounds": panel, "probes": probes, "affect": tone,
              "cards": _cards(model, dictionary, firings, labels, latents, concept_set, tone), "excerpts": excerpts}  # fmt: skip
    for name, rows in tables.items():
        study.write(name, rows)
    write_firing_words(study)
    study.write_arrays("diff_means", means)
    study.write_arrays("untrained", centre)
    study.write_arrays("mean_activation", {"mean": seen.means[table.split == "finding"].mean(axis=0)})
    if open_sealed:
        _log_opening(study)
    return study


def _source(concepts: str | Path | ConceptSet) -> str:
    """How the concept set is found again: a bundled name, or the whole path of the folder or the column map."""
    if isinstance(concepts, ConceptSet):
        return concepts.name
    bundled = (*bundled_names(), *bundled_maps())
    return str(concepts) if str(concepts) in bundled else str(Path(concepts).resolve())


def _with_sealed_scores(labels: list[Label], model, dictionary, hook_name: str, concept_set: ConceptSet) -> list[Label]:
    """The frozen choices on the sealed texts: what a release reports once."""
    table = text_table(concept_set, ("sealed",))
    pools = Pools(observe(model, dictionary, hook_name, table.texts).firings)
    scored = []
    for one in labels:
        own, others = table.positives(one.concept, "sealed"), table.negatives(one.concept, "sealed")
        if not len(own) or not len(others):
            scored.append(one)
            continue
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
    return read_texts(model, {}, hook_name, [table.texts[text] for text in some]).means.mean(axis=0)


def untrained(sae: SparseAutoencoder, centre: np.ndarray, seed: int) -> SparseAutoencoder:
    """An SAE of the same shape and sparsity with random directions, centred at `centre` [d_in]."""
    config = replace(sae.config, sparsity="topk") if sae.config.k else sae.config
    random = SparseAutoencoder(config, seed=seed).to(sae.W_dec.device)
    mean = torch.from_numpy(centre).to(random.W_enc)
    with torch.no_grad():
        random.b_dec.copy_(mean) if config.apply_b_dec_to_input else random.bias.copy_(-mean @ random.W_enc)
    return random


def _neurons(model: LanguageModel, hook_name: str) -> dict[str, str]:
    """The neurons of the layer's MLP, where the model shows them."""
    place = ".".join([*hook_name.split(".")[:2], "mlp.hook_post"])
    return {"neurons": place} if place in model.hook_names() else {}


def check_cards(cards: str | int) -> str | int:
    """ "labelled", "all" or a number of further latents; ValueError for anything else."""
    if cards in ("labelled", "all"):
        return cards
    try:
        count = int(cards)
    except ValueError:
        count = -1
    if count < 0:
        raise ValueError(f"--cards {cards}: say labelled, all, or how many latents beside the labelled ones (as 500)")
    return count


def _with_cards(cards: str | int, labelled: Sequence[int], firings: Firings, seed: int) -> list[int]:
    """The latents that get a card, in ascending order: tables that are sorted by latent are found into quickly."""
    cards = check_cards(cards)
    if cards == "all":
        return list(range(firings.d_sae))
    if cards == "labelled":
        return list(labelled)
    fires = np.bincount(firings.latent, minlength=firings.d_sae) > 0
    fires[list(labelled)] = False
    others = np.flatnonzero(fires)
    drawn = np.random.default_rng([seed, 1]).choice(others, min(int(cards), len(others)), replace=False)
    return sorted({*labelled, *drawn.tolist()})


def _cards(
    model, dictionary, firings: Firings, labels: list[Label], latents: list[int], concept_set: ConceptSet,
    tone: list[Affect],
) -> Iterator[FeatureCard]:  # fmt: skip
    density, mean_active, peak = firings.density(), firings.mean_active(), firings.peak()
    ratings = {one.latent: one for one in tone}
    holding: dict[int, list[str]] = {}
    for one in labels:
        for latent in one.latents if one.chosen else ():
            holding.setdefault(latent, []).append(one.concept)
    own_firings = firings.of_each(latents)
    for at in range(0, len(latents), CARDS_AT_ONCE):
        some = latents[at : at + CARDS_AT_ONCE]
        tokens, neighbours = promoted_tokens(model, dictionary, some), nearest_latents(dictionary, some)
        # `some` is the shorter: it ends the round before a latent of the next one is taken
        for latent, (_, own), (up, down), (near, cosine) in zip(some, own_firings, tokens, neighbours, strict=False):
            mine = holding.get(latent, [])
            counts, edges = np.histogram(own.value, bins=20)
            first, rated = concept_set.concepts[mine[0]] if mine else None, ratings.get(latent)
            yield FeatureCard(
                latent=latent, concepts=mine, density=float(density[latent]), peak=float(peak[latent]),
                mean_active=float(mean_active[latent]), histogram_edges=edges.astype(float).tolist(),
                histogram_counts=counts.tolist(), promoted=up, suppressed=down, nearest=near, nearest_cosine=cosine,
                valence=first.valence if first else None, arousal=first.arousal if first else None,
                valence_r=rated.valence_r if rated else None, arousal_r=rated.arousal_r if rated else None,
            )  # fmt: skip


def _info(model, site, checkpoint, concept_set: ConceptSet, settings: dict, opened: bool) -> StudyInfo:
    folder = None if settings["sae_lens_release"] else find_sae(checkpoint)
    return StudyInfo(
        schema=SCHEMA, model=model.name, site=str(site), sae_folder=str(checkpoint),
        sae_hash=dictionary_hash(folder) if folder else "", concept_set=concept_set.name,
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
