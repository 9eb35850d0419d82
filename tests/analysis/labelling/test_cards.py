"""Which latents get a card: those of labels, all, or some more; each with its excerpts, sorted by latent."""

from dataclasses import replace

import pytest

from analysis.labelling.journey import label
from analysis.planted.word_model import D_IN
from analysis.planted.word_world import word_world
from analysis.records import DRAWN, Excerpt, FeatureCard, Writer


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return word_world(tmp_path_factory.mktemp("world"), 0)


def labelled(world, folder, cards):
    study = label(world.sae, world.concept_set, world.model, out=folder, cards=cards, progress=False)
    claims = (*study.labels(chosen=False), *study.read("writers", Writer))
    return study, {latent for one in claims for latent in one.latents}


def test_all_latents_or_the_labelled_ones_or_some_more(world, tmp_path):
    study, of_labels = labelled(world, tmp_path / "few", "labelled")
    few = study.read("cards", FeatureCard)
    assert {one.latent for one in few} == of_labels
    study, _ = labelled(world, tmp_path / "all", "all")
    cards, excerpts = study.read("cards", FeatureCard), study.read("excerpts", Excerpt)
    assert [one.latent for one in cards] == list(range(D_IN))
    assert len(cards) > len(of_labels)
    assert [one for one in cards if one.latent in of_labels] == few
    latents = [one.latent for one in excerpts]
    assert latents == sorted(latents)
    assert {one.drawn for one in excerpts} == set(DRAWN)
    study, _ = labelled(world, tmp_path / "more", "2")
    more = {one.latent for one in study.read("cards", FeatureCard)}
    assert len(more - of_labels) == 2
    assert more > of_labels


@pytest.mark.parametrize("cards", ["some", "-1", "1.5"])
def test_a_wrong_word_is_refused_before_anything_is_read(cards, tmp_path):
    with pytest.raises(ValueError, match="labelled, all, or how many"):
        label("nowhere", "emotions", out=tmp_path / "s", cards=cards)
    assert not (tmp_path / "s").exists()


def test_a_concept_with_the_name_of_what_writes_another_is_refused(world, tmp_path):
    concepts = world.concept_set.concepts
    first = next(iter(concepts))
    named = replace(world.concept_set, concepts={**concepts, f"{first}/written": concepts[first]})
    with pytest.raises(ValueError, match=f"cannot be called '{first}/written'"):
        label(world.sae, named, world.model, out=tmp_path / "s", progress=False)
    assert not (tmp_path / "s").exists()
