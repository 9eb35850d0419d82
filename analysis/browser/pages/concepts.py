"""The concepts' pages: all of them with the effect matrix, and one by itself."""

from analysis.browser.queries.concepts import Concept, ConceptList, ConceptSort, concept, concept_list
from analysis.browser.queries.store import Store
from analysis.browser.rendering import NotHere, Pages, StoreHere


def register(pages: Pages) -> None:
    @pages.page("/concepts", "concepts.html.j2", ConceptList)
    def concepts_page(store: StoreHere, sort: ConceptSort = "family") -> ConceptList:
        return concept_list(store, sort)

    @pages.page("/concepts/{name}", "concept.html.j2", Concept)
    def concept_page(store: StoreHere, name: str) -> Concept:
        return the_concept(store, name)


def the_concept(store: Store, name: str) -> Concept:
    """A concept's page; NotHere where it has no label."""
    found = concept(store, name)
    if found is None:
        count = store.value("SELECT count(DISTINCT concept) FROM labels WHERE chosen")
        raise NotHere(f"no label of this study is of the concept {name[:80]!r}; it has labels of {count} concepts")
    return found
