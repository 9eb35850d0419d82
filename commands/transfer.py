"""Scores a study's frozen labels on a labelled data set that nobody here wrote; nothing is fitted to it.

A column map in YAML says what the columns mean (goemotions, carer and emobank come with the toolkit). AUROC by concept, and
correlations with human valence and arousal, beside the difference of means. Writes transfer and transfer_ratings.
"""

import argparse
from dataclasses import asdict
from typing import Any

import numpy as np

from analysis.records import Transfer, TransferRating
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study

EXAMPLE = "saes transfer checkpoints/my-study --data goemotions --file goemotions.jsonl --limit 5000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to score, and on what")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--data", required=True, metavar="MAP.yaml", help="a column map, or the name of a bundled one")
    group.add_argument(
        "--file", metavar="PATH", help="csv, tsv, jsonl (also .xz), parquet or folder instead of the map's data"
    )
    group.add_argument("--split", metavar="NAME", help="default: the map's; all is every text of a file")
    group.add_argument("--limit", type=int, metavar="N", help="so many texts, drawn at random")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the study's")


def run(arguments: argparse.Namespace) -> Answer:
    study = Study.open(find_study(arguments.study))
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {arguments.limit}")
    from analysis.concepts.column_map import read_map
    from analysis.transfer import transfer

    column_map = read_map(arguments.data)
    study = transfer(
        study,
        column_map,
        file=arguments.file,
        split=arguments.split,
        limit=arguments.limit,
        model=arguments.model,
        seed=arguments.seed or 0,
        device=arguments.device,
    )
    found = found_in(study, column_map.name)
    return Answer(table(*found), {**shown(*found), "study": str(study.folder)})


def found_in(study: Study, data: str | None = None) -> tuple[list[Transfer], list[TransferRating]]:
    """What the study holds of one data set, or of all."""
    rows, ratings = study.read("transfer", Transfer), study.read("transfer_ratings", TransferRating)
    return [one for one in rows if data in (None, one.data)], [one for one in ratings if data in (None, one.data)]


def table(rows: list[Transfer], ratings: list[TransferRating]) -> str:
    """What was found, as text for the terminal."""
    from analysis.report.tables import transfer, transfer_ratings
    from analysis.report.terminal import drawn

    found = [transfer(rows)] if rows else []
    return "\n\n".join(drawn(one) for one in (*found, *([transfer_ratings(ratings)] if ratings else [])))


def _medians(rows: list[Transfer]) -> dict[str, float]:
    methods = dict.fromkeys(one.method for one in rows)
    return {name: float(np.median([one.auroc for one in rows if one.method == name])) for name in methods}


def shown(rows: list[Transfer], ratings: list[TransferRating]) -> dict[str, Any]:
    """What scripts get."""
    return {
        "transfer": [asdict(one) for one in rows],
        "transfer_median_auroc": {
            data: _medians([one for one in rows if one.data == data])
            for data in dict.fromkeys(one.data for one in rows)
        },
        "transfer_ratings": [asdict(one) for one in ratings],
    }
