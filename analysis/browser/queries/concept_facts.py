"""What is known of each concept beside its labels: family, human ratings, definition."""

import threading
from typing import Any
from weakref import WeakKeyDictionary

from analysis.browser.queries.store import Store
from analysis.concepts.concept import concept_heads
from analysis.report.content import ConceptFacts

_known: WeakKeyDictionary[Store, tuple[Any, dict[str, ConceptFacts]]] = WeakKeyDictionary()
_lock = threading.Lock()


def concept_facts(store: Store) -> dict[str, ConceptFacts]:
    """By concept: from the concept set, or, where that is not at hand, the ratings that stand on the cards.

    Read once for each state of the study: a concept set is hundreds of files.
    """
    state = (store.stamp("cards"), store.info.concept_hash)
    with _lock:
        found = _known.get(store)
        if found is None or found[0] != state:
            found = _known[store] = state, _read(store)
    return found[1]


def _read(store: Store) -> dict[str, ConceptFacts]:
    on_cards = store.rows("SELECT concepts[1] AS concept, valence, arousal FROM cards WHERE len(concepts) > 0")
    facts = {row["concept"]: ConceptFacts("", row["valence"], row["arousal"]) for row in on_cards}
    try:
        heads, found_hash = concept_heads(store.study.concepts)
    except (ValueError, FileNotFoundError):
        return facts
    if found_hash != store.info.concept_hash:
        return facts
    return facts | {
        name: ConceptFacts(one.family, one.valence, one.arousal, one.definition) for name, one in heads.items()
    }
