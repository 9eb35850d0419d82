"""Which format lies at a path, told by the files that are there; reads no weights and loads no torch."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

READABLE = (
    "a folder with cfg.json and sae_weights.safetensors (ours, SAELens'), with cfg.json and sae.safetensors (sparsify), "
    "with config.json and ae.pt (dictionary_learning) or with params.npz or params.safetensors (Gemma Scope, Gemma Scope 2); or an npz of named directions"
)
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")

DIRECTIONS_OF_A_STUDY = "diff_means.npz"
CENTRE_OF_A_STUDY = "mean_activation.npz"


@dataclass(frozen=True)
class Layout:
    """A dictionary's place on disk."""

    format: str
    """sae_lens, sparsify, dictionary_learning, gemma_scope, gemma_scope_2 or named_directions: of all but the first, the module of
    `saes.formats` that reads it."""
    path: Path
    """What the dictionary is called by: its folder, or the file itself where a folder may hold several."""
    weights: Path
    config: Path | None = None
    """The file of settings, where the format has one."""

    @property
    def files(self) -> list[Path]:
        """The files that decide what the dictionary computes."""
        beside = self.weights.with_name(CENTRE_OF_A_STUDY) if self.weights.name == DIRECTIONS_OF_A_STUDY else None
        return [path for path in (self.weights, self.config, beside) if path is not None and path.exists()]


def layout_at(path: str | Path) -> Layout | None:
    """The dictionary at ``path``, or None where there is none."""
    path = Path(path)
    return _of_folder(path) if path.is_dir() else _of_file(path) if path.is_file() else None


def layout_of(path: str | Path) -> Layout:
    """The dictionary at ``path``; ValueError or FileNotFoundError says what lies there instead, and what would do."""
    path = Path(path)
    layout = layout_at(path)
    if layout is not None:
        return layout
    if not path.exists():
        raise FileNotFoundError(f"there is no dictionary {path}")
    if path.is_file():
        if path.suffix in PICKLES:
            raise ValueError(
                f"{path} is a pickle, which can run code: refused; only a dictionary_learning one with its config.json beside it is read, as plain tensors"
            )
        raise ValueError(f"{path} is no dictionary: what can be read is {READABLE}")
    inside = layouts_inside(path)
    if inside:
        some = ", ".join(str(one.path) for one in inside[:4]) + (", ..." if len(inside) > 4 else "")
        raise ValueError(f"{path} holds {len(inside)} dictionaries, so name one of them: {some}")
    if (path / DIRECTIONS_OF_A_STUDY).exists():
        raise ValueError(
            f"{path} is a study; its directions are a dictionary by the name {path / DIRECTIONS_OF_A_STUDY}"
        )
    found = sorted(one.name for one in path.iterdir())
    pickles = [name for name in found if Path(name).suffix in PICKLES]
    if pickles:
        raise ValueError(
            f"{path / pickles[0]} is a pickle, which can run code: refused; what can be read is {READABLE}"
        )
    listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    raise FileNotFoundError(
        f"{path} is not a checkpoint: it holds {listed or 'nothing'}; what can be read is {READABLE}"
    )


def layouts_inside(folder: Path) -> list[Layout]:
    """The dictionaries in the folders right below ``folder``, in the order of their names."""
    found = [layout_at(one) for one in sorted(folder.iterdir()) if one.is_dir()]
    return [one for one in found if one is not None]


def _of_folder(folder: Path) -> Layout | None:
    def has(name: str) -> bool:
        return (folder / name).is_file()

    if has("cfg.json") and has("sae.safetensors") and not has("sae_weights.safetensors"):
        return Layout("sparsify", folder, folder / "sae.safetensors", folder / "cfg.json")
    if has("cfg.json") or has("sae_weights.safetensors"):
        return Layout("sae_lens", folder, folder / "sae_weights.safetensors", folder / "cfg.json")
    if has("ae.pt") and has("config.json"):
        return Layout("dictionary_learning", folder, folder / "ae.pt", folder / "config.json")
    if has("params.safetensors") and has("config.json"):
        return Layout("gemma_scope_2", folder, folder / "params.safetensors", folder / "config.json")
    if has("params.npz"):
        return Layout("gemma_scope", folder, folder / "params.npz")
    return None


def _of_file(file: Path) -> Layout | None:
    own = _of_folder(file.parent)
    if own is not None and own.weights == file:
        return own
    if file.suffix == ".pt":  # a run keeps checkpoints/ae_<step>.pt below its config.json
        for config in (file.parent / "config.json", file.parent.parent / "config.json"):
            if config.is_file():
                return Layout("dictionary_learning", file, file, config)
    if file.suffix == ".npz" and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as arrays:
            holds_sae = "W_enc.npy" in arrays.namelist()
        return Layout("gemma_scope" if holds_sae else "named_directions", file, file)
    return None
