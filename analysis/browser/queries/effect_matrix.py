"""The emotion × emotion matrix: what each label, clamped at its dose, does to each concept; as values and as a picture."""

import base64
import struct
import zlib
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from markupsafe import Markup

from analysis.browser.queries.concept_facts import concept_facts
from analysis.browser.queries.remembered import Remembered
from analysis.browser.queries.store import Store
from analysis.report.content import ConceptFacts

TOWARDS, AWAY = (213, 94, 0), (0, 114, 178)
"""Orange and blue of Okabe and Ito, which colour-blind eyes tell apart, on a light page and on a dark one."""
STRONGEST = 0.98
"""The quantile of all effects' sizes that has the full colour."""


@dataclass(frozen=True)
class EffectMatrix:
    """The judge's effect, as a share of the way to the concept's own texts; families side by side."""

    labels: list[str]
    """Rows."""
    concepts: list[str]
    """Columns."""
    families: list[str]
    """Of the columns."""
    effects: list[list[float | None]]
    """[label][concept]"""
    full: float
    """The effect that has the full colour."""

    @property
    def picture(self) -> Markup:
        """The whole matrix as the address of an image, one pixel a cell."""
        return Markup(_address(_pixels(self.effects, self.full)))

    @property
    def bands(self) -> list[tuple[str, float, float]]:
        """Each family's name with where its columns begin and end, as shares of the width."""
        found, at = [], 0
        for family, columns in groupby(self.families):
            stop = at + len(list(columns))
            found.append((family, at / len(self.families), stop / len(self.families)))
            at = stop
        return found

    def row(self, label: str) -> list[float | None]:
        """[concept] What one label does."""
        return self.effects[self.labels.index(label)]

    def strip(self, label: str) -> Markup:
        """One row as a picture."""
        return Markup(_address(_pixels([self.row(label)], self.full)))


def effect_matrix(store: Store) -> EffectMatrix:
    """Made once for each state of the study; without rows where nothing was clamped."""
    return _matrix(store)


def _read(store: Store) -> EffectMatrix:
    rows = store.rows("SELECT arm_id, concept, judge FROM effects WHERE arm = 'label'")
    about = concept_facts(store)
    known = {(row["arm_id"], row["concept"]): row["judge"] for row in rows}

    def ordered(names: set[str]) -> list[str]:
        return sorted(names, key=lambda name: (about.get(name, ConceptFacts()).family, name))

    labels, concepts = ordered({label for label, _ in known}), ordered({concept for _, concept in known})
    sizes = np.abs([value for value in known.values() if np.isfinite(value)])
    return EffectMatrix(
        labels=labels,
        concepts=concepts,
        families=[about.get(name, ConceptFacts()).family for name in concepts],
        effects=[[known.get((label, concept)) for concept in concepts] for label in labels],
        full=float(np.quantile(sizes, STRONGEST)) if len(sizes) else 0.0,
    )


_matrix = Remembered(_read, lambda store: store.stamp("effects", "cards"))


def _pixels(effects: list[list[float | None]], full: float) -> np.ndarray:
    """[row, column, RGBA] uint8: the colour says the direction, its opacity the size; what is not known is clear."""
    values = np.nan_to_num(np.array(effects, dtype=float))
    pixels = np.where((values >= 0)[..., None], np.array([*TOWARDS, 0]), np.array([*AWAY, 0])).astype(np.uint8)
    pixels[..., 3] = np.rint(255 * np.clip(np.abs(values) / full if full else 0 * values, 0, 1))
    return pixels


def _address(pixels: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def png(pixels: np.ndarray) -> bytes:
    """[row, column, RGBA] uint8 as a PNG file (ISO/IEC 15948: signature, then header, data and end)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, 4 * width)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + chunk(b"IEND", b"")
    )
