"""The table of features, its JSON twin, and its rows as a file."""

from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import StreamingResponse

from analysis.browser.downloads import KINDS, written
from analysis.browser.queries.features import FeatureRow, FeatureTable, Wanted, all_rows, feature_table
from analysis.browser.rendering import Pages, StoreHere


def register(pages: Pages) -> None:
    @pages.page("/features", "features.html.j2", FeatureTable)
    def features_page(store: StoreHere, wanted: Annotated[Wanted, Query()]) -> FeatureTable:
        return feature_table(store, wanted)

    @pages.router.get(
        "/features/download/{kind}",
        response_class=StreamingResponse,
        tags=["data"],
        responses={200: {"content": {media: {} for media in KINDS.values()}}},
    )
    def features_file(
        store: StoreHere, kind: Literal["csv", "parquet", "json"], wanted: Annotated[Wanted, Query()]
    ) -> StreamingResponse:
        """All rows that the table holds, over all its pages, in its order."""
        return StreamingResponse(
            written(all_rows(store, wanted), FeatureRow, kind),
            media_type=KINDS[kind],
            headers={"content-disposition": f'attachment; filename="features.{kind}"'},
        )
