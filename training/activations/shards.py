"""Activations on disk: written by `saes harvest`, shard by shard, and read again by any number of runs and ranks.

A folder holds manifest.json and shards in safetensors' format. A shard holds whole batches of the stream: for each site
the activations of every token of text, and which of them are no attention sinks there; so every choice of sites gets
the very rows, in the very batches, that the language model would give it.
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from training.activations.batch import ActivationBatch
from training.activations.harvest import harvest
from training.activations.shuffle import Rows
from training.language_models.language_model import LanguageModel
from training.run_state import remove_parts, replace_file

MANIFEST = "manifest.json"
FORMAT = 1
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROWS_A_SHARD = 131_072


@dataclass(frozen=True)
class Shard:
    """One file, as the manifest describes it."""

    file: str
    size: int
    """In bytes."""
    sha256: str
    batches: tuple[int, ...]
    """How many tokens of text each of its batches has."""
    kept: dict[str, int]
    """hook name -> how many of them are no attention sinks there."""

    def rows(self, hook_names: Sequence[str]) -> int:
        """How many rows it has for these sites, or a few more than that where there are several."""
        return min(self.kept[name] for name in hook_names)


class Shards:
    """A folder of them, opened: everything the manifest says has been checked but the hashes."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = folder
        self.about: dict[str, Any] = manifest["about"]
        self.shards = [Shard(**{**one, "batches": tuple(one["batches"])}) for one in manifest["shards"]]
        self._read: set[str] = set()

    @classmethod
    def open(cls, folder: str | Path) -> "Shards":
        """The shards in ``folder``; a ValueError or FileNotFoundError that says what is wrong with them."""
        folder = Path(folder)
        shards = cls(folder, _manifest(folder))
        for shard in shards.shards:
            path = folder / shard.file
            if not path.exists() or path.stat().st_size != shard.size:
                found = f"has {path.stat().st_size} bytes instead of {shard.size}" if path.exists() else "is missing"
                raise ValueError(f"the shard {path} {found}: run the same `saes harvest` again, which fills the gap")
        return shards

    @property
    def context(self) -> int:
        return self.about["context"]

    @property
    def prepend_bos(self) -> bool:
        return self.about["prepend_bos"]

    def width(self, hook_name: str) -> int:
        """The length of the activations there."""
        widths = self.about["sites"]
        if hook_name not in widths:
            raise ValueError(f"{self.folder} holds no activations at {hook_name!r}, only at {', '.join(widths)}")
        return widths[hook_name]

    def rows_at(self, hook_names: Sequence[str]) -> int:
        """How many rows there are for these sites."""
        if len(hook_names) == 1:
            return sum(shard.rows(hook_names) for shard in self.shards)
        return sum(self.rows_by_batch(hook_names))

    def rows_by_batch(self, hook_names: Sequence[str]) -> list[int]:
        """How many rows each batch has for these sites; no hash is checked for it, since that reads everything."""
        from safetensors import safe_open

        found = []
        for shard in self.shards:
            kept = _kept_at(safe_open(self.folder / shard.file, framework="pt"), hook_names)
            found += [int(part.sum()) for part in kept.split(shard.batches)]
        return found

    def check_origin(self, asked: Mapping[str, Any]) -> None:
        """A ValueError where the activations are of another model or corpus than the one ``asked`` for."""
        wrong = [name for name, value in asked.items() if value != self.about[name]]
        if wrong:
            told = ", ".join(f"{name} {self.about[name]!r} and not {asked[name]!r}" for name in wrong)
            raise ValueError(f"{self.folder} holds activations of {told}")

    def check_weights(self, model: LanguageModel) -> None:
        """A ValueError where ``model`` is not the one that was harvested, going by its weights."""
        if model.weights_hash() != self.about["weights_sha256"]:
            raise ValueError(f"the weights of {model.name} are not those that {self.folder} was harvested from")

    def batches(
        self, hook_names: Sequence[str], start: int = 0, rank: int = 0, ranks: int = 1
    ) -> Generator[Rows, None, None]:
        """The rows of the tokens that are kept at every one of ``hook_names``, batch by batch, from ``start`` on.

        Of several ranks each gets every ``ranks``-th batch. A shard's hash is checked when it is first read.
        """
        number = -1
        for shard in self.shards:
            opened = None
            first = 0
            for rows in shard.batches:
                number += 1
                here, first = slice(first, first + rows), first + rows
                if number % ranks != rank or number // ranks < start:
                    continue
                opened = self._opened(shard) if opened is None else opened
                keep = _kept_at(opened, hook_names, here)
                yield {name: opened.get_slice(name)[here][keep] for name in hook_names}

    def _opened(self, shard: Shard) -> Any:
        """The shard as a memory map that has its hash."""
        from safetensors import safe_open

        path = self.folder / shard.file
        if shard.file not in self._read:
            if _sha256(path) != shard.sha256:
                raise ValueError(
                    f"the shard {path} is damaged (its hash is not the manifest's): delete it and run the same "
                    "`saes harvest` again, which fills the gap"
                )
            self._read.add(shard.file)
        return safe_open(path, framework="pt")


def write_shards(
    folder: str | Path,
    model: LanguageModel,
    hook_names: Sequence[str],
    token_batches: Iterator[Any],
    rows: int,
    about: dict[str, Any],
    dtype: str = "bfloat16",
    rows_a_shard: int = ROWS_A_SHARD,
    progress: bool = True,
) -> Path:
    """Shards of at least ``rows`` rows, kept at all of ``hook_names``, of what the model makes of ``token_batches``.

    ``about`` says what else decides them and joins the manifest. Whole shards that an earlier, killed call with the same
    settings left are kept, and the batches in them are not read again.
    """
    folder = Path(folder)
    if dtype not in DTYPES:
        raise ValueError(f"activations are stored as {' or '.join(DTYPES)}, not {dtype!r}")
    widths = {name: model.width(name) for name in hook_names}
    about = {**about, "sites": widths, "stored_as": dtype, "weights_sha256": model.weights_hash()}
    written = _whole_shards(folder, about)
    held = sum(shard.rows(hook_names) for shard in written)
    for _ in range(sum(len(shard.batches) for shard in written)):
        next(token_batches)
    bar = tqdm(total=rows, initial=min(held, rows), desc="harvest", unit="tok", unit_scale=True, disable=not progress)
    collected: list[dict[str, ActivationBatch]] = []
    found = harvest(model, hook_names, token_batches)
    with bar:
        while held < rows:
            batch = next(found, None)
            if batch is None:
                raise ValueError(f"the corpus ended after {held} of {rows} activations")
            collected.append({name: _on_cpu(one, DTYPES[dtype]) for name, one in batch.items()})
            kept = int(torch.stack([one.keep for one in batch.values()]).all(0).sum())
            held += kept
            bar.update(kept)
            if held >= rows or sum(int(_text(one).sum()) for one in collected) >= rows_a_shard:
                written.append(_write_shard(folder, len(written), collected))
                _write_manifest(folder, about, written)
                collected = []
    return folder


def _on_cpu(batch: ActivationBatch, dtype: torch.dtype) -> ActivationBatch:
    return ActivationBatch(batch.tokens.to("cpu"), batch.vectors.to(dtype).cpu(), batch.keep.cpu())


def _text(batch: dict[str, ActivationBatch]) -> Tensor:
    """Where text is; the same at every site."""
    return next(iter(batch.values())).tokens.keep


def _write_shard(folder: Path, number: int, batches: list[dict[str, ActivationBatch]]) -> Shard:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    kept = {}
    for name in batches[0]:
        within = torch.cat([batch[name].keep[_text(batch)] for batch in batches])
        tensors[name] = torch.cat([batch[name].vectors[_text(batch)] for batch in batches])
        tensors[_mask(name)] = within.to(torch.uint8)
        kept[name] = int(within.sum())
    path = folder / f"{number:06d}.safetensors"
    replace_file(path, lambda part: save_file(tensors, part))
    counts = tuple(int(_text(batch).sum()) for batch in batches)
    return Shard(path.name, path.stat().st_size, _sha256(path), counts, kept)


def _mask(hook_name: str) -> str:
    return f"within {hook_name}"


def _kept_at(opened: Any, hook_names: Sequence[str], here: slice = slice(None)) -> Tensor:
    """Which tokens of a shard are attention sinks at none of the sites."""
    return torch.stack([opened.get_slice(_mask(name))[here].bool() for name in hook_names]).all(0)


def _whole_shards(folder: Path, about: dict[str, Any]) -> list[Shard]:
    """What an earlier call left, up to the first shard that is not there or too short."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_parts(folder)
    if not (folder / MANIFEST).exists():
        if any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty, and holds no {MANIFEST}: name another folder with out")
        _write_manifest(folder, about, [])
        return []
    before = Shards(folder, _manifest(folder, unfinished=True))
    changed = [name for name in about if before.about.get(name) != about[name]]
    if changed:
        told = ", ".join(f"{name} ({before.about.get(name)!r}, now {about[name]!r})" for name in changed)
        raise ValueError(f"{folder} was begun with other settings: {told}")
    whole = []
    for shard in before.shards:
        path = folder / shard.file
        if not path.exists() or path.stat().st_size != shard.size:
            break
        whole.append(shard)
    return whole


def _write_manifest(folder: Path, about: dict[str, Any], shards: Iterable[Shard]) -> None:
    manifest = {"format": FORMAT, "about": about, "shards": [asdict(shard) for shard in shards]}
    replace_file(folder / MANIFEST, lambda part: part.write_text(json.dumps(manifest, indent=1) + "\n"))


def _manifest(folder: Path, unfinished: bool = False) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no activations (no {MANIFEST}): `saes harvest` makes such a folder")
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}, and this version reads {FORMAT}")
        Shards(folder, manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not manifest["shards"] and not unfinished:
        raise ValueError(f"{folder} holds no whole shard yet: run the same `saes harvest` again, which goes on")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
