"""Trains a small language model, from nothing or on from an earlier run (`--start`), by the recipe of the bundled one.

Leaves a Hugging Face folder with a model card. Text comes from storyworld (endless, from the seed) and, where given,
from prose. Stopped at any time, the same command goes on where it was.
"""

import argparse
from pathlib import Path

from commands.answer import Answer
from commands.spec_flags import add_spec_flags, given

EXAMPLE = "saes pretrain --out checkpoints/small --tokens 200k --d-model 64 --n-layers 2 --vocab-size 512"
MAIN = ("out", "tokens", "start", "corpus", "corpus_weights", "storyworld_share")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from training.language_models.pretrain import PretrainSpec

    rest = tuple(name for name in PretrainSpec.__dataclass_fields__ if name not in MAIN)
    add_spec_flags(parser.add_argument_group("what to train on"), PretrainSpec, skip=rest)
    add_spec_flags(parser.add_argument_group("the model and its training"), PretrainSpec, skip=MAIN)


def run(arguments: argparse.Namespace) -> Answer:
    from training.language_models.opening import choose_device
    from training.language_models.pretrain import PretrainSpec, pretrain

    settings = given(arguments, PretrainSpec)
    for path in settings.get("corpus", ()):
        if path.startswith((".", "/", "~")) and not Path(path).exists():
            raise FileNotFoundError(f"there is no corpus {path}: give a folder, a file or the name of a data set")
    spec = PretrainSpec(**settings)
    folder = pretrain(spec, choose_device(arguments.device))
    text = (
        f"{folder}: {spec.tokens:,} tokens; its model card is {folder / 'README.md'}\nnext: saes train --model {folder}"
    )
    return Answer(text, {"folder": str(folder), "tokens": spec.tokens, "seed": spec.seed})
