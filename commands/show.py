"""Says what a checkpoint, a study or one feature is.

A feature is STUDY:LATENT or STUDY:CONCEPT. Without PATH: the bundled SAE.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis.records import WRITTEN, ClampResult, Excerpt, Label
from analysis.report.table import Chance, Estimate, Latents, Share, Status, Table, plain, said
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_folder, find_study, is_study
from saes.formats.layout import Layout, layout_at, layout_of

EXAMPLE = "saes show storyteller-sae:afraid"
SUMMARY = ("statuses", "rejected", "rivals", "confounds", "quadrants", "head_to_head", "geometry_tests")
"""The tables of a study's summary."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to show")
    group.add_argument(
        "path", nargs="?", default=DEFAULT, metavar="PATH", help="checkpoint, study, STUDY:1234 or STUDY:afraid"
    )


def run(arguments: argparse.Namespace) -> Answer:
    path, colon, feature = arguments.path.rpartition(":")
    if colon and not Path(arguments.path).exists():
        return _feature(Study.open(find_study(path)), feature.removesuffix(WRITTEN))
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
    from analysis.report.content import content
    from analysis.report.terminal import drawn, wrapped
    from commands import transfer
    from commands.label import shown

    whole = content(study)
    info, labels = study.info, [row.label for row in whole.rows]
    lines = [
        f"{study.folder}: a study of {info.sae_folder} at {info.site}",
        f"  made {info.created} by `{info.command}` (version {info.version}), concepts: {info.concept_set}",
    ]
    held = [one for one in labels if one.is_held]
    if labels:
        distinct = len({latent for one in held for latent in one.latents})
        lines += ["", drawn(_overview(labels))]
        lines.append(f"{len(held)} of {len(labels)} concepts held, by {distinct} distinct latents")
    else:
        lines += ["", "no labels yet"]
    lines += [part for name in SUMMARY if name in whole.tables for part in ("", drawn(whole.tables[name]))]
    data: dict[str, Any] = {
        "kind": "study",
        "info": info.as_dict(),
        "concepts": {one.concept: shown(one) for one in labels},
        "why": {row.label.concept: row.why for row in whole.rows},
        "headline": whole.facts,
        "tables": {name: _as_data(whole.tables[name]) for name in SUMMARY if name in whole.tables},
    }
    if clamps := study.read("clamps", ClampResult):
        from commands import validate

        lines += ["", validate.table(clamps), *wrapped(whole.power)]
        data |= validate.shown(clamps)
    carried = transfer.found_in(study)
    if any(carried):
        lines += ["", transfer.table(*carried)]
        data |= transfer.shown(*carried)
    if labels:
        example = (held or labels)[0].concept
        lines += ["", f"all that is known of one label: saes show {study.folder}:{example}"]
    return Answer("\n".join(lines), data)


def _overview(labels: list[Label]) -> Table:
    """The chosen labels, a line each."""
    return Table(
        "",
        ("concept", "status", "latents", "checking [95 %]", "all", "implicit", "lexical", "q"),
        [
            (
                one.concept, Status(one.status), Latents(tuple(one.latents)),
                Estimate(one.auroc_checking, one.auroc_checking_low, one.auroc_checking_high), Estimate(one.auroc_all),
                Estimate(one.auroc_implicit), Share(one.lexical_share), Chance(one.q),
            )
            for one in labels
        ],
    )  # fmt: skip


def _as_data(table: Table) -> list[dict[str, Any]]:
    """A row an object; a figure with an interval is [value, low, high]."""

    def value(cell: Any) -> Any:
        if isinstance(cell, Estimate):
            return list(cell[:3]) if cell.low is not None else cell.value
        return cell.value if isinstance(cell, (Share, Chance)) else cell if isinstance(cell, int) else plain(cell)

    return [dict(zip(table.columns, map(value, row), strict=True)) for row in table.rows]


def _feature(study: Study, feature: str) -> Answer:
    from analysis.report.card import concept_card, latents_card
    from analysis.report.terminal import drawn

    card = latents_card(study, int(feature)) if feature.isdecimal() else concept_card(study, feature)
    lines = [card.title]
    for number, table in enumerate(card.tables):
        lines += ["", drawn(table)] if number or table.title else [drawn(table)]
    for latent in card.latents:
        lines += ["", drawn(latent.table)]
        lines += [drawn(Table("", ("", "", ""), [_line(one) for one in latent.excerpts]))] if latent.excerpts else []
    return Answer("\n".join([*lines, "", drawn(card.provenance)]), card.data)


def _line(one: Excerpt) -> tuple[str, str, str]:
    return f"{one.peak:.3g}", _marked(one), f"{one.concept}, {one.split}"


def _marked(excerpt: Excerpt) -> str:
    """The text with its strongest tokens in brackets."""
    parts = [
        f"[{token.strip()}]".rjust(len(token) + 2) if value > 0.5 * excerpt.peak else said(token)
        for token, value in zip(excerpt.tokens, excerpt.values, strict=True)
    ]
    return " ".join("".join(parts).split())


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
