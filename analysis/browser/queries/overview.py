"""What the first page shows."""

from dataclasses import dataclass

from analysis.browser.queries.store import Store


@dataclass(frozen=True)
class Overview:
    model: str


def overview(store: Store) -> Overview:
    return Overview(store.info.model)
