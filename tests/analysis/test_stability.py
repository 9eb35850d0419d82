"""Labels of two SAEs that share directions agree; a label that the other SAE does not have is seen not to."""

import pytest
import torch

from analysis import stability as room
from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.labelling.journey import label
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, WORDS, WordModel
from analysis.stability import stability
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site

CONCEPTS = list(WORDS)[:4]


def a_set(rng: torch.Generator) -> ConceptSet:
    def text(words: list[str], number: int) -> Text:
        drawn = [FILLER[place] for place in torch.randint(len(FILLER), (6,), generator=rng).tolist()]
        return Text(" ".join([*drawn, *words]), f"topic{number}")

    concepts = {
        name: Concept(
            name, name, "", (name,), (WORDS[name][0],),
            {
                split: tuple(text([*WORDS[name][:2]], number) for number in range(count))
                for split, count in (("finding", 12), ("checking", 10), ("implicit", 4), ("contrast", 2))
            },
        )
        for name in CONCEPTS
    }  # fmt: skip
    neutral = {split: tuple(text([], number) for number in range(12)) for split in ("finding", "checking", "prompt")}
    return ConceptSet("toy", concepts, neutral, "hash", families={name: [name] for name in CONCEPTS})


def an_sae(folder, places: list[int], seed: int):
    """Latent i reads and writes coordinate places[i]; the rest are random."""
    sae = SparseAutoencoder(SAEConfig(d_in=D_IN, d_sae=32, sparsity="relu"), seed=seed)
    with torch.no_grad():
        sae.b_enc.fill_(-0.1)
        for latent, place in enumerate(places):
            sae.W_enc[:, latent] = 0.0
            sae.W_enc[place, latent] = 1.0
            sae.W_dec[latent] = 0.0
            sae.W_dec[latent, place] = 1.0
    save_sae(sae, folder, Site("words", HOOK))
    return folder


def test_shared_labels_agree(tmp_path, monkeypatch):
    model, concepts = WordModel(), a_set(torch.Generator().manual_seed(0))
    for place, concept in enumerate(CONCEPTS):
        model.embedding[[NUMBER[word] for word in WORDS[concept]], place] = 1.5
    monkeypatch.setattr(room, "open_model", lambda *_: model)
    monkeypatch.setattr(room, "concept_set_of", lambda *_: concepts)
    monkeypatch.setattr("analysis.stability.open_subject", lambda study, *_: (model, room_dictionary(study), HOOK))
    studies = []
    for seed, places in ((0, [0, 1, 2, 3]), (1, [3, 2, 1, 0])):
        folder = an_sae(tmp_path / str(seed), places, seed)
        studies.append(label(folder, concepts, model, tmp_path / f"study{seed}", progress=False))
    found = {one.concept: one for one in stability(studies)}
    assert set(found) == set(CONCEPTS)
    assert all(one.cosine > 0.9 > one.cosine_null for one in found.values())
    assert all(one.nearest > 0.9 for one in found.values())
    assert all(
        one.r > max(0.8, one.r_null) and one.r_low - 1e-9 <= one.r <= one.r_high + 1e-9 for one in found.values()
    )


def room_dictionary(study):
    from analysis.opening import dictionary_of

    return dictionary_of(study)


def test_one_study_is_nothing_to_compare(tmp_path):
    with pytest.raises(ValueError, match="at least two"):
        stability([])
