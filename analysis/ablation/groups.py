"""Which latents are ablated together, and random groups of as many latents that fire about as often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.clamping.plan import like_latents
from analysis.records import Label

KINDS = ("each", "family", "all", "only")
"""Each label's latents alone; those of all labels of a family; all of them; all but one label's, which is kept."""


@dataclass(frozen=True)
class Group:
    """Latents that are ablated together."""

    kind: str
    name: str
    """The concept (for "only" the one that is kept), the family, or "all"."""
    concepts: tuple[str, ...]
    """The concepts that the question is about: those whose latents go, or the one that is kept."""
    latents: tuple[int, ...]


def groups_of(labels: Sequence[Label], families: Mapping[str, str], kind: str) -> list[Group]:
    """The groups of one kind; `families` is concept -> family.

    A latent of two labels counts as both's: "only" keeps it wherever one of the two is kept.
    """
    latents = {label.concept: tuple(label.latents) for label in labels}
    everything = _union(latents.values())
    match kind:
        case "each":
            return [Group(kind, name, (name,), own) for name, own in latents.items()]
        case "family":
            members: dict[str, list[str]] = {}
            for name in latents:
                members.setdefault(families[name], []).append(name)
            return [
                Group(kind, family, tuple(names), _union(latents[name] for name in names))
                for family, names in members.items()
            ]
        case "all":
            return [Group(kind, "all", tuple(latents), everything)]
        case "only":
            if len(latents) < 2:
                raise ValueError("keeping only one label needs two or more held labels")
            rest = {name: tuple(one for one in everything if one not in own) for name, own in latents.items()}
            return [Group(kind, name, (name,), rest[name]) for name in latents if rest[name]]
        case _:
            raise ValueError(f"unknown groups {kind!r}: one of {', '.join(KINDS)}")


def matched_groups(
    latents: Sequence[int],
    density: Float[np.ndarray, " d_sae"],
    taken: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[tuple[int, ...]]:
    """`count` groups of latents that fire about as often as `latents` do, one for one, none of them `taken`.

    Within a group no latent stands twice; two groups may share some, since a group of all labelled latents can be as
    large as a good part of what is free.
    """
    free = np.setdiff1d(np.flatnonzero(density > 0), np.asarray(taken, dtype=int))
    if len(free) <= len(latents):
        raise ValueError(
            f"{len(free)} active latents outside the labels are too few to draw random groups of {len(latents)}: ablate "
            f"fewer together, or label an SAE with more latents"
        )
    # in a new order each time, so that no latent always has the first choice
    orders = (rng.permutation(list(latents)).tolist() for _ in range(count))
    return [tuple(sorted(like_latents([order], density, taken, rng)[0])) for order in orders]


def _union(groups) -> tuple[int, ...]:
    return tuple(dict.fromkeys(latent for group in groups for latent in group))
