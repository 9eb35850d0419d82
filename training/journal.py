"""What happened during a run, a JSON object a line; and, where wanted, in Weights & Biases. The only door to wandb."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"


class Journal:
    """Writes each entry to ``folder/journal.jsonl`` at once, and to wandb unless ``mode`` is "off".

    ``after_step`` drops what was written for later steps, by a run that then was interrupted and is now resumed, and
    what it said of its end. ``wandb_id`` is the run at wandb that goes on then.
    """

    def __init__(
        self,
        folder: str | Path,
        mode: str = "off",
        project: str = "emotion-saes",
        settings: Mapping[str, Any] | None = None,
        after_step: int = 0,
        wandb_id: str | None = None,
    ):
        self.path = Path(folder) / JOURNAL
        before = read_journal(self.path) if self.path.exists() and after_step else []
        kept = [entry for entry in before if entry["step"] <= after_step and "quality" not in entry]
        temporary = self.path.with_name(f".{JOURNAL}.{os.getpid()}.tmp")
        temporary.write_text("".join(_line(entry) for entry in kept))
        os.replace(temporary, self.path)
        self.run: Any = None
        if mode != "off":
            self.run = _wandb().init(
                project=project,
                name=Path(folder).name,
                dir=str(folder),
                mode=mode,
                config=dict(settings or {}),
                **({"id": wandb_id, "resume": "allow"} if wandb_id else {}),
            )

    @property
    def wandb_id(self) -> str | None:
        """The id of the run at wandb, if there is one."""
        return None if self.run is None else self.run.id

    def write(self, step: int, **entry: Any) -> None:
        """One entry; numbers that JSON cannot hold become null."""
        with self.path.open("a") as file:
            file.write(_line({"step": step, **entry}))
        if self.run is not None:
            self.run.log(entry, step=step)

    def close(self) -> None:
        if self.run is not None:
            self.run.finish()
            self.run = None


class NoJournal(Journal):
    """That of a process which leaves it to another to keep one."""

    def __init__(self) -> None:
        self.run = None

    def write(self, step: int, **entry: Any) -> None:
        """Leaves no trace."""


def read_journal(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a journal; a last line that was cut off in the middle is left out."""
    lines = Path(path).read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _line(entry: Mapping[str, Any]) -> str:
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in entry.items()
    }
    return json.dumps(plain, allow_nan=False) + "\n"


def _wandb() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ImportError("wandb is not installed: pip install wandb, or leave it off with --wandb off") from error
    return wandb
