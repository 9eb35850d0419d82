"""Writes a study as a web site of files, or in the layouts that other tools read: Neuronpedia's upload, SAEDashboard's batches.

The site (--html) opens from disk without a server or a model, and holds a page by itself for each feature (single/).

Every latent of a label goes out with its activations, logits, histograms and density; to Neuronpedia its labels, too, as
explanations with their status and scores. What a study does not hold is left out, and said.
"""

import argparse
from pathlib import Path
from typing import Any

from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study

EXAMPLE = "saes export checkpoints/my-study --html exports/site --neuronpedia exports/neuronpedia"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to export")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="whose logits; default: what the study names")
    group = parser.add_argument_group("where to (one or several)")
    group.add_argument("--html", metavar="DIR", help="a static site; an older one of ours is replaced, nothing else is")
    group.add_argument(
        "--features", choices=("all", "labelled"), default="all",
        help="of the site: every latent with a card (default), or those of chosen labels",
    )  # fmt: skip
    group.add_argument("--neuronpedia", metavar="DIR", help="MODEL/SOURCE/ with features, activations, explanations")
    group.add_argument(
        "--sae-dashboard", metavar="DIR", help="batch-N.json, as SAEDashboard's Neuronpedia runner writes"
    )
    group.add_argument("--name", metavar="SET", help="of the SAE's set there (default: the SAE's folder)")
    group.add_argument("--creator", default="", metavar="NAME", help="author shown on Neuronpedia")
    group.add_argument("--creator-id", metavar="ID", help="of the author there (default: what its own tools write)")


def run(arguments: argparse.Namespace) -> Answer:
    layouts = arguments.neuronpedia or arguments.sae_dashboard
    if not arguments.html and not layouts:
        raise ValueError("say where to: --html DIR, --neuronpedia DIR, --sae-dashboard DIR, or several")
    study = Study.open(find_study(arguments.study))
    data: dict[str, Any] = {"study": str(study.folder)}
    lines = _site(arguments, study, data) if arguments.html else []
    if layouts:
        lines += _layouts(arguments, study, data)
    return Answer("\n".join(lines), data)


def _site(arguments: argparse.Namespace, study: Study, data: dict[str, Any]) -> list[str]:
    from analysis.browser.static_site import write_site

    site = write_site(study.folder, arguments.html, arguments.features)
    data |= {"html": str(site.folder), "pages": site.files, "features": site.features, "left_out": list(site.left_out)}
    return [
        f"site: {site.files} pages, {site.features} features; open {site.folder / 'index.html'}",
        f"  each feature as one file, to be sent by itself: {site.folder / 'single'}",
        *(f"  left out: {one}" for one in site.left_out),
    ]


def _layouts(arguments: argparse.Namespace, study: Study, data: dict[str, Any]) -> list[str]:
    from analysis.exports.dashboard import dashboards, write_dashboards
    from analysis.exports.neuronpedia import CREATOR_ID, write_neuronpedia

    made = dashboards(study, arguments.name, arguments.model, arguments.device)
    lines = []
    if arguments.sae_dashboard:
        write_dashboards(made, arguments.sae_dashboard)
        data["sae_dashboard"] = str(Path(arguments.sae_dashboard))
        lines.append(f"SAEDashboard: {len(made.features)} features in {arguments.sae_dashboard}")
    if arguments.neuronpedia:
        place = write_neuronpedia(made, arguments.neuronpedia, arguments.creator, arguments.creator_id or CREATOR_ID)
        data["neuronpedia"] = str(place)
        lines.append(f"Neuronpedia: {len(made.features)} features in {place}")
    data |= {"features": len(made.features), "left_out": [*data.get("left_out", []), *made.left_out]}
    return [*lines, "left out:", *(f"  {one}" for one in made.left_out)]
