"""A JSON file that holds an object, or one line that says what is wrong with it."""

import json
from pathlib import Path
from typing import Any


def json_object(path: Path) -> dict[str, Any]:
    """What ``path`` holds; ValueError where that is no JSON object."""
    try:
        told = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path} does not hold an object")
    return told
