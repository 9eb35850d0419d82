"""One feature's page."""

from typing import Annotated, Literal

from fastapi import Query

from analysis.browser.queries.feature import Feature, feature, known_latents
from analysis.browser.queries.features import Wanted
from analysis.browser.queries.store import Store
from analysis.browser.rendering import NotHere, Pages, StoreHere

Grouping = Literal["strength", "concept"]


class WantedHere(Wanted):
    """The table that the visitor comes from, whose order previous and next follow."""

    excerpts: Grouping = "strength"


def register(pages: Pages) -> None:
    @pages.page("/features/{latent}", "feature.html.j2", Feature)
    def feature_page(store: StoreHere, latent: int, wanted: Annotated[WantedHere, Query()]) -> Feature:
        return the_feature(store, latent, Wanted(**wanted.model_dump(exclude={"excerpts"})), wanted.excerpts)


def the_feature(store: Store, latent: int, wanted: Wanted | None = None, grouped_by: Grouping = "strength") -> Feature:
    """A feature's page; NotHere where the study knows nothing of the latent."""
    found = feature(store, latent, wanted or Wanted(), grouped_by) if 0 <= latent < 2**62 else None
    if found is None:
        raise NotHere(
            f"nothing is known of latent {latent}: this study holds cards of {known_latents(store):,} latents; "
            "`saes label --cards all` makes one for each"
        )
    return found
