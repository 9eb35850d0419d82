"""An SAE's decoder directions, read from its folder without torch, and how near two SAEs' directions are."""

import json
import mmap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from analysis.study import Study
from saes.formats.layout import Layout, layout_at

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
FORMATS = ("sae_lens", "sparsify")
"""Those whose weights are a safetensors file with a W_dec [d_sae, d_in]."""
ROWS = 4096
"""Directions that are held in memory at once."""
MOST_HEADER = 100_000_000


class NoDirections(ValueError):
    """Why an SAE's directions cannot be read here, in a sentence."""


@dataclass(frozen=True)
class Decoder:
    """W_dec on disk, read some rows at a time."""

    path: Path
    offset: int
    """Of its first byte in the file."""
    dtype: str
    """As safetensors names it."""
    d_sae: int
    d_in: int

    def rows(self, latents: Sequence[int] | Int[np.ndarray, " row"] | slice) -> Float[np.ndarray, "row d_in"]:
        """These latents' directions, of the length that the SAE gives them."""
        held = np.memmap(self.path, DTYPES[self.dtype], "r", self.offset, (self.d_sae, self.d_in))
        found = np.asarray(held[latents])
        if self.dtype == "BF16":  # the upper half of a float32
            found = (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(np.float32)


def decoder_of(study: Study) -> Decoder:
    """The decoder of the SAE that a study labelled; NoDirections says why not."""
    return _decoder(_layout(study))


def nearest(
    directions: Float[np.ndarray, "row d_in"], decoder: Decoder
) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """For each direction (at length 1) the latent whose own is nearest, and its cosine."""
    best = np.full(len(directions), -2.0, dtype=np.float32)
    where = np.zeros(len(directions), dtype=np.int64)
    for start in range(0, decoder.d_sae, ROWS):
        cosines = directions @ unit(decoder.rows(slice(start, start + ROWS))).T
        place = cosines.argmax(axis=1)
        value = cosines[np.arange(len(directions)), place]
        better = value > best
        best[better], where[better] = value[better], start + place[better]
    return where, best


def unit(rows: Float[np.ndarray, "row d_in"]) -> Float[np.ndarray, "row d_in"]:
    """Rows at length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _layout(study: Study) -> Layout:
    """As the rest of the tool looks for a study's SAE: around the study, where study.json says, beside the study."""
    said = study.info.sae_folder
    places = [study.folder.parent]
    if said:
        bundled = Path(__file__).parents[3] / "checkpoints"
        places += [shelf / said for shelf in (Path("."), Path("checkpoints"), bundled)]
    for place in [*places, study.folder.parent / "sae"]:
        with suppress(OSError):
            if (found := layout_at(place)) is not None:
                return found
    raise NoDirections(f"the SAE of {study.folder.name} is not at {said or 'any path'}, nor beside the study")


def _decoder(layout: Layout) -> Decoder:
    path = layout.weights
    if layout.format not in FORMATS or path.suffix != ".safetensors":
        raise NoDirections(
            f"{path.name} is of the format {layout.format}, whose directions are read by `saes stability` alone"
        )
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            size = int.from_bytes(held[:8], "little")
            if size > MOST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(held[8 : 8 + size])
            about = header["W_dec"]
            d_sae, d_in = about["shape"]
            start, end = about["data_offsets"]
            if about["dtype"] not in DTYPES:
                raise ValueError(f"W_dec holds {about['dtype']}")
            decoder = Decoder(path, 8 + size + start, about["dtype"], d_sae, d_in)
            if end - start != d_sae * d_in * np.dtype(DTYPES[about["dtype"]]).itemsize or 8 + size + end > len(held):
                raise ValueError("W_dec is cut short")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoDirections(f"the directions in {path} cannot be read ({error})") from error
    return decoder
