"""Writes the method report of a study: what was chosen where, every table, what was rejected and why, and provenance.

One self-contained page (.html) or Markdown (.md); both hold the same words and figures.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study

EXAMPLE = "saes report checkpoints/my-study --out report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to report")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument(
        "--out", action="append", required=True, metavar="FILE", help="FILE.html or FILE.md; may be given twice"
    )


def run(arguments: argparse.Namespace) -> Answer:
    study = Study.open(find_study(arguments.study))
    from analysis.report.report import write_report

    extra = {"quality": quality} if (quality := _quality(study)) else {}
    for path in arguments.out:
        write_report(study, path, extra)
    paths = [str(Path(path)) for path in arguments.out]
    return Answer("\n".join(f"written: {path}" for path in paths), {"study": str(study.folder), "reports": paths})


def _quality(study: Study) -> dict[str, Any] | None:
    """quality.json of the study's own SAE, where it is at hand."""
    from analysis.opening import sae_path

    try:
        path = sae_path(study) / "quality.json"
    except (FileNotFoundError, ValueError):  # gone, or another SAE now
        return None
    return json.loads(path.read_text()) if path.exists() else None
