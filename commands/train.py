"""Trains a sparse autoencoder on the activations of a language model at one place, or many in one go.

Leaves cfg.json and sae_weights.safetensors (SAELens' layout), spec.json, quality.json and journal.jsonl. Settings come
from a recipe's name or a YAML file, then --set, then flags; a later one wins. Ctrl-C saves the run; --resume goes on.
Many processes train together: torchrun --nproc-per-node 4 -m commands train ... (see --latent-ranks).
SIGTERM and SIGUSR1 (a cluster's warning) save it too and end it with exit code 75; docs/cluster.md says more. With
--sites or --grid every SAE gets such a folder of its own under --out, and sweep.json lists them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from commands.answer import Answer
from commands.spec_flags import add_spec_flags, given
from training.spec import TrainSpec

EXAMPLE = "saes train tiny --out checkpoints/first --tokens 20k"
MAIN = ("model", "hook_name", "corpus", "out", "sparsity", "d_sae", "k", "tokens")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = add_run_arguments(parser, "what to train")
    group.add_argument("--resume", action="store_true", help="go on with the run in the output folder")


def add_run_arguments(parser: argparse.ArgumentParser, title: str) -> Any:
    """Recipe or file, --set and a flag a field: what says which run is meant. Returns the group of the main ones."""
    rest = tuple(name for name in TrainSpec.__dataclass_fields__ if name not in MAIN)
    group = parser.add_argument_group(title)
    group.add_argument("recipe", nargs="?", metavar="RECIPE|SPEC.yaml", help="storyteller, tiny, or a file with fields")
    add_spec_flags(group, TrainSpec, skip=rest)
    group.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any field; may be repeated")
    add_spec_flags(parser.add_argument_group("further fields"), TrainSpec, skip=MAIN)
    return group


def run(arguments: argparse.Namespace) -> Answer | None:
    from training.ranks import one_voice

    with one_voice() as first:
        spec = spec_of(arguments)
        from training.loop import SWEEP, train

        folder = train(spec, resume=arguments.resume)
    if not first:
        return None
    if spec.is_sweep:
        members = json.loads((folder / SWEEP).read_text())["members"]
        lines = [told(folder / member["folder"], member["quality"]) for member in members]
        return Answer("\n".join(lines), {"folder": str(folder), "members": members})
    quality = json.loads((folder / "quality.json").read_text())
    text = f"{told(folder, quality)}\nnext: saes label {folder}"
    return Answer(text, {"folder": str(folder), "quality": quality})


def told(folder: Path, quality: dict[str, Any]) -> str:
    """A line about a finished SAE."""
    from training.loop import NOT_MEASURED

    if NOT_MEASURED in quality:
        return f"{folder}: quality not measured, {quality[NOT_MEASURED]}"
    return (
        f"{folder}: explained variance {quality['explained_variance']:.3f}, L0 {quality['l0']:.1f}, "
        f"dead {quality['dead']:.1%}, cross-entropy recovered {quality['ce_recovered']:.3f}"
    )


def spec_of(arguments: argparse.Namespace) -> TrainSpec:
    """The recipe or file, changed by --set, then by flags."""
    name = arguments.recipe
    if name is None:
        spec = TrainSpec()
    elif Path(name).suffix in (".yaml", ".yml", ".json"):
        spec = TrainSpec.from_yaml(name)
    else:
        from training.recipes import recipe

        spec = recipe(name)
    return spec.with_settings(arguments.set).with_fields(**given(arguments, TrainSpec))
