"""A study about the word model, whose every effect is known."""

import math

import numpy as np
import pytest
import torch

from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.planted.word_model import CONCEPTS, D_IN, FILLER, HOOK, WORDS, WordModel
from analysis.records import Label, StudyInfo
from analysis.study import SCHEMA, Study
from saes.dictionary import Directions


def texts(rng, count, concept=None):
    made = []
    for number in range(count):
        chosen = [*rng.choice(FILLER, 6), *(rng.choice(WORDS[concept], 4) if concept else [])]
        made.append(Text(" ".join(str(word) for word in rng.permutation(chosen)), f"topic{number}"))
    return tuple(made)


def make_label(concept, latents, scales=None, **changes):
    numbers = dict.fromkeys(
        ("auroc_finding", "auroc_folds", "auroc_checking", "auroc_checking_low", "auroc_checking_high", "auroc_all",
         "auroc_runner_up", "auroc_implicit", "lexical_share", "effect_finding", "p", "q",
         "null_finding"), 0.5)  # fmt: skip
    fields = {
        "concept": concept, "kind": "single" if len(latents) == 1 else "recipe", "latents": list(latents),
        "weights": [1.0] * len(latents), "scales": scales or [1.5] * len(latents), "pooling": "max", "chosen": True,
        "auroc_family": None, "runner_up": "", "auroc_contrast": None, "n_positive": 8, "n_negative": 8,
        "status": "held",
    }  # fmt: skip
    return Label(**{**numbers, **fields, **changes})


@pytest.fixture
def concept_set():
    rng = np.random.default_rng(0)
    concepts = {
        name: Concept(
            name, f"family{place}", "", (name,), tuple(WORDS[name]),
            {"finding": texts(rng, 8, name), "checking": texts(rng, 4, name), "prompt": texts(rng, 4)},
        )
        for place, name in enumerate(CONCEPTS)
    }  # fmt: skip
    neutral = {"finding": texts(rng, 8), "checking": texts(rng, 4), "prompt": texts(rng, 24)}
    families = {concept.family: [concept.name] for concept in concepts.values()}
    return ConceptSet("moods", concepts, neutral, "moods-hash", families=families)


@pytest.fixture
def judge_texts(tmp_path):
    import json

    rng = np.random.default_rng(5)
    path = tmp_path / "judge.jsonl"
    rows = [{"concept": name, "text": text.text} for name in CONCEPTS for text in texts(rng, 30, name)]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


@pytest.fixture
def dictionary():
    return Directions(torch.eye(D_IN))


@pytest.fixture
def make_study(tmp_path):
    """make_study(labels) -> Study, with difference-of-means directions that point the right way."""

    def make(labels, name="study"):
        info = StudyInfo(
            schema=SCHEMA, model="words", site=f"words/{HOOK}", sae_folder="", sae_hash="", concept_set="moods",
            concept_hash="moods-hash", command="", commit="", version="0", created="",
            settings={"hook_name": HOOK, "mean_activation_length": 0.3 * math.sqrt(D_IN)},
        )  # fmt: skip
        study = Study.create(tmp_path / name, info)
        study.write("labels", labels)
        np.savez(study.folder / "diff_means.npz", **{c: np.eye(D_IN)[place] for place, c in enumerate(CONCEPTS)})
        return study

    return make


@pytest.fixture
def word_model():
    return WordModel()


@pytest.fixture
def flooded_model():
    return WordModel(flood=range(40, 48))


@pytest.fixture(name="make_label")
def make_label_fixture():
    return make_label
