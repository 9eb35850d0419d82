"""Planted truth through the whole of label and validate: what carries a concept is found, and no decoy is validated."""

import json

import numpy as np
import pytest
import torch

from analysis.clamping.journey import validate
from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.labelling.journey import label
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, VOCABULARY, WORDS, WordModel
from analysis.records import clamp_counts
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site

PLANTED = ("mooda", "moodb", "moodc", "moodd")
"""Their coordinate stands in their words, and raises them."""
IDLE = "moode"
"""A decoy that detects: its coordinate stands in its words and raises nothing."""
TOPICAL = "moodf"
"""A decoy of the finding texts: its coordinate stands in a topic's words, which come with the concept there only."""
LEXICAL = "moodg"
"""A decoy that detects its concept's name and nothing else of it."""
CONCEPTS = (*PLANTED, IDLE, TOPICAL, LEXICAL)
TOPIC_WORDS = FILLER[:4]
COUNTS = {"finding": 16, "checking": 12, "implicit": 6, "contrast": 4}


class PlantedModel(WordModel):
    """The word model with concepts in its stream, and sparse noise in the coordinates beyond them."""

    name = "planted"

    def __init__(self, seed: int):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.raised[len(PLANTED) : len(CONCEPTS)] = 0.0
        self.embedding = torch.from_numpy(rng.normal(0, 0.05, (len(VOCABULARY), D_IN))).float()
        for row in self.embedding:
            row[8 + torch.from_numpy(rng.choice(D_IN - 8, 6, replace=False))] += 1.0
        for place, concept in enumerate(CONCEPTS):
            words = {TOPICAL: TOPIC_WORDS, LEXICAL: WORDS[concept][:1]}.get(concept, WORDS[concept])
            self.embedding[[NUMBER[word] for word in words], place] += 1.2


def texts(rng, split: str, concept: str | None = None) -> tuple[Text, ...]:
    made = []
    for number in range(COUNTS.get(split, 8) if concept else 24):
        words = [*rng.choice(FILLER[4:], 7)]
        if concept:
            words += [*rng.choice(WORDS[concept], 3)]
        if concept == LEXICAL and split != "implicit":
            words.append(WORDS[concept][0])
        if concept == TOPICAL and split == "finding":
            words += [*rng.choice(TOPIC_WORDS, 2)]
        made.append(Text(" ".join(map(str, rng.permutation(words))), f"topic{number}"))
    return tuple(made)


@pytest.fixture(params=range(20))
def seed(request):
    return request.param


def test_all_planted_concepts_are_validated_and_no_decoy_is(seed, tmp_path):
    rng = np.random.default_rng(seed)
    model = PlantedModel(seed)
    concepts = {
        name: Concept(name, f"family of {name}", "", (WORDS[name][0],), tuple(WORDS[name]),
                      {split: texts(rng, split, name) for split in (*COUNTS, "prompt")})
        for name in CONCEPTS
    }  # fmt: skip
    neutral = {split: texts(rng, split) for split in ("finding", "checking", "prompt")}
    concept_set = ConceptSet(
        "planted", concepts, neutral, "planted", families={c.family: [n] for n, c in concepts.items()}
    )
    judge_texts = tmp_path / "judge.jsonl"
    rows = [
        {"concept": name, "text": text.text} for name in CONCEPTS for _ in range(3) for text in texts(rng, "", name)
    ]
    judge_texts.write_text("\n".join(map(json.dumps, rows)) + "\n")

    order = torch.from_numpy(rng.permutation(D_IN))  # latent i reads and writes coordinate order[i]
    sae = SparseAutoencoder(SAEConfig(D_IN, D_IN, "relu"))
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(D_IN)[order])
        sae.W_enc.copy_(torch.eye(D_IN)[order].T)
        sae.b_enc.fill_(-0.5)
    folder = save_sae(sae, tmp_path / "sae", Site("planted", HOOK))
    latent = {name: int((order == place).nonzero()) for place, name in enumerate(CONCEPTS)}

    study = label(folder, concept_set, model, seed=seed, progress=False)
    found = {one.concept: one for one in study.labels()}
    for name in (*PLANTED, IDLE):
        assert found[name].status == "held"
        assert found[name].latents[0] == latent[name]
    assert found[TOPICAL].latents[0] == latent[TOPICAL], "the search is taken in by the decoy"
    assert found[TOPICAL].status == "rejected", "the held-out texts are not"
    assert found[LEXICAL].auroc_checking > 0.85, "by its score on checking texts it would be held"
    assert found[LEXICAL].lexical
    assert found[LEXICAL].auroc_masked < 0.65
    assert found[LEXICAL].status == "rejected"
    assert not any(found[name].lexical for name in (*PLANTED, IDLE))

    validate(study, model=model, concept_set=concept_set, judge_texts=judge_texts, controls=40, new_tokens=12,
             doses=(1.0, 2.0), seed=seed, progress=False)  # fmt: skip
    status = {one.concept: one.status for one in study.labels()}
    assert status == dict.fromkeys(PLANTED, "validated") | {IDLE: "no effect", TOPICAL: "rejected", LEXICAL: "rejected"}
    counts = clamp_counts(study.read("clamps"))
    assert counts["control_tested"] > 100
    assert counts["control_validated"] <= 0.05 * counts["control_tested"]
