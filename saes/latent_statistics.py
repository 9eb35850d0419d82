"""How strongly latents fire: what turns a value in multiples of a latent's own activity into activation units."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saes.nearest import did_you_mean

PERCENTILES = {"type": "array", "minItems": 2, "items": {"type": "array", "minItems": 2, "maxItems": 2,
                                                         "items": {"type": "number"}}}  # fmt: skip
LABEL = {
    "type": "object",
    "required": ["latents", "units"],
    "properties": {
        "latents": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        "units": {"type": "array", "minItems": 1, "items": {"type": "number"}},
    },
}


@dataclass(frozen=True)
class ActiveValues:
    """The distribution of one latent's values where it fires."""

    percentiles: tuple[tuple[float, float], ...]
    """(level from 0 to 100, value), both ascending, from 0 to 100; linear between them. A level may come twice: between
    its two values nothing lies."""

    def __post_init__(self):
        object.__setattr__(
            self, "percentiles", tuple((float(level), float(value)) for level, value in self.percentiles)
        )
        levels = [level for level, _ in self.percentiles]
        if len(levels) < 2 or levels != sorted(levels) or levels[0] != 0 or levels[-1] != 100 or levels.count(100) > 1:
            raise ValueError(f"percentiles must ascend from 0 to 100, got {levels}")

    def percentile(self, level: float) -> float:
        """The value below which ``level`` percent of the active values lie."""
        if not 0 <= level <= 100:
            raise ValueError(f"a percentile lies from 0 to 100, got {level:g}")
        above = min(bisect_right(self.percentiles, (level, float("inf"))), len(self.percentiles) - 1)
        (low, value_low), (high, value_high) = self.percentiles[above - 1 : above + 1]
        return value_low + (level - low) / (high - low) * (value_high - value_low)


@dataclass(frozen=True)
class LabelUnits:
    """What a label's name stands for in a clamp."""

    latents: tuple[int, ...]
    units: tuple[float, ...]
    """What one dose unit is for each of them, its weight in the recipe counted in."""


@dataclass(frozen=True)
class LatentStatistics:
    """A card of what is known about some latents' activity."""

    source: str
    """Where it is from: named in error messages."""
    active: Mapping[int, ActiveValues] = field(default_factory=dict)
    labels: Mapping[str, LabelUnits] = field(default_factory=dict)

    def values_of(self, latent: int) -> ActiveValues:
        """Raises ValueError for a latent that nothing is known about."""
        if latent not in self.active:
            raise ValueError(
                f"{self.source} does not say how strongly latent {latent} fires: give its value in raw activation units"
            )
        return self.active[latent]

    def label(self, name: str) -> LabelUnits:
        """Raises ValueError, with the nearest name, for a label that is not known."""
        if name not in self.labels:
            known = ", ".join(sorted(self.labels)) or "none"
            raise ValueError(
                f"no label for {name!r} in {self.source}; it has: {known}{did_you_mean(name, self.labels)}"
            )
        return self.labels[name]

    def as_data(self) -> dict[str, Any]:
        """As a card file holds it."""
        return {
            "latents": {str(latent): [list(pair) for pair in one.percentiles] for latent, one in self.active.items()},
            "labels": {
                name: {"latents": list(one.latents), "units": list(one.units)} for name, one in self.labels.items()
            },
        }


def statistics_from_data(data: Any, source: str) -> LatentStatistics:
    """What a card file holds. Raises ValueError naming the field that is wrong."""
    from saes.schema import check

    kinds = {"latents": PERCENTILES, "labels": LABEL}
    told = {name: data.get(name) if isinstance(data, Mapping) else None for name in kinds}
    named = {name: section if isinstance(section, Mapping) else {} for name, section in told.items()}
    sections = {
        name: {"type": "object", "properties": dict.fromkeys(named[name], kind)} for name, kind in kinds.items()
    }
    check(data, {"type": "object", "properties": sections}, source)
    active = {}
    for latent, percentiles in data.get("latents", {}).items():
        if not latent.isdecimal():
            raise ValueError(f"{source}.latents: {latent!r} is no latent's number")
        try:
            active[int(latent)] = ActiveValues(tuple(percentiles))
        except ValueError as error:
            raise ValueError(f"{source}.latents.{latent}: {error}") from None
    labels = {}
    for name, one in data.get("labels", {}).items():
        if len(one["latents"]) != len(one["units"]):
            raise ValueError(f"{source}.labels.{name}: {len(one['latents'])} latents need as many units")
        labels[name] = LabelUnits(tuple(one["latents"]), tuple(float(unit) for unit in one["units"]))
    return LatentStatistics(source, active, labels)
