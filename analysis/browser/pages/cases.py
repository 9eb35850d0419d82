"""The case studies: all of them, each by itself, its figure, and its transcripts step by step."""

from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import Response

from analysis.browser import case_figures
from analysis.browser.queries.cases import CaseList, CasePage, Filters, case_list, case_page, kinds
from analysis.browser.queries.episodes import EpisodePage, episode
from analysis.browser.queries.store import Store
from analysis.browser.rendering import NotHere, Pages, StoreHere

Chosen = Annotated[str, Query(max_length=200)]
Which = Literal["", "impossible", "possible"]


def register(pages: Pages) -> None:
    @pages.router.get(
        "/cases/{name}.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}}, tags=["data"]
    )
    def case_figure(store: StoreHere, name: str, theme: Literal["light", "dark"] = "light") -> Response:
        found = case_figures.figure(store, name, theme)
        if found is None:
            raise NotHere(f"there is no figure of the case {name!r}: it was not run")
        return Response(found, media_type="image/svg+xml")

    @pages.page("/cases", "cases.html.j2", CaseList)
    def cases(store: StoreHere) -> CaseList:
        return case_list(store)

    @pages.page("/cases/{name}/episodes/{number}", "episode.html.j2", EpisodePage)
    def case_episode(
        store: StoreHere, name: str, number: int, arm: Chosen = "", outcome: Chosen = "", kind: Which = ""
    ) -> EpisodePage:
        found = episode(store, name, number, Filters(arm, outcome, kind))
        if found is None:
            raise NotHere(f"the case {name!r} has no transcript {number}")
        return found

    @pages.page("/cases/{name}", "case.html.j2", CasePage)
    def case(
        store: StoreHere, name: str, arm: Chosen = "", outcome: Chosen = "", kind: Which = "",
        page: Annotated[int, Query(ge=1)] = 1,
    ) -> CasePage:  # fmt: skip
        return the_case(store, name, Filters(arm, outcome, kind), page)


def the_case(store: Store, name: str, filters: Filters, page: int = 1) -> CasePage:
    """A case's page; NotHere where the study has no such case."""
    found = case_page(store, name, filters, page)
    if found is None:
        raise NotHere(f"there is no case {name!r}; there are {', '.join(kinds(store))}")
    return found
