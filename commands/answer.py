"""What a verb hands back: a text for people, and the same as data for scripts."""

from typing import Any, NamedTuple


class Answer(NamedTuple):
    text: str
    data: dict[str, Any]
    """Printed as one JSON object with `--json`."""
