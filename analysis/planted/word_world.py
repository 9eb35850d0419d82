"""A world of words whose truth is known: a language model, an SAE that reads it and a concept set, for label and validate."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, UNKNOWN, VOCABULARY, WORDS, WordModel
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site

WRITERS = ("mooda", "moodb", "moodc", "moodd")
"""Their coordinate stands in their words, and raises them."""
IDLE = "moode"
"""A decoy that detects: its coordinate stands in its words and raises nothing."""
TOPICAL = "moodf"
"""A decoy of the finding texts: its coordinate stands in a topic's words, which come with the concept there only."""
LEXICAL = "moodg"
"""A decoy that detects its concept's name and nothing else of it."""
CONCEPTS = (*WRITERS, IDLE, TOPICAL, LEXICAL)
TOPIC_WORDS = FILLER[:4]
COUNTS = {"finding": 16, "checking": 12, "implicit": 6, "contrast": 4, "prompt": 8}
"""Texts a concept."""
NEUTRAL_TEXTS = 24
JUDGE_TEXTS = 24


class PlantedModel(WordModel):
    """The word model with concepts in its stream, and sparse noise in the coordinates beyond them."""

    name = "planted"

    def __init__(self, seed: int):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.raised[len(WRITERS) : len(CONCEPTS)] = 0.0
        self.embedding = torch.from_numpy(rng.normal(0, 0.05, (len(VOCABULARY), D_IN))).float()
        silent = {UNKNOWN, *(NUMBER[word] for word in WORDS[TOPICAL])}  # or chance would give them latents of their own
        for row in (row for number, row in enumerate(self.embedding) if number not in silent):
            row[8 + torch.from_numpy(rng.choice(D_IN - 8, 6, replace=False))] += 1.0
        for place, concept in enumerate(CONCEPTS):
            words = {TOPICAL: TOPIC_WORDS, LEXICAL: WORDS[concept][:1]}.get(concept, WORDS[concept])
            self.embedding[[NUMBER[word] for word in words], place] += 1.2


@dataclass(frozen=True)
class WordWorld:
    model: PlantedModel
    concept_set: ConceptSet
    sae: Path
    """A checkpoint's folder: latents read and write one coordinate each."""
    judge_texts: Path
    latent: dict[str, int]
    """concept -> the latent of its coordinate."""


def word_world(folder: Path, seed: int) -> WordWorld:
    """Draws a world; what lies on disk of it goes to `folder`."""
    rng = np.random.default_rng(seed)
    concepts = {
        name: Concept(name, f"family of {name}", "", (WORDS[name][0],), tuple(WORDS[name]),
                      {split: _texts(rng, split, count, name) for split, count in COUNTS.items()})
        for name in CONCEPTS
    }  # fmt: skip
    neutral = {split: _texts(rng, split, NEUTRAL_TEXTS) for split in ("finding", "checking", "prompt")}
    families = {concept.family: [name] for name, concept in concepts.items()}
    judge_texts = folder / "judge.jsonl"
    rows = [
        {"concept": name, "text": text.text} for name in CONCEPTS for text in _texts(rng, "judge", JUDGE_TEXTS, name)
    ]
    judge_texts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    order = rng.permutation(D_IN)  # latent i reads and writes coordinate order[i]
    return WordWorld(
        PlantedModel(seed),
        ConceptSet("planted", concepts, neutral, "planted", families=families),
        save_sae(_sae(torch.from_numpy(order)), folder / "sae", Site("planted", HOOK)),
        judge_texts,
        {name: int(np.flatnonzero(order == place)[0]) for place, name in enumerate(CONCEPTS)},
    )


def _sae(order: torch.Tensor) -> SparseAutoencoder:
    sae = SparseAutoencoder(SAEConfig(D_IN, D_IN, "relu"))
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(D_IN)[order])
        sae.W_enc.copy_(torch.eye(D_IN)[order].T)
        sae.b_enc.fill_(-0.5)
    return sae


def _texts(rng: np.random.Generator, split: str, count: int, concept: str | None = None) -> tuple[Text, ...]:
    made = []
    for number in range(count):
        words = [*rng.choice(FILLER[4:], 7)]
        if concept:
            words += [*rng.choice(WORDS[concept], 3)]
        if concept == LEXICAL and split != "implicit":
            words.append(WORDS[concept][0])
        if concept == TOPICAL and split == "finding":
            words += [*rng.choice(TOPIC_WORDS, 2)]
        made.append(Text(" ".join(map(str, rng.permutation(words))), f"topic{number}"))
    return tuple(made)
