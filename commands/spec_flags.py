"""A flag for each field of a frozen settings class: its name, its type, its docstring."""

import argparse
import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

COMMON = ("seed", "device")
"""Fields whose flags every verb has."""


def add_spec_flags(group: Any, spec: type, skip: tuple[str, ...] = ()) -> None:
    """Adds `--field` for every field of the dataclass `spec`; a flag that is not given leaves no trace."""
    hints, about = get_type_hints(spec), field_docs(spec)
    for field in fields(spec):
        if field.name in (*COMMON, *skip):
            continue
        default = "" if field.default is MISSING or field.default in ((), None, "") else f" (default {field.default})"
        help_ = " ".join((about.get(field.name, "") + default).split()).replace("%", "%%")
        flag = "--" + field.name.replace("_", "-")
        group.add_argument(
            flag, dest=field.name, default=argparse.SUPPRESS, help=help_ or None, **_option(hints[field.name])
        )


def given(arguments: argparse.Namespace, spec: type) -> dict[str, Any]:
    """The fields whose flags were given."""
    found = {field.name: getattr(arguments, field.name) for field in fields(spec) if hasattr(arguments, field.name)}
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    for name, without in (("seed", None), ("device", "auto")):
        if found.get(name) == without:
            found.pop(name, None)
    return found


def field_docs(spec: type) -> dict[str, str]:
    """field -> the string that stands under it in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(spec))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for line, following in zip(body.body, body.body[1:], strict=False):
        said = following.value.value if _is_string(following) else None
        if said is not None and isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            docs[line.target.id] = said
    return docs


def _is_string(node: ast.stmt) -> TypeGuard[Any]:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def count(text: str) -> int:
    """A whole number, also as 2_000_000, 2e6, 500k or 2M."""
    factor = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}.get(text[-1:].lower(), 1)
    number = float(text[:-1] if factor > 1 else text) * factor
    if number != int(number):
        raise ValueError(f"{text!r} is not a whole number")
    return int(number)


def mapping(text: str) -> dict[str, Any]:
    """`{d_sae: [1024, 4096]}`, as YAML."""
    from saes.plain_file import plain

    try:
        found = plain(text, "it")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form {{field: [value, value]}}")
    return found


def listed(text: str, kind: Any = str) -> list:
    """`a,b,c` as a list. ValueError, in words, where a part is no number and should be one, or where there is none."""
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(kind(part))
        except ValueError as error:
            raise ValueError(f"{part!r} in {text!r} is no number") from error
    if not found:
        raise ValueError(f"{text!r} names nothing: give one or more, with commas between them")
    return found


def at_least(least: int) -> Callable[[str], int]:
    """A flag's type: whole numbers from `least` on."""

    def whole(text: str) -> int:
        try:
            number = count(text)
        except (ValueError, OverflowError):
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text} is no whole number from {least} on")
        return number

    return whole


def _option(hint: Any) -> dict[str, Any]:
    """What argparse needs to read a field of this type."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return _option(next(inner for inner in arguments if inner is not NoneType))
    if get_origin(hint) is Literal:
        return {"choices": arguments, "type": type(arguments[0])}
    if get_origin(hint) in (tuple, list):
        inner = _option(arguments[0])
        return {"nargs": "+", "action": "extend", **inner}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(hint) is dict:
        return {"type": mapping, "metavar": "{FIELD: [VALUE, ...]}"}
    return {"type": count if hint is int else hint, "metavar": {int: "N", float: "X"}.get(hint, "TEXT")}
