"""Of several SAEs, the one whose latents carry the concepts is chosen, on finding texts alone."""

import dataclasses

import numpy as np
import pytest
import torch

from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.labelling.candidates import most_promising
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, WORDS, WordModel
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site

NAMES = ("mooda", "moodb")


def texts(rng, name=None):
    made = []
    for number in range(16):
        words = [*rng.choice(FILLER, 7), *(rng.choice(WORDS[name], 3) if name else [])]
        made.append(Text(" ".join(map(str, rng.permutation(words))), f"topic{number}"))
    return tuple(made)


@pytest.fixture
def concept_set():
    rng = np.random.default_rng(0)
    concepts = {
        name: Concept(name, f"family of {name}", "", (name,), (), {"finding": texts(rng, name)}) for name in NAMES
    }
    families = {concept.family: [name] for name, concept in concepts.items()}
    return ConceptSet("planted", concepts, {"finding": texts(rng)}, "planted", families=families)


def saved(folder, rows):
    sae = SparseAutoencoder(SAEConfig(D_IN, len(rows), "relu"))
    with torch.no_grad():
        sae.W_dec.copy_(rows)
        sae.W_enc.copy_(rows.T)
    return save_sae(sae, folder, Site("planted", HOOK))


def test_the_one_that_carries_the_concepts_is_chosen(tmp_path, concept_set):
    model = WordModel()
    embedded = model.embedding.clone()
    for place, name in enumerate(NAMES):
        embedded[[NUMBER[word] for word in WORDS[name]], place] += 1.0
    model.embedding = embedded
    good = saved(tmp_path / "good", torch.eye(D_IN)[: len(NAMES)])
    poor = saved(tmp_path / "poor", torch.eye(D_IN)[-2:])
    best, worth = most_promising([poor, good], concept_set, model)
    assert best == good
    assert worth["good"] > 0.95
    assert worth["poor"] < 0.75


def test_only_finding_texts_are_read(tmp_path, concept_set):
    class Watched(WordModel):
        read: list

        def tokenise(self, texts, *args, **kwargs):
            self.read = [*getattr(self, "read", []), *texts]
            return super().tokenise(texts, *args, **kwargs)

    changed = {
        name: dataclasses.replace(concept, texts={**concept.texts, "checking": (Text("held out", "t"),)})
        for name, concept in concept_set.concepts.items()
    }
    model = Watched()
    most_promising(
        [saved(tmp_path / "one", torch.eye(D_IN)[:3])], dataclasses.replace(concept_set, concepts=changed), model
    )
    assert model.read
    assert "held out" not in model.read


def test_nothing_to_choose_from(concept_set):
    with pytest.raises(ValueError, match="no SAE"):
        most_promising([], concept_set, WordModel())
