"""A study of an SAE whose latents are known: each planted one fires at the words of one mood and nowhere else."""

import numpy as np
import pytest
import torch

from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, VOCABULARY, WORDS, WordModel
from analysis.records import StudyInfo
from analysis.study import SCHEMA, Study
from saes.autoencoder import SAEConfig, SparseAutoencoder

MOODS = ("mooda", "moodb", "moodc", "moodd")
"""Latent 0 fires at the words of the first, and so on."""
TWIN = 4
"""Lies near latent 0 and fires at the words of `moode`: its excerpts are hard negatives of latent 0."""
SILENT = 150


class SpokenModel(WordModel):
    """The word model with its moods in the stream."""

    name, tokenizer = "spoken", None

    def __init__(self):
        super().__init__()
        self.embedding = torch.zeros(len(VOCABULARY), D_IN)
        for place, mood in enumerate((*MOODS, "moode")):
            for strength, word in enumerate(WORDS[mood]):
                self.embedding[NUMBER[word], place] = 1.0 + strength
        for place, word in enumerate(FILLER):
            self.embedding[NUMBER[word], 20 + place] = 1.0  # a latent of its own: it is read as text


def _texts(rng, mood: str | None, split: str, count: int) -> tuple[Text, ...]:
    words = [[*rng.choice(FILLER, 12), *(rng.choice(WORDS[mood], 2) if mood else ())] for _ in range(count)]
    return tuple(Text(" ".join(map(str, rng.permutation(row))), f"{split}{at}") for at, row in enumerate(words))


@pytest.fixture
def concept_set() -> ConceptSet:
    rng = np.random.default_rng(0)
    counts = {"finding": 20, "checking": 20, "implicit": 2}
    concepts = {
        mood: Concept(mood, f"family of {mood}", "", (mood,), (),
                      {split: _texts(rng, mood, split, count) for split, count in counts.items()})
        for mood in (*MOODS, "moode")
    }  # fmt: skip
    neutral = {split: _texts(rng, None, split, 200) for split in ("finding", "checking")}
    families = {concept.family: [name] for name, concept in concepts.items()}
    return ConceptSet("moods", concepts, neutral, "moods", families=families)


@pytest.fixture
def dictionary() -> SparseAutoencoder:
    sae = SparseAutoencoder(SAEConfig(D_IN, D_IN, "relu"))
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(D_IN))
        sae.W_enc.copy_(torch.eye(D_IN))
        sae.b_enc.fill_(-0.5)
        sae.W_dec[TWIN, 0] = 0.9  # what it writes is near latent 0, what it reads is not
    return sae


@pytest.fixture
def model() -> SpokenModel:
    return SpokenModel()


@pytest.fixture
def study(tmp_path) -> Study:
    info = StudyInfo(SCHEMA, "spoken", f"spoken/{HOOK}", "", "", "moods", "moods", "", "", "0", "", {"hook_name": HOOK})
    return Study.create(tmp_path / "study", info)
