"""A name or a folder becomes a language model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import torch

from training.language_models.language_model import LanguageModel

Through = Literal["hugging_face", "transformer_lens"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_model(
    name_or_folder: str | Path,
    device: str = "auto",
    dtype: str = "float32",
    through: Through = "hugging_face",
    revision: str | None = None,
) -> LanguageModel:
    """The language model, ready to be read, edited and written with.

    ``name_or_folder`` is a Hugging Face folder, the name of one under ``./checkpoints`` or under the ``checkpoints``
    that came with this package, or a name on the hub. ``device`` "auto" is the GPU where there is one.
    """
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; it is one of {', '.join(DTYPES)}")
    if through not in get_args(Through):
        raise ValueError(f"a model opens through {' or '.join(get_args(Through))}, not {through!r}")
    name = str(name_or_folder)
    folder = find_folder(name)
    where = choose_device(device)
    if through == "transformer_lens":
        from training.language_models.transformer_lens import open_transformer_lens

        return open_transformer_lens(name, folder, where, DTYPES[dtype], revision)
    from training.language_models.hugging_face import open_hugging_face

    return open_hugging_face(name, folder, where, DTYPES[dtype], revision)


def check_hook_names(name_or_folder: str | Path, hook_names: Iterable[str], revision: str | None = None) -> None:
    """A ValueError that says what would do, where the model has no such place: from its config, before its weights."""
    from training.language_models.hugging_face import hook_names_of, unknown_hook_name

    name = str(name_or_folder)
    known, n_layers = hook_names_of(find_folder(name) or name, revision)
    for hook_name in hook_names:
        if hook_name not in known:
            raise ValueError(unknown_hook_name(hook_name, known, n_layers, name))


def find_folder(name: str) -> str | None:
    """The folder that ``name`` means, or None where it can only be a name on the hub."""
    bundled = Path(__file__).parents[2] / "checkpoints"
    for candidate in (Path(name), Path("checkpoints") / name, bundled / name):
        if (candidate / "config.json").is_file():
            return str(candidate)
    if Path(name).exists():
        raise FileNotFoundError(f"{name} is not a model folder: it has no config.json")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.split("/")[0] == "checkpoints":
        raise FileNotFoundError(f"there is no model folder {name}")
    return None


def choose_device(device: str) -> str:
    """``device``, with "auto" made definite; a ValueError where the machine has no such thing."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}: auto, cpu, cuda or cuda:1, for example") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no GPU here; auto or cpu would do")
    return device
