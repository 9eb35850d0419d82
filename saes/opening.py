"""A name or a path becomes a dictionary and its site, whichever format it lies in."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from saes.autoencoder import SparseAutoencoder
from saes.checkpoint import from_parts, load_sae, sae_hash, site_of
from saes.formats import dictionary_learning, gemma_scope, gemma_scope_2, named_directions, sparsify
from saes.formats.hook_names import hook_name_of_module
from saes.formats.layout import Layout, layout_of
from saes.projections import Projections
from saes.site import UNKNOWN, Site

TRANSLATED = {
    "sparsify": sparsify.read,
    "dictionary_learning": dictionary_learning.read,
    "gemma_scope": gemma_scope.read,
    "gemma_scope_2": gemma_scope_2.read,
}
"""Formats that SAELens' settings and tensors can say, and what says them."""


def open_dictionary(
    name_or_path: str | Path,
    sae_lens_release: str | None = None,
    *,
    model: str | None = None,
    hook_name: str | None = None,
) -> tuple[SparseAutoencoder | Projections, Site, dict[str, Any]]:
    """The dictionary, where it was trained, and its metadata.

    ``name_or_path`` is a folder or a file in any format of `saes.formats.layout`, or the name of one under
    ``./checkpoints`` or among those that came with this package; with ``sae_lens_release`` it is an id within that
    release of SAELens' registry. ``model`` and ``hook_name`` say what the format leaves open: without them the site's
    are UNKNOWN. Raises ValueError for a hook name that is not the one the dictionary was trained at.
    """
    dictionary: SparseAutoencoder | Projections
    if sae_lens_release is not None:
        from saes.sae_lens_bridge import load_release

        dictionary, site, metadata = load_release(sae_lens_release, str(name_or_path))
    else:
        dictionary, site, metadata = _opened(layout_of(find_sae(name_or_path)))
    site = _with_place(site, model, hook_name, name_or_path)
    if isinstance(dictionary, SparseAutoencoder):
        dictionary.site = site
    return dictionary, site, metadata


def find_sae(name_or_path: str | Path) -> Path:
    """The folder or file that a name or a path means; FileNotFoundError says where it was looked for."""
    path = Path(name_or_path)
    shelves = [Path("."), Path("checkpoints"), Path(__file__).parents[1] / "checkpoints"]
    for candidate in (shelf / path for shelf in shelves):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"there is no checkpoint {path}: not as a path, nor under ./checkpoints, nor bundled")


def known_site(site: Site, named: str | Path) -> Site:
    """``site``, or a ValueError where its model or hook name is not known of the dictionary ``named``."""
    if site.model == UNKNOWN:
        raise ValueError(f"{named} does not say which model it is of: name it with --model")
    if site.hook_name == UNKNOWN:
        raise ValueError(
            f"{named} does not say at which place of {site.model} it was trained: name it with --hook-name, for example "
            "--hook-name blocks.6.hook_resid_post"
        )
    return site


def dictionary_hash(name_or_path: str | Path) -> str:
    """A SHA-256 of what the dictionary computes: of an SAE in our own layout `sae_hash`, else of the files themselves."""
    layout = layout_of(name_or_path)
    if layout.format == "sae_lens":
        return sae_hash(layout.path)
    digest = hashlib.sha256(layout.format.encode())
    for path in layout.files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _opened(layout: Layout) -> tuple[SparseAutoencoder | Projections, Site, dict[str, Any]]:
    if layout.format == "sae_lens":
        return load_sae(layout.path)
    try:
        if layout.format == "named_directions":
            directions, metadata = named_directions.read(layout)
            return directions, site_of(metadata), metadata
        return from_parts(*TRANSLATED[layout.format](layout))
    except ValueError as error:
        raise ValueError(f"{layout.path}: {error}") from error


def _with_place(site: Site, model: str | None, hook_name: str | None, named: str | Path) -> Site:
    """``site`` with what was said besides; a Hugging Face module's path becomes the hook name of what it answers."""
    known = hook_name_of_module(site.hook_name) or site.hook_name
    if known == UNKNOWN and hook_name:
        known = hook_name
    if hook_name and known != hook_name:
        raise ValueError(f"{named} was trained at {known}, not at {hook_name}: leave --hook-name away")
    return replace(site, model=model if model and site.model == UNKNOWN else site.model, hook_name=known)
