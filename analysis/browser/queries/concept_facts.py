"""What is known of each concept beside its labels: family, human ratings, definition."""

from analysis.browser.queries.remembered import Remembered
from analysis.browser.queries.store import Store
from analysis.concepts.concept import concept_heads
from analysis.report.content import ConceptFacts


def concept_facts(store: Store) -> dict[str, ConceptFacts]:
    """By concept: from the concept set, or, where that is not at hand, the ratings that stand on the cards.

    Read once for each state of the study: a concept set is hundreds of files.
    """
    return _facts(store)


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


_facts = Remembered(_read, lambda store: (store.stamp("cards"), store.info.concept_hash))
