"""Checks plain data (as read from YAML or JSON) against a JSON schema, and says in one line what is wrong and where.

Only the part of JSON Schema that is used here: type, properties, required, items, enum, anyOf, the least and most items,
properties and numbers. An object holds no other properties than those that are named.
"""

import sys
from collections.abc import Mapping
from typing import Any

from saes.nearest import did_you_mean

TYPES = {"object": "a mapping", "array": "a list", "string": "a text", "number": "a number", "integer": "a whole number",
         "boolean": "true or false"}  # fmt: skip


def check(data: Any, schema: Mapping[str, Any], where: str) -> None:
    """Raises ValueError naming the field (``where`` and then its path) that does not fit, and what would."""
    if "anyOf" in schema:
        _check_any(data, schema["anyOf"], where)
        return
    if "enum" in schema:
        if data not in schema["enum"]:
            known = [str(one) for one in schema["enum"]]
            raise ValueError(f"{where}: {data!r} is none of {', '.join(known)}{did_you_mean(str(data), known)}")
        return
    if not _is(data, schema["type"]):
        raise ValueError(f"{where}: expected {TYPES[schema['type']]}, got {data!r}")
    if schema["type"] == "object":
        _check_object(data, schema, where)
    elif schema["type"] == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems", len(data))
        if not least <= len(data) <= most:
            wanted = f"{least}" if least == most else f"{least} or more"
            raise ValueError(f"{where}: expected {wanted} entries, got {len(data)}")
        for number, item in enumerate(data):
            check(item, schema["items"], f"{where}[{number}]")
    elif schema["type"] in ("number", "integer"):
        least, most = schema.get("minimum", data), schema.get("maximum", data)
        if not least <= data <= most:
            raise ValueError(
                f"{where}: {data} is not {f'from {least} to {most}' if most != data else f'{least} or more'}"
            )


def _check_object(data: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> None:
    known = schema["properties"]
    for name in data:
        if name not in known:
            raise ValueError(
                f"{where}: there is no field {name!r}; there are {', '.join(known)}{did_you_mean(str(name), known)}"
            )
    for name in schema.get("required", ()):
        if name not in data:
            raise ValueError(f"{where}: the field {name!r} is missing")
    least, most = schema.get("minProperties", 0), schema.get("maxProperties", len(data))
    if not least <= len(data) <= most:
        raise ValueError(f"{where}: expected exactly one of {', '.join(known)}, got {', '.join(data) or 'none'}")
    for name, value in data.items():
        check(value, known[name], f"{where}.{name}")


def _check_any(data: Any, choices: list[Mapping[str, Any]], where: str) -> None:
    """By the first choice of the data's type; an object by the one that knows its first field, where one does."""
    fitting = [one for one in choices if _is(data, one.get("type", "string"))]
    if not fitting:
        wanted = " or ".join(dict.fromkeys(TYPES[one.get("type", "string")] for one in choices))
        raise ValueError(f"{where}: expected {wanted}, got {data!r}")
    if isinstance(data, Mapping) and data:
        first = next(iter(data))
        known = [name for one in fitting for name in one["properties"]]
        if first not in known:
            raise ValueError(
                f"{where}: there is no field {first!r}; there are {', '.join(known)}{did_you_mean(str(first), known)}"
            )
        fitting = [one for one in fitting if first in one["properties"]]
    check(data, fitting[0], where)


def _is(data: Any, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(data, Mapping) and all(isinstance(name, str) for name in data)
        case "array":
            return isinstance(data, list | tuple)
        case "string":
            return isinstance(data, str)
        case "boolean":
            return isinstance(data, bool)
        case "integer":
            return isinstance(data, int) and not isinstance(data, bool)
        case _:
            # neither NaN nor infinite, nor an integer that no float can hold
            return isinstance(data, int | float) and not isinstance(data, bool) and abs(data) <= sys.float_info.max
