"""Plain data (mappings, lists, texts, numbers) from and to YAML and JSON files, by the same rules wherever one is read.

YAML as everywhere, but 1e-3 is a number, as it is in JSON: by YAML 1.1 it lacks a dot and is a text. So the text "1e-3"
is written in quotes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


class _Loader(yaml.SafeLoader):
    """YAML's, with those numbers."""


class _Dumper(yaml.SafeDumper):
    """YAML's, which puts a text in quotes where `_Loader` would take it for a number."""


for _one in (_Loader, _Dumper):
    _one.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def plain(text: str, source: str) -> Any:
    """What ``text`` says as YAML. ValueError, in one line that names ``source``, where it is none."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        raise ValueError(f"{source} is not YAML: {' '.join(str(error).split())}") from error


def read_plain(path: str | Path) -> Any:
    """What a YAML or JSON file holds, or (for -) standard input. FileNotFoundError where there is none, ValueError where it
    is neither."""
    if str(path) == "-":
        return plain(sys.stdin.read(), "standard input")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no spec {path}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
    if Path(path).suffix == ".json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
    return plain(text, str(path))


def write_plain(path: str | Path, data: Any) -> None:
    """Plain data as JSON where the name ends in .json, else as YAML."""
    if Path(path).suffix == ".json":
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")
