"""A language model whose every effect is known, and a study about it."""

import math

import numpy as np
import pytest
import torch

from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.records import Label, StudyInfo
from analysis.study import SCHEMA, Study
from saes.dictionary import Directions
from training.language_models.language_model import Tokens

HOOK = "blocks.0.hook_resid_post"
CONCEPTS = [f"mood{letter}" for letter in "abcdefgh"]
WORDS = {concept: [f"{concept}{number}" for number in range(6)] for concept in CONCEPTS}
FILLER = [f"thing{number}" for number in range(40)]
VOCABULARY = [word for words in WORDS.values() for word in words] + FILLER
D_IN = 160
NUMBER = {word: number for number, word in enumerate(VOCABULARY)}


class WordModel:
    """Words are tokens. Coordinate c of the stream raises the words of concept c; the other coordinates raise nothing.

    `flood`: coordinates that raise the words of every concept at once, as an unspecific latent would.
    """

    name, context, n_layers, d_model = "words", 64, 1, D_IN

    def __init__(self, flood=()):
        self.unembedding = torch.zeros(D_IN, len(VOCABULARY))
        for place in range(len(CONCEPTS)):
            self.unembedding[place, place * 6 : place * 6 + 6] = 1.0
        for place in flood:
            self.unembedding[place, : len(CONCEPTS) * 6] = 1.0
        generator = torch.Generator().manual_seed(1)
        self.embedding = 0.3 * torch.randn(len(VOCABULARY), D_IN, generator=generator).clamp(-1.5, 1.5)
        self.device = torch.device("cpu")

    def width(self, hook_name):
        return D_IN

    def tokenise(self, texts, max_tokens=None, add_bos=None):
        rows = [[NUMBER[word] for word in text.split()] for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row, dtype=torch.long)
        return Tokens(ids, torch.arange(ids.shape[1]) < lengths[:, None], lengths)

    def strings(self, ids):
        return [VOCABULARY[int(token)] for token in ids]

    def activations(self, tokens, hook_names):
        return dict.fromkeys(hook_names, self.embedding[tokens.ids])

    def logits(self, tokens, hooks=None):
        x = self.embedding[tokens.ids]
        for hook in (hooks or {}).values():
            x = hook(x, keep=tokens.keep)
        return x @ self.unembedding

    def log_probs(self, tokens, hooks=None):
        after = self.logits(tokens, hooks)[:, :-1].log_softmax(-1).gather(-1, tokens.ids[:, 1:, None]).squeeze(-1)
        return torch.nn.functional.pad(after, (1, 0)) * tokens.real

    def generate(self, prompts, max_new_tokens, temperature, top_p, seed, hooks=None, stop=None):
        draws = np.stack([np.random.default_rng(one).random(max_new_tokens) for one in seed])
        last = torch.tensor([NUMBER[prompt.split()[-1]] for prompt in prompts])
        written = []
        for place in range(max_new_tokens):
            here = Tokens(last[:, None], torch.ones(len(prompts), 1, dtype=torch.bool))
            chance = (self.logits(here, hooks)[:, -1] / temperature).softmax(-1).cumsum(-1)
            last = (chance < torch.tensor(draws[:, place, None])).sum(-1).clamp(max=len(VOCABULARY) - 1)
            written.append(last)
        return [" " + " ".join(self.strings(row)) for row in torch.stack(written, dim=1)]


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
