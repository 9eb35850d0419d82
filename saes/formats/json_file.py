"""A JSON file that holds an object, or one line that says what is wrong with it."""

import json
from pathlib import Path
from typing import Any


def json_object(path: Path) -> dict[str, Any]:
    """What ``path`` holds; ValueError where that is no JSON object, or may not be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: permission denied") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path} does not hold an object")
    return told
