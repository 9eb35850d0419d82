"""A name or a path becomes a dictionary and its site."""

from pathlib import Path
from typing import Any

from saes.autoencoder import SparseAutoencoder
from saes.checkpoint import load_sae
from saes.site import Site


def open_dictionary(
    name_or_path: str | Path, sae_lens_release: str | None = None
) -> tuple[SparseAutoencoder, Site, dict[str, Any]]:
    """The dictionary, where it was trained, and its metadata.

    ``name_or_path`` is a checkpoint folder, or the name of one under ``./checkpoints`` or among those that came with
    this package; with ``sae_lens_release`` it is an id within that release of SAELens' registry.
    """
    if sae_lens_release is not None:
        from saes.sae_lens_bridge import load_release

        return load_release(sae_lens_release, str(name_or_path))
    return load_sae(find_sae(name_or_path))


def find_sae(name_or_path: str | Path) -> Path:
    """The folder that a name or a path means; FileNotFoundError says where it was looked for."""
    path = Path(name_or_path)
    shelves = [Path("."), Path("checkpoints"), Path(__file__).parents[1] / "checkpoints"]
    for candidate in (shelf / path for shelf in shelves):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"there is no checkpoint {path}: not as a path, nor under ./checkpoints, nor bundled")
