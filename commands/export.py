"""Writes a study in the layouts that other tools read: Neuronpedia's upload, SAEDashboard's batches.

Every latent of a label goes out with its activations, logits, histograms and density; to Neuronpedia its labels, too, as
explanations with their status and scores. What a study does not hold is left out, and said.
"""

import argparse
from pathlib import Path

from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study

EXAMPLE = "saes export checkpoints/my-study --neuronpedia exports/neuronpedia --sae-dashboard exports/dashboard"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to export")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="whose logits; default: what the study names")
    group = parser.add_argument_group("where to (one or both)")
    group.add_argument("--neuronpedia", metavar="DIR", help="MODEL/SOURCE/ with features, activations, explanations")
    group.add_argument(
        "--sae-dashboard", metavar="DIR", help="batch-N.json, as SAEDashboard's Neuronpedia runner writes"
    )
    group.add_argument("--name", metavar="SET", help="of the SAE's set there (default: the SAE's folder)")
    group.add_argument("--creator", default="", metavar="NAME", help="author shown on Neuronpedia")
    group.add_argument("--creator-id", metavar="ID", help="of the author there (default: what its own tools write)")


def run(arguments: argparse.Namespace) -> Answer:
    if not arguments.neuronpedia and not arguments.sae_dashboard:
        raise ValueError("say where to: --neuronpedia DIR, --sae-dashboard DIR, or both")
    study = Study.open(find_study(arguments.study))
    from analysis.exports.dashboard import dashboards, write_dashboards
    from analysis.exports.neuronpedia import CREATOR_ID, write_neuronpedia

    made = dashboards(study, arguments.name, arguments.model, arguments.device)
    lines, written = [], {}
    if arguments.sae_dashboard:
        write_dashboards(made, arguments.sae_dashboard)
        written["sae_dashboard"] = str(Path(arguments.sae_dashboard))
        lines.append(f"SAEDashboard: {len(made.features)} features in {arguments.sae_dashboard}")
    if arguments.neuronpedia:
        place = write_neuronpedia(made, arguments.neuronpedia, arguments.creator, arguments.creator_id or CREATOR_ID)
        written["neuronpedia"] = str(place)
        lines.append(f"Neuronpedia: {len(made.features)} features in {place}")
    lines += ["left out:", *(f"  {one}" for one in made.left_out)]
    data = {"study": str(study.folder), "features": len(made.features), "left_out": made.left_out}
    return Answer("\n".join(lines), {**data, **written})
