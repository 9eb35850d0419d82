"""The table's rows: planted ones are found, decoys are not, and the order is the one asked for."""

import numpy as np
import pytest

from analysis.browser.queries.feature import feature
from analysis.browser.queries.feature_index import feature_index
from analysis.browser.queries.features import NO_LABEL, Wanted, all_rows, feature_table, ordered_latents
from analysis.browser.queries.store import Store
from analysis.records import FeatureCard, Label
from analysis.study import Study
from tests.analysis.browser.conftest import DECOYS, PLANTED


@pytest.fixture
def store(small_study):
    return Store(small_study)


def found(store, **wanted) -> list[int]:
    return [int(latent) for latent in ordered_latents(store, Wanted(**wanted))]


def study_labels(store) -> list[Label]:
    return [one for one in store.study.read("labels") if one.chosen]


@pytest.mark.parametrize(
    "text", ["marsupials", "MARSU", "quokka", "wombat", str(PLANTED), f"#{PLANTED}", "wombat quokka"]
)
def test_search_finds_explanations_promoted_tokens_firing_words_and_numbers(store, text):
    assert found(store, q=text) == [PLANTED]


def test_search_finds_labels(store):
    holding = {latent for one in study_labels(store) if "afraid" in one.concept for latent in one.latents}
    assert holding
    assert set(found(store, q="afraid")) >= holding


def test_every_word_has_to_be_found(store):
    assert found(store, q="wombat nowhere") == []


def test_words_at_which_nothing_fires_are_not_found(store):
    assert found(store, q="Mia") == []  # it stands in every excerpt, and no latent fires there


def test_two_letters_have_to_stand_alone(store):
    assert PLANTED not in found(store, q="wo")


def test_search_is_the_same_with_the_table_of_firing_words(small_study):
    from analysis.labelling.firing_words import write_firing_words

    before = found(Store(small_study), q="lamp")
    write_firing_words(Study.open(small_study))
    assert before == found(Store(small_study), q="lamp") == list(DECOYS)


def test_filters_leave_what_they_say(store):
    labels = study_labels(store)
    cards = {card.latent for card in store.study.read("cards")}
    for status in {one.status for one in labels}:
        own = {latent for one in labels if one.status == status for latent in one.latents} & cards
        assert set(found(store, status=[status])) == own
    for one in labels:
        assert set(found(store, concept=one.concept)) == {*one.latents} & cards
    assert set(found(store, status=[NO_LABEL])) == cards - {latent for one in labels for latent in one.latents}
    everything = {*found(store, status=[NO_LABEL]), *found(store, status=[one.status for one in labels])}
    assert everything == cards


def test_bounds_are_kept_on_both_sides(store):
    index = feature_index(store)
    for name in ("density", "auroc", "lexical", "effect"):
        values = index.columns[name]
        known = values[np.isfinite(values)]
        low, high = float(np.quantile(known, 0.3)), float(np.quantile(known, 0.7))
        kept = found(store, **{f"{name}_from": low, f"{name}_to": high})
        inside = index.latents[(values >= low) & (values <= high)]
        assert sorted(kept) == inside.tolist()


def test_a_region_of_the_map_gives_the_labels_within(small_study):
    study = Study.open(small_study)
    cards = study.read("cards", FeatureCard)
    store = Store(small_study)
    from analysis.browser.queries.concept_facts import concept_facts

    facts = concept_facts(store)
    expected = {
        latent
        for one in study_labels(store)
        if (about := facts.get(one.concept)) and about.valence is not None and about.valence <= 5 and about.arousal >= 5
        for latent in one.latents
    } & {card.latent for card in cards}
    assert set(found(store, valence_to=5.0, arousal_from=5.0)) == expected


@pytest.mark.parametrize("by", ["latent", "concept", "status", "auroc", "effect", "lexical", "density", "peak"])
def test_sorting_both_ways_keeps_all_rows_and_puts_the_unknown_last(store, by):
    up, down = found(store, sort=by), found(store, sort=f"-{by}")
    index = feature_index(store)
    assert sorted(up) == sorted(down) == index.latents.tolist()
    if by in index.columns:
        for order, sign in ((up, 1), (down, -1)):
            values = np.array([index.columns[by][index.place(latent)] for latent in order])
            known = values[np.isfinite(values)]
            assert (np.diff(sign * known) >= 0).all()
            assert not np.isfinite(values[len(known) :]).any()


def test_pages_hold_each_row_once_and_a_page_beyond_is_the_last(store):
    first = feature_table(store, Wanted(per="25"))
    rows = [
        row.latent
        for page in range(1, first.pages + 1)
        for row in feature_table(store, Wanted(per="25", page=page)).rows
    ]
    assert sorted(rows) == feature_index(store).latents.tolist()
    beyond = feature_table(store, Wanted(per="25", page=10_000))
    assert beyond.page == first.pages
    assert beyond.last == first.total


def test_a_row_says_what_its_best_label_says(store):
    rows = {row.latent: row for batch in all_rows(store, Wanted()) for row in batch}
    for one in study_labels(store):
        for latent in one.latents:
            if latent in rows and rows[latent].concepts[0] == one.concept:
                row = rows[latent]
                assert (row.status, row.auroc, row.lexical) == (one.status, one.auroc_checking, one.lexical_share)
                assert row.n_texts == one.n_positive + one.n_negative
    assert rows[PLANTED].status is None
    assert rows[PLANTED].concepts == []


def test_the_address_holds_only_what_is_asked_for():
    assert Wanted().address == {}
    assert Wanted(q="x", auroc_from=0.8, status=["held"], sort="latent", page=3).address == {
        "q": "x", "auroc_from": "0.8", "status": ["held"], "sort": "latent", "page": 3,
    }  # fmt: skip
    assert Wanted.model_validate(Wanted(auroc_from=0.8, page=2).address) == Wanted(auroc_from=0.8, page=2)


def test_a_study_without_anything_has_no_rows(empty_study):
    table = feature_table(Store(empty_study), Wanted(q="x"))
    assert (table.rows, table.total, table.all, table.pages) == ([], 0, 0, 1)


def test_a_table_of_explanations_that_cannot_be_read_leaves_the_rest(small_study):
    (small_study / "explanations.parquet").write_bytes(b"PAR1 not really")
    store = Store(small_study)
    found = feature_table(store, Wanted(q="quokka"))
    assert [row.latent for row in found.rows] == [PLANTED]
    assert found.rows[0].explanation is None
    assert feature_table(store, Wanted(q="marsupials")).rows == []
    assert feature(store, PLANTED, Wanted()) is not None
