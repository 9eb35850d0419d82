"""A feature's place in the features table, to walk through it feature by feature."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.browser.queries.features import Wanted, ordered_latents
from analysis.browser.queries.store import Store


@dataclass(frozen=True)
class Walk:
    """Where a feature stands in the table that the address asks for."""

    address: dict[str, Any]
    """The table's query, which travels along."""
    place: int | None
    """From 1; None where the table leaves this latent out."""
    total: int
    before: int | None
    after: int | None


def walk(store: Store, latent: int, wanted: Wanted) -> Walk:
    order = ordered_latents(store, wanted)
    found = np.flatnonzero(order == latent)
    if not len(found):
        return Walk(wanted.address, None, len(order), None, None)
    place = int(found[0])
    before = int(order[place - 1]) if place else None
    after = int(order[place + 1]) if place + 1 < len(order) else None
    return Walk(wanted.address, place + 1, len(order), before, after)
