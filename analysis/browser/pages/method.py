"""How the study was made, in words, with its settings and where it comes from."""

from dataclasses import dataclass

from analysis.browser.queries.shown_table import ShownTable, shown_table
from analysis.browser.queries.store import Store
from analysis.browser.rendering import Pages, StoreHere
from analysis.records import ClampResult
from analysis.report import tables
from analysis.report.method import method


@dataclass(frozen=True)
class Passage:
    title: str
    paragraphs: list[str]


@dataclass(frozen=True)
class Method:
    passages: list[Passage]
    tables: list[ShownTable]


def register(pages: Pages) -> None:
    @pages.page("/method", "method.html.j2", Method)
    def method_page(store: StoreHere) -> Method:
        return the_method(store)


def the_method(store: Store) -> Method:
    """The method report's passages, settings and provenance."""
    clamps = [ClampResult(**row) for row in store.rows("SELECT * FROM clamps")]
    return Method(
        [Passage(one.title, one.paragraphs) for one in method(store.info, clamps)],
        [
            shown_table(tables.provenance(store.info), "provenance"),
            shown_table(tables.settings(store.info), "settings", folded=True),
        ],
    )
