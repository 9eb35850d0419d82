"""The first page: what the model and its SAE are, the map of emotions, what held and what was rejected."""

from analysis.browser.queries.overview import Overview, overview
from analysis.browser.rendering import Pages, StoreHere


def register(pages: Pages) -> None:
    @pages.page("/", "overview.html.j2", Overview)
    def overview_page(store: StoreHere) -> Overview:
        return overview(store)
