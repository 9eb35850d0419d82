"""Two studies side by side."""

from fastapi import Request

from analysis.browser.queries.comparison import Comparison, comparison
from analysis.browser.rendering import Pages


def register(pages: Pages) -> None:
    @pages.page("/compare", "comparison.html.j2", Comparison)
    def compare_page(request: Request) -> Comparison:
        return comparison(request.app.state.store, request.app.state.other)
