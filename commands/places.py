"""Where a checkpoint or a study is: a path, a name under ./checkpoints, or one that came with the package."""

from pathlib import Path

from saes.formats.layout import layout_at, layout_of

BUNDLED = Path(__file__).parents[1] / "checkpoints"
DEFAULT = "storyteller-sae"
"""The bundled SAE, with its study inside."""


def find_folder(name: str | Path) -> Path:
    """The folder that ``name`` means, or the file where that is a dictionary; FileNotFoundError says where it was looked
    for, ValueError what a file is instead."""
    for shelf in (Path("."), Path("checkpoints"), BUNDLED):
        if (shelf / name).is_dir():
            return shelf / name
        if (shelf / name).is_file():
            return layout_of(shelf / name).path
    raise FileNotFoundError(
        f"there is no checkpoint or study {name}: not as a folder, nor under ./checkpoints, nor bundled"
    )


def is_study(folder: Path) -> bool:
    return (folder / "study.json").exists()


def is_checkpoint(folder: Path) -> bool:
    return layout_at(folder) is not None


def find_study(name: str | Path) -> Path:
    """The study folder: ``name`` itself, or the study inside the checkpoint ``name``."""
    folder = find_folder(name)
    return folder / "study" if is_checkpoint(folder) and is_study(folder / "study") else folder


def is_bundled(folder: Path) -> bool:
    return BUNDLED.resolve() in folder.resolve().parents
