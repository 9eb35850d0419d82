"""Says what a checkpoint, a study or one feature is.

A feature is STUDY:LATENT or STUDY:CONCEPT. Without PATH: the bundled SAE.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.records import ClampResult, Excerpt, Explanation, FeatureCard
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_folder, find_study, is_study
from saes.formats.layout import Layout, layout_at, layout_of

EXAMPLE = "saes show storyteller-sae:afraid"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to show")
    group.add_argument(
        "path", nargs="?", default=DEFAULT, metavar="PATH", help="checkpoint, study, STUDY:1234 or STUDY:afraid"
    )


def run(arguments: argparse.Namespace) -> Answer:
    path, colon, feature = arguments.path.rpartition(":")
    if colon and not Path(arguments.path).exists():
        return _feature(Study.open(find_study(path)), feature)
    folder = find_folder(arguments.path)
    if is_study(folder):
        return _study(Study.open(folder))
    if layout_at(folder) is None and (folder / "config.json").exists():
        raise ValueError(f"{folder} is a language model; `saes train --model {folder}` trains an SAE on it")
    layout = layout_of(folder)
    return _checkpoint(folder) if layout.format == "sae_lens" else _foreign(layout)


def _foreign(layout: Layout) -> Answer:
    """A dictionary in another library's format."""
    from saes.opening import open_dictionary
    from saes.projections import Projections

    dictionary, site, metadata = open_dictionary(layout.path)
    of = f"d_in {dictionary.d_in}, d_sae {dictionary.d_sae}"
    if isinstance(dictionary, Projections):
        kind, more = "named directions", [f"  names    {', '.join(dictionary.names)}"]
    else:
        kind = f"a sparse autoencoder of {layout.format} ({dictionary.config.sparsity})"
        more = [f"  writes   {metadata['hook_name_out']}"] if "hook_name_out" in metadata else []
    lines = [f"{layout.path}: {kind}, {of}", f"  reads    {site.model} at {site.hook_name}", *more]
    inside = layout.path / "study"
    if is_study(inside):
        lines.append(f"  its study is {inside}: saes show {inside}")
    data: dict[str, Any] = {
        "kind": "checkpoint",
        "format": layout.format,
        "folder": str(layout.path),
        "site": str(site),
    }
    data |= {"d_in": dictionary.d_in, "d_sae": dictionary.d_sae, "metadata": metadata}
    return Answer("\n".join(lines), {**data, "study": str(inside) if is_study(inside) else None})


def _checkpoint(folder: Path) -> Answer:
    try:
        config = json.loads((folder / "cfg.json").read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / 'cfg.json'} is damaged: {error}") from error
    quality = _json(folder / "quality.json")
    weights, metadata = folder / "sae_weights.safetensors", config.get("metadata") or {}
    size = weights.stat().st_size if weights.exists() else None
    lines = [
        f"{folder}: a sparse autoencoder ({config.get('architecture')}, d_in {config.get('d_in')}, d_sae {config.get('d_sae')}"
        + (f", k {config['k']}" if "k" in config else "")
        + ")",
        f"  reads    {metadata.get('model_name', 'unknown model')} at {metadata.get('hook_name', 'unknown place')}",
        f"  weights  {size / 1e6:.1f} MB" if size else "  weights  MISSING: sae_weights.safetensors is not there",
    ]
    if quality:
        facts = ("explained_variance", "l0", "dead", "ce_recovered", "tokens_trained", "seconds")
        lines += [f"  {name.replace('_', ' '):<19}{quality[name]:,.4g}" for name in facts if name in quality]
    inside = folder / "study"
    if is_study(inside):
        lines.append(f"  its study is {inside}: saes show {inside}")
    data = {"kind": "checkpoint", "folder": str(folder), "config": config, "quality": quality}
    return Answer("\n".join(lines), {**data, "study": str(inside) if is_study(inside) else None})


def _study(study: Study) -> Answer:
    from commands import transfer
    from commands.label import shown, table

    info, labels, clamps = study.info, study.labels(), study.read("clamps", ClampResult)
    lines = [
        f"{study.folder}: a study of {info.sae_folder} at {info.site}",
        f"  made {info.created} by `{info.command}` (version {info.version}), concepts: {info.concept_set}",
        "",
        table(labels) if labels else "no labels yet",
    ]
    data: dict[str, Any] = {
        "kind": "study",
        "info": info.as_dict(),
        "concepts": {one.concept: shown(one) for one in labels},
    }
    if clamps:
        from commands import validate

        lines += ["", validate.table(clamps)]
        data |= validate.shown(clamps)
    carried = transfer.found_in(study)
    if any(carried):
        lines += ["", transfer.table(*carried)]
        data |= transfer.shown(*carried)
    return Answer("\n".join(lines), data)


def _feature(study: Study, feature: str) -> Answer:
    from commands.explain import told

    cards = {card.latent: card for card in study.read("cards", FeatureCard)}
    explanations = {one.latent: one for one in study.read("explanations", Explanation)}
    latents = [int(feature)] if feature.isdecimal() else study.label(feature).latents
    if (alone := explanations.get(latents[0])) and latents[0] not in cards:
        said = "\n".join((f"latent {alone.latent}: {told(alone)[0]}", *told(alone)[1:]))
        found = [{"latent": alone.latent, "explanation": asdict(alone)}]
        return Answer(said, {"kind": "feature", "study": str(study.folder), "latents": found})
    for latent in latents:
        if latent not in cards:
            raise ValueError(
                f"{study.folder} has no card for latent {latent}; it has: {', '.join(map(str, sorted(cards)))}"
            )
    excerpts = study.read("excerpts", Excerpt)
    lines, shown = [], []
    for latent in latents:
        card, own = cards[latent], sorted((one for one in excerpts if one.latent == latent), key=lambda one: -one.peak)
        explanation = explanations.get(latent)
        shown.append(
            {
                **asdict(card),
                "explanation": explanation and asdict(explanation),
                "excerpts": [asdict(one) for one in own],
            }
        )
        lines += [
            f"latent {latent}: {', '.join(card.concepts) or 'in no chosen label'}",
            *(f"  {line}" for line in (told(explanation) if explanation else ())),
            f"  fires at {card.density:.2%} of tokens, mean {card.mean_active:.3g}, peak {card.peak:.3g}",
            f"  promotes   {_quoted(card.promoted)}",
            f"  suppresses {_quoted(card.suppressed)}",
            f"  nearest    {', '.join(f'{near} ({cosine:.2f})' for near, cosine in zip(card.nearest, card.nearest_cosine, strict=False))}",
            *(f"  {one.peak:8.3g}  {_marked(one)}  ({one.concept})" for one in own[:6]),
        ]
    return Answer("\n".join(lines), {"kind": "feature", "study": str(study.folder), "latents": shown})


def _quoted(tokens: list[str]) -> str:
    return " ".join(repr(token.strip()) for token in tokens[:8])


def _marked(excerpt: Excerpt) -> str:
    """The text with its strongest tokens in brackets."""
    parts = [
        f"[{token.strip()}]".rjust(len(token) + 2) if value > 0.5 * excerpt.peak else token
        for token, value in zip(excerpt.tokens, excerpt.values, strict=True)
    ]
    return " ".join("".join(parts).split())


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
