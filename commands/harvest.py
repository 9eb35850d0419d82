"""Writes the activations of a language model to disk, for any number of training runs to read.

Leaves shards and a manifest in --out. `saes train --activations DIR` with the same model, corpus and hook name then
trains from them. Stopped or killed, the same command goes on after the last whole shard.
"""

import argparse
from pathlib import Path

from commands.answer import Answer
from commands.spec_flags import add_spec_flags, count
from commands.train import spec_of
from training.spec import TrainSpec

EXAMPLE = "saes harvest tiny --out checkpoints/tiny-activations --rows 20k"
MAIN = ("model", "hook_name", "sites", "corpus", "tokens")
FURTHER = (
    "repeats", "buffer_rows", "corpus_split", "corpus_column", "context", "window_batch", "dtype", "through", "revision",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fields = TrainSpec.__dataclass_fields__
    group = parser.add_argument_group("what to harvest")
    group.add_argument("recipe", nargs="?", metavar="RECIPE|SPEC.yaml", help="of the runs that will read it")
    add_spec_flags(group, TrainSpec, skip=tuple(name for name in fields if name not in MAIN))
    group.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any field; may be repeated")
    group = parser.add_argument_group("where to, and how much")
    group.add_argument("--out", dest="to", required=True, metavar="DIR", help="the folder to make")
    group.add_argument("--rows", type=count, metavar="N", help="activations (default: what a run of the spec takes)")
    group.add_argument("--stored-as", default="bfloat16", choices=("bfloat16", "float32"), help="(default bfloat16)")
    group.add_argument("--shard-rows", type=count, metavar="N", help="activations in a file (default 131072)")
    add_spec_flags(
        parser.add_argument_group("further fields"),
        TrainSpec,
        skip=tuple(name for name in fields if name not in FURTHER),
    )


def run(arguments: argparse.Namespace) -> Answer:
    spec = spec_of(arguments)
    from training.activations.shards import ROWS_A_SHARD, Shards
    from training.harvesting import harvest_to_disk

    per_shard = ROWS_A_SHARD if arguments.shard_rows is None else arguments.shard_rows
    folder = harvest_to_disk(spec, arguments.to, arguments.rows, arguments.stored_as, per_shard)
    rows = Shards.open(folder).rows_at(spec.hook_names)
    size = sum(path.stat().st_size for path in Path(folder).iterdir())
    text = (
        f"{folder}: {rows:,} activations at {', '.join(spec.hook_names)}, {size / 1e9:.2f} GB\n"
        f"next: saes train --activations {folder} --model {spec.model} --corpus {spec.corpus} "
        f"--hook-name {spec.hook_names[0]}"
    )
    return Answer(text, {"folder": str(folder), "rows": rows, "sites": list(spec.hook_names), "bytes": size})
