"""Excerpts: shown ones from finding texts, held-out ones from checking texts, silent ones silent, hard ones near."""

import pytest

from analysis.explaining.material import Material
from analysis.explaining.prompts import firing_places
from analysis.labelling.split import text_table
from analysis.observe import observe
from analysis.planted.word_model import HOOK
from tests.analysis.explaining.conftest import MOODS, SILENT, TWIN


@pytest.fixture
def seen(model, dictionary, concept_set):
    table = text_table(concept_set, ("finding", "checking"))
    return observe(model, dictionary, HOOK, table.texts), table


@pytest.fixture
def material(seen):
    return Material(*seen, {0: [TWIN, SILENT]}, seed=0)


def test_what_the_explainer_sees(material):
    groups, largest = material.shown(0)
    assert [len(found) for found in groups.values()] == [8, 6, 4, 4]
    shown = [one for found in groups.values() for one in found]
    assert {one.split for one in shown} == {"finding"}
    assert len({one.text for one in shown}) == len(shown), "no text twice"
    strongest, spread, _, hard = groups.values()
    assert largest == max(one.peak for one in strongest) >= min(one.peak for one in strongest) >= spread[0].peak
    assert {one.concept for one in (*strongest, *spread)} == {"mooda"}
    assert {one.concept for one in hard} == {"moode"}, "texts at which the near latent fires"
    assert not any(any(one.values) for one in hard)


def test_what_it_is_scored_on(material, seen):
    held = material.held_out(0, 16)
    assert (len(held.firing), len(held.hard), len(held.silent)) == (16, 8, 8)
    everything = [*held.firing, *held.hard, *held.silent]
    assert {one.split for one in everything} == {"checking"}
    assert len({one.text for one in everything}) == len(everything)
    firings = seen[0].firings
    awake = set(firings.text[firings.latent == 0].tolist())
    assert all(one.text in awake and one.peak > 0 for one in held.firing)
    assert not any(one.text in awake for one in (*held.hard, *held.silent)), "silent throughout the text"
    assert {one.concept for one in held.hard} == {"moode"}
    peaks = [one.peak for one in held.firing]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] < 0.5 * peaks[0], "weak firings count, too"


def test_the_place_of_a_firing_gives_nothing_away(material, seen, monkeypatch):
    places = {one.values.index(one.peak) for one in material.held_out(0, 16).firing}
    assert len(places) > 5
    monkeypatch.setattr("analysis.labelling.excerpts.BEFORE", 4)  # less than most of these texts have
    firings = seen[0].firings
    for one in material.shown(0)[0]["Strongest firings"]:
        own = (firings.text == one.text) & (firings.latent == 0)
        token = firings.token[own][firings.value[own].argmax()]
        assert one.values.index(one.peak) == min(token, 4), (
            "what is shown has a place of its own, where the text allows"
        )


def test_special_tokens_are_not_shown(seen):
    some = seen[0].strings[0][3]
    held = Material(*seen, {0: [TWIN]}, seed=0, special={some}).held_out(0, 16)
    assert not any(some in one.tokens for one in (*held.firing, *held.hard, *held.silent))


def test_wrong_marks_are_as_many_and_silent(material):
    held = material.held_out(0, 16)
    for one, wrong in zip(held.firing, held.wrong_marks, strict=True):
        assert len(wrong) == len(set(wrong)) == len(firing_places(one))
        assert all(one.values[at] == 0 for at in wrong)


def test_what_is_drawn_hangs_on_seed_and_latent_only(seen, material):
    other = Material(*seen, {0: [TWIN, SILENT], 1: [2]}, seed=0)
    other.shown(1)
    assert other.shown(0) == material.shown(0)
    assert other.held_out(0, 16) == material.held_out(0, 16)
    assert Material(*seen, {0: [TWIN]}, seed=1).held_out(0, 16).silent != material.held_out(0, 16).silent


def test_a_latent_that_never_fires(material):
    assert material.n_firing(SILENT) == 0
    held = material.held_out(SILENT, 16)
    assert held.firing == []
    assert len(held.silent) == 16


def test_fewer_texts_than_were_asked_for(material):
    held = material.held_out(MOODS.index("moodb"), 100)
    assert len(held.firing) == 20, "each checking text once"
