"""What a validation has already run, on disk, so that one that was stopped goes on where it was."""

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.study import write_whole

FIELDS = ("judge", "readout", "kl", "fluency")


def digest_of(settings: dict[str, Any]) -> str:
    """What tells settings from others."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class Finished:
    """The arms that ran under the same settings. A file holds a batch of arms and is written whole or not at all."""

    def __init__(self, folder: Path, digest: str):
        """Opens the record of the settings with this digest; one of others is thrown away."""
        self.folder = folder
        self.arms: dict[tuple[str, str], tuple] = {}
        mark = folder / "settings"
        if not mark.exists() or mark.read_text() != digest:
            self.remove()
            folder.mkdir(parents=True)
            write_whole(mark, digest.encode())
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as arrays:
                phase, keys = str(arrays["phase"]), arrays["keys"]
                texts, parts = arrays["texts"].tolist(), [arrays[name] for name in FIELDS]
            for place, key in enumerate(keys):
                one = tuple(part[place : place + 1] for part in parts)
                self.arms[phase, str(key)] = (*one, texts[place : place + 1])

    def get(self, phase: str, key: str) -> tuple | None:
        """The fields of an arm's effects, `[1, ...]` each, or None where it did not run yet."""
        return self.arms.get((phase, key))

    def add(self, phase: str, keys: Sequence[str], effects: Any) -> None:
        """Notes a batch of arms."""
        content = io.BytesIO()
        arrays = {name: getattr(effects, name) for name in FIELDS}
        np.savez(content, phase=np.array(phase), keys=np.array(keys), texts=np.array(effects.texts), **arrays)
        name = hashlib.sha256("\n".join((phase, *keys)).encode()).hexdigest()[:16]
        write_whole(self.folder / f"{name}.npz", content.getvalue())

    def remove(self) -> None:
        """Takes the record away, when all is said in the study's tables."""
        shutil.rmtree(self.folder, ignore_errors=True)
