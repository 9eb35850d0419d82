"""What labelling makes of planted worlds: shares with exact intervals, of false labels, of planted ones found, of decoys caught."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from analysis.labelling.choose import Pools, Rules, choose_labels
from analysis.labelling.lexical import against_its_name
from analysis.planted.world import World
from analysis.records import Label

TRUE_KINDS = ("carried", "split", "absorbed")
"""A held label of these is true if one of the planted latents is in it; of `kin` it is counted apart, of all others false."""


@dataclass(frozen=True)
class Share:
    hits: int
    n: int

    @property
    def rate(self) -> float | None:
        return self.hits / self.n if self.n else None

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided and exact (Clopper & Pearson 1934)."""
        tail = (1 - level) / 2
        low = float(beta.ppf(tail, self.hits, self.n - self.hits + 1)) if self.hits else 0.0
        high = float(beta.ppf(1 - tail, self.hits + 1, self.n - self.hits)) if self.hits < self.n else 1.0
        return low, high

    def figures(self) -> list[float | int | None]:
        """Rate, low, high and n, for a table."""
        return [self.rate, *self.interval(), self.n]


def share(flags: Iterable[bool]) -> Share:
    values = list(flags)
    return Share(sum(values), len(values))


@dataclass(frozen=True)
class Outcome:
    """The concept's chosen label beside the truth."""

    world: int
    kind: str
    strength: float
    held: bool
    found: int
    """How many of the planted latents are in the label."""
    whole: bool
    """Whether all of them are."""
    stray: int
    """Latents of the label that are none of them."""
    lexical: bool
    auroc_family: float | None

    @property
    def true(self) -> bool:
        return self.held and self.found > 0 and self.kind in TRUE_KINDS

    @property
    def false(self) -> bool:
        return self.held and not self.true and self.kind != "kin"


def label_world(world: World, rng: np.random.Generator, rules: Rules) -> list[Label]:
    """The chosen labels, found and checked as `saes label` does it, by detection alone."""
    pools, masked = Pools(world.firings), world.masked()
    labels = choose_labels(pools, world.table, world.families, rng, rules)
    return [
        against_its_name(label, pools, masked, world.strings, world.table, (label.concept,))
        for label in labels
        if label.chosen
    ]


def outcomes(number: int, world: World, labels: Sequence[Label]) -> list[Outcome]:
    found = []
    for label in labels:
        truth = world.planted[label.concept]
        inside = set(label.latents) & set(truth.latents)
        found.append(
            Outcome(
                number, truth.kind, truth.strength, label.status == "held", len(inside),
                len(inside) == len(truth.latents) > 0, len(label.latents) - len(inside), bool(label.lexical),
                label.auroc_family,
            )
        )  # fmt: skip
    return found


def false_discoveries(found: Sequence[Outcome]) -> Share:
    """False labels among all that are held; those of a whole family count neither way."""
    return share(one.false for one in found if one.held and one.kind != "kin")


def worlds_with_false(found: Sequence[Outcome]) -> Share:
    """Worlds in which any label is false, all concepts of a world taken together."""
    return Share(len({one.world for one in found if one.false}), len({one.world for one in found}))


def power(found: Sequence[Outcome], strength: float) -> Share:
    """Concepts that a latent of this AUROC carries, whose label is held and has that latent in it."""
    return share(one.true for one in found if one.kind == "carried" and one.strength == strength)


def lexical_caught(found: Sequence[Outcome]) -> Share:
    """Labels with a detector of the concept's name in them that are marked as lexical, which is not held."""
    return share(one.lexical for one in found if one.kind in ("lexical", "wordy") and one.found)


def held(found: Sequence[Outcome], kind: str) -> Share:
    return share(one.held for one in found if one.kind == kind)


def whole(found: Sequence[Outcome], kind: str) -> Share:
    """Held labels with all of the concept's planted latents in them."""
    return share(one.whole for one in found if one.kind == kind and one.held)


def strays(found: Sequence[Outcome]) -> Share:
    """True labels with a latent in them that is none of the concept's."""
    return share(one.stray > 0 for one in found if one.true)
