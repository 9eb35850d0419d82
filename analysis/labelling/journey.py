"""The labelling journey: a checkpoint and a concept set -> a study with labels, cards, excerpts and baselines."""

import datetime
import io
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from analysis.concepts.concept import ConceptSet, bundled_names, load_concepts
from analysis.labelling.baselines import baseline, difference_of_means, label_as_baseline, probe_scores
from analysis.labelling.choose import Pools, Rules, choose_labels, lexical_share, naming_tokens
from analysis.labelling.directions import nearest_latents, promoted_tokens
from analysis.labelling.effects import OutputEffect
from analysis.labelling.excerpts import top_excerpts
from analysis.labelling.scores import auroc
from analysis.labelling.split import TextTable, text_table
from analysis.observe import Observation, observe
from analysis.opening import on_device, reads_one_site, study_beside, writes_elsewhere
from analysis.records import FeatureCard, Label, StudyInfo
from analysis.study import SCHEMA, Study, write_whole
from saes.autoencoder import SparseAutoencoder
from saes.opening import dictionary_hash, find_sae, known_site, open_dictionary
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

DEFAULT_RULES = Rules()


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
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Study:
    """Labels an SAE's latents with concepts; everything found goes to the study folder `out` (default: beside the SAE).

    `checkpoint` may lie in any format of `saes.formats`. `model` and `hook_name` default to where the SAE was trained, and
    are needed where it does not say. A transcoder is labelled by what it reads, without output effects. `read` is
    whose tokens of a chat model are read (see `training.language_models.chat`); output effects are those on plain texts.
    Raises ValueError or FileNotFoundError, in one line, for
    input that cannot be used.
    """
    named = str(model or "") if model is None or isinstance(model, str | Path) else model.name
    opened, site, _ = open_dictionary(checkpoint, sae_lens_release, model=named, hook_name=hook_name)
    site = known_site(site, checkpoint)
    concept_set = concepts if isinstance(concepts, ConceptSet) else load_concepts(concepts, open_sealed)
    if len(concept_set.concepts) < 2:
        raise ValueError(f"{concept_set.name} holds one concept: a label is compared with other concepts, so give two")
    for name, concept in concept_set.concepts.items():
        if not concept.of("implicit"):
            raise ValueError(f"{concept_set.name}: {name} has no implicit texts, on which its label is scored, too")
    if model is None or isinstance(model, (str, Path)):
        model = open_model(str(model or site.model), device)
    plain, model = model, model if read == "all" else model.reading(read)
    dictionary = on_device(reads_one_site(opened), model.device)
    out = Path(out) if out else study_beside(find_sae(checkpoint))
    table = text_table(concept_set)
    finding = table.split == "finding"
    rng = np.random.default_rng(seed)

    seen = observe(model, dictionary, site.hook_name, table.texts)
    pools = Pools(seen.firings)
    families = {name: concept_set.family_of(name) for name in concept_set.concepts}
    effect = None if writes_elsewhere(dictionary) else OutputEffect(plain, dictionary, site.hook_name, table, seed)
    with tqdm(total=len(families), desc="label", unit="concept", disable=not progress) as bar:
        labels = choose_labels(pools, table, families, rng, rules, effect, lambda concept: bar.update())
    labels = [_with_lexical_share(one, seen, table, concept_set) for one in labels]
    if open_sealed:
        labels = _with_sealed_scores(labels, model, dictionary, site.hook_name, concept_set)

    means = np.stack([difference_of_means(seen.means, table, name) for name in families])
    baselines = [
        baseline("diff_means", seen.means @ direction, table, name)
        for name, direction in zip(families, means, strict=True)
    ]
    baselines += [baseline("probe", probe_scores(seen.means, table, name, seed), table, name) for name in families]
    if isinstance(dictionary, SparseAutoencoder):
        untrained = observe(model, _untrained(dictionary, seen.means[finding], seed), site.hook_name, table.texts)
        chance = choose_labels(Pools(untrained.firings), table, families, rng, replace(rules, recipe_size=1))
        baselines += [label_as_baseline("random_sae", one) for one in chance if one.kind == "single"]

    latents = sorted({latent for one in labels for latent in one.latents})
    cards = _cards(model, dictionary, seen, labels, latents, concept_set)
    excerpts = [one for latent in latents for one in top_excerpts(seen.firings, seen.strings, table, latent)]
    settings = {"seed": seed, "rules": rules.__dict__, "hook_name": site.hook_name, "read": read, "concepts": _source(concepts),
                "sae_lens_release": sae_lens_release, "mean_activation_length": seen.mean_length}  # fmt: skip
    study = Study.create(out, _info(model, site, checkpoint, concept_set, settings, open_sealed))
    for name, rows in (("labels", labels), ("baselines", baselines), ("cards", cards), ("excerpts", excerpts)):
        study.write(name, rows)
    directions = io.BytesIO()
    np.savez(directions, **dict(zip(families, means, strict=True)))
    write_whole(study.folder / "diff_means.npz", directions.getvalue())
    centre = io.BytesIO()
    np.save(centre, seen.means[finding].mean(axis=0))
    write_whole(study.folder / "mean_activation.npy", centre.getvalue())
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


def _with_lexical_share(one: Label, seen: Observation, table: TextTable, concept_set: ConceptSet) -> Label:
    texts = table.positives(one.concept, "checking")
    names = concept_set.concepts[one.concept].names
    naming = {int(text): naming_tokens(seen.strings[text], names) for text in texts}
    return replace(one, lexical_share=lexical_share(seen.firings, one, texts, naming))


def _untrained(sae: SparseAutoencoder, means: np.ndarray, seed: int) -> SparseAutoencoder:
    """An SAE of the same shape and sparsity with random directions, centred at the mean of these texts' activations."""
    config = replace(sae.config, sparsity="topk") if sae.config.k else sae.config
    random = SparseAutoencoder(config, seed=seed).to(sae.W_dec.device)
    centre = torch.from_numpy(means.mean(axis=0)).to(random.W_enc)
    with torch.no_grad():
        random.b_dec.copy_(centre) if config.apply_b_dec_to_input else random.bias.copy_(-centre @ random.W_enc)
    return random


def _cards(
    model, dictionary, seen: Observation, labels: list[Label], latents: list[int], concept_set: ConceptSet
) -> list[FeatureCard]:
    firings = seen.firings
    density, mean_active, peak = firings.density(), firings.mean_active(), firings.peak()
    tokens, neighbours = promoted_tokens(model, dictionary, latents), nearest_latents(dictionary, latents)
    cards = []
    for latent, (up, down), (near, cosine) in zip(latents, tokens, neighbours, strict=True):
        mine = [one.concept for one in labels if one.chosen and latent in one.latents]
        counts, edges = np.histogram(firings.value[firings.latent == latent], bins=20)
        first = concept_set.concepts[mine[0]] if mine else None
        cards.append(
            FeatureCard(
                latent=latent, concepts=mine, density=float(density[latent]), peak=float(peak[latent]),
                mean_active=float(mean_active[latent]), histogram_edges=edges.astype(float).tolist(),
                histogram_counts=counts.tolist(), promoted=up, suppressed=down, nearest=near, nearest_cosine=cosine,
                valence=first.valence if first else None, arousal=first.arousal if first else None,
            )
        )  # fmt: skip
    return cards


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
