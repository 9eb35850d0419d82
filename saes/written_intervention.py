"""An intervention as a person writes it: labels by name, amounts with their units, tokens as strings, several sites.

The value, the file and the value again are the same. `resolved` turns one site's part into an `Intervention`, which holds
latents, activation units and token ids alone. The fields are described in docs/interventions.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saes.latent_statistics import LatentStatistics
from saes.plain_file import read_plain, write_plain
from saes.schema import check

if TYPE_CHECKING:  # what is written is read without torch
    from saes.intervention import Edit, Intervention, Positions, Turns

VERSION = 1
MODES = ("set", "add", "scale", "min", "max", "ablate")
UNITS = ("raw", "max", "percentile", "dose")
"""Activation units; times the latent's largest value; that percentile of its active values; dose units of its label."""
NAMED_POSITIONS = ("all", "prompt", "generated", "assistant")
DOSE_LEVEL = 95.0
"""One dose unit of a latent without a label is this percentile of its active values, as it is with one."""

_LATENT = {"type": "integer", "minimum": 0}
_AMOUNT = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "raw": {"type": "number"},
        "max": {"type": "number"},
        "percentile": {"type": "number", "minimum": 0, "maximum": 100},
        "dose": {"type": "number"},
        "factor": {"type": "number"},
    },
}
_EDIT = {
    "type": "object",
    "required": ["mode"],
    "properties": {
        "mode": {"enum": list(MODES)},
        "label": {"type": "string"},
        "latents": {"type": "array", "minItems": 1, "items": _LATENT},
        "weights": {"type": "array", "minItems": 1, "items": {"type": "number"}},
        "value": _AMOUNT,
        "where_active": {"type": "boolean"},
    },
}
_POSITIONS = {
    "anyOf": [
        {"enum": list(NAMED_POSITIONS)},
        {
            "type": "object",
            "required": ["window"],
            "properties": {
                "window": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer", "minimum": 0}}
            },
        },
        {
            "type": "object",
            "required": ["tokens"],
            "properties": {
                "tokens": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, _LATENT]}}
            },
        },
    ]
}
_SITE = {
    "type": "object",
    "required": ["edits"],
    "properties": {
        "dictionary": {"type": "string"},
        "hook_name": {"type": "string"},
        "statistics": {"type": "string"},
        "positions": _POSITIONS,
        "only_where": {
            "type": "object",
            "required": ["latent", "above"],
            "properties": {"latent": _LATENT, "above": _AMOUNT},
        },
        "edits": {"type": "array", "minItems": 1, "items": _EDIT},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["version", "sites"],
    "properties": {"version": {"enum": [VERSION]}, "sites": {"type": "array", "minItems": 1, "items": _SITE}},
}


@dataclass(frozen=True)
class Amount:
    """A number with its unit: one of UNITS, or "factor" in a scale."""

    number: float
    unit: str

    def raw(self, latent: int, statistics: LatentStatistics | None) -> float:
        """In the latent's activation units. Raises ValueError where the statistics that this takes are missing."""
        if self.unit in ("raw", "factor"):
            return self.number
        if statistics is None:
            raise ValueError(
                f"{self.number:g} {self.unit} of latent {latent} cannot be turned into activation units without statistics: name a "
                f"study or a card under `statistics`, or give a raw value"
            )
        active = statistics.values_of(latent)
        match self.unit:
            case "max":
                return self.number * active.percentile(100)
            case "percentile":
                return active.percentile(self.number)
            case _:
                return self.number * active.percentile(DOSE_LEVEL)

    def as_data(self) -> dict[str, float]:
        return {self.unit: self.number}


@dataclass(frozen=True)
class WrittenEdit:
    """One change of a label's latents, or of latents by number."""

    mode: str
    label: str | None = None
    latents: tuple[int, ...] = ()
    value: Amount | None = None
    """None for "ablate", a "factor" for "scale", in one of UNITS for the rest."""
    weights: tuple[float, ...] | None = None
    where_active: bool = False

    def __post_init__(self):
        if bool(self.label) == bool(self.latents):
            raise ValueError("an edit needs either a label or latents")
        if self.weights is not None and len(self.weights) != len(self.latents):
            raise ValueError(f"{len(self.weights)} weights for {len(self.latents)} latents: there must be as many")
        unit = None if self.value is None else self.value.unit
        if self.mode == "ablate" and (unit is not None or self.weights is not None):
            raise ValueError(
                f"ablate takes no {'value' if unit is not None else 'weights: it sets each latent to zero'}"
            )
        if self.mode == "scale" and unit != "factor":
            raise ValueError("scale takes a value {factor: ...}")
        if self.mode not in ("ablate", "scale") and unit not in UNITS:
            raise ValueError(f"{self.mode} takes a value in one of the units {', '.join(UNITS)}")

    def resolved(self, statistics: LatentStatistics | None) -> "Edit":
        """The edit of latents in activation units."""
        from saes.intervention import Edit

        latents, units = self.latents, self.weights or (1.0,) * len(self.latents)
        if self.label:
            if statistics is None:
                raise ValueError(
                    f"{self.label!r} is a name, but no study says what it means, nor a card of statistics: give a latent's number, or a study"
                )
            label = statistics.label(self.label)
            latents = label.latents
            units = label.units if self.value and self.value.unit == "dose" else (1.0,) * len(latents)
        if self.mode in ("ablate", "scale"):
            factor = self.value.number if self.value else 0.0
            return Edit(latents, factor, self.mode, self.weights, self.where_active)
        assert self.value is not None
        if self.label and self.value.unit == "dose":
            values = [self.value.number * unit for unit in units]
        else:
            values = [self.value.raw(latent, statistics) * unit for latent, unit in zip(latents, units, strict=True)]
        return Edit(latents, 1.0, self.mode, tuple(values), self.where_active)

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"mode": self.mode}
        data |= {"label": self.label} if self.label else {"latents": list(self.latents)}
        if self.value is not None:
            data["value"] = self.value.as_data()
        if self.weights is not None:
            data["weights"] = list(self.weights)
        return data | ({"where_active": True} if self.where_active else {})


@dataclass(frozen=True)
class WrittenSite:
    """Edits at one site, by one dictionary; where it names none, whoever carries it out says which."""

    edits: tuple[WrittenEdit, ...]
    positions: str | tuple[int, int] | tuple[str | int, ...] = "all"
    """One of NAMED_POSITIONS, (start, stop), or with ``token_set`` the tokens themselves, as strings or ids."""
    token_set: bool = False
    only_where: tuple[int, Amount] | None = None
    """Only at tokens where this latent reads more than this."""
    dictionary: str | None = None
    """A checkpoint's folder or name."""
    hook_name: str | None = None
    """By default the one that the dictionary was trained at."""
    statistics: str | None = None
    """A study's folder, or a card of statistics as JSON."""

    def resolved(
        self,
        statistics: LatentStatistics | None = None,
        token_ids: Callable[[str], Sequence[int]] | None = None,
        turns: "Callable[[], Turns] | None" = None,
    ) -> "Intervention":
        """With latents, activation units and token ids. ``token_ids`` is the tokenizer, ``turns`` the assistant's turns.

        Raises ValueError for a name, a unit or a token that cannot be resolved.
        """
        from saes.intervention import Condition, Intervention

        condition = None
        if self.only_where is not None:
            latent, above = self.only_where
            condition = Condition(latent, above.raw(latent, statistics))
        edits = tuple(edit.resolved(statistics) for edit in self.edits)
        return Intervention(edits, self._positions(token_ids, turns), condition)

    def _positions(
        self, token_ids: Callable[[str], Sequence[int]] | None, turns: "Callable[[], Turns] | None"
    ) -> "Positions":
        if self.token_set:
            from saes.intervention import TokenSet

            return TokenSet(tuple(_one_token(token, token_ids) for token in self.positions))
        if self.positions == "assistant":
            if turns is None:
                raise ValueError("assistant turns are known only to a model with a chat template")
            return turns()
        return self.positions  # type: ignore[return-value]  # a name or a window

    def as_data(self) -> dict[str, Any]:
        data = {name: getattr(self, name) for name in ("dictionary", "hook_name", "statistics")}
        data = {name: value for name, value in data.items() if value is not None}
        if self.token_set:
            data["positions"] = {"tokens": list(self.positions)}
        elif isinstance(self.positions, tuple):
            data["positions"] = {"window": list(self.positions)}
        else:
            data["positions"] = self.positions
        if self.only_where is not None:
            data["only_where"] = {"latent": self.only_where[0], "above": self.only_where[1].as_data()}
        return data | {"edits": [edit.as_data() for edit in self.edits]}


@dataclass(frozen=True)
class WrittenIntervention:
    """Edits at one or more sites; entries for the same site act one after another."""

    sites: tuple[WrittenSite, ...]

    def as_data(self) -> dict[str, Any]:
        """As the file holds it."""
        return {"version": VERSION, "sites": [site.as_data() for site in self.sites]}


def intervention_from_data(data: Any, source: str = "intervention") -> WrittenIntervention:
    """The value that plain data stands for. Raises ValueError naming the field that is wrong and what would do."""
    check(data, SCHEMA, source)
    return WrittenIntervention(
        tuple(_site(site, f"{source}.sites[{number}]") for number, site in enumerate(data["sites"]))
    )


def read_intervention(path: str | Path) -> WrittenIntervention:
    """The intervention in a YAML or JSON file."""
    return intervention_from_data(read_plain(path), str(path))


def write_intervention(path: str | Path, intervention: WrittenIntervention) -> None:
    """Writes JSON where the name ends in .json, else YAML."""
    write_plain(path, intervention.as_data())


def _site(data: Mapping[str, Any], where: str) -> WrittenSite:
    edits = []
    for number, edit in enumerate(data["edits"]):
        value = _amount(edit["value"]) if "value" in edit else None
        weights = tuple(float(weight) for weight in edit["weights"]) if "weights" in edit else None
        try:
            edits.append(
                WrittenEdit(
                    edit["mode"], edit.get("label"), tuple(edit.get("latents", ())), value, weights,
                    edit.get("where_active", False),
                )
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"{where}.edits[{number}]: {error}") from None
    positions = data.get("positions", "all")
    token_set = isinstance(positions, Mapping) and "tokens" in positions
    if isinstance(positions, Mapping):
        positions = tuple(positions["tokens" if token_set else "window"])
        if not token_set and not positions[0] < positions[1]:
            raise ValueError(f"{where}.positions.window: {list(positions)} must ascend: [start, stop]")
    only_where = data.get("only_where")
    condition = (only_where["latent"], _amount(only_where["above"])) if only_where else None
    if condition and condition[1].unit == "factor":
        raise ValueError(f"{where}.only_where.above: a factor is no value: give one of {', '.join(UNITS)}")
    return WrittenSite(
        tuple(edits), positions, token_set, condition, data.get("dictionary"), data.get("hook_name"),
        data.get("statistics"),
    )  # fmt: skip


def _amount(data: Mapping[str, float]) -> Amount:
    unit, number = next(iter(data.items()))
    return Amount(float(number), unit)


def _one_token(token: Any, token_ids: Callable[[str], Sequence[int]] | None) -> int:
    if isinstance(token, int):
        return token
    if token_ids is None:
        raise ValueError(f"the token {token!r} needs a tokenizer; give its id")
    ids = list(token_ids(token))
    if len(ids) != 1:
        raise ValueError(f"{token!r} is {len(ids)} tokens ({', '.join(map(str, ids))}): name each by its id")
    return ids[0]
