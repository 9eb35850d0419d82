"""A planted truth through the sweep: the latent that writes a concept costs its texts when it goes, the decoy does not."""

import math

import numpy as np
import pytest
import torch

from analysis.ablation import measures
from analysis.ablation.journey import ablate
from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, VOCABULARY, WORDS, WordModel
from analysis.records import Ablation, StudyInfo
from analysis.study import SCHEMA, Study
from saes.autoencoder import SAEConfig, SparseAutoencoder
from tests.analysis.clamping.conftest import make_label

WRITES, IDLE = "mooda", "moodb"
"""Both stand in the texts of their concept; the first raises its words, the decoy raises nothing."""


class Planted(WordModel):
    name = "planted"

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.raised *= 1.6
        self.raised[NUMBER[WORDS[IDLE][0]] // 6] = 0.0
        self.embedding = torch.zeros(len(VOCABULARY), D_IN)
        for row in self.embedding:  # what the other latents read
            row[8 + torch.from_numpy(rng.choice(D_IN - 8, 6, replace=False))] = 1.0
        for place, concept in enumerate((WRITES, IDLE)):
            self.embedding[[NUMBER[word] for word in WORDS[concept]], place] = 1.2

    def generate(self, prompts, max_new_tokens, temperature, top_p, seed, hooks=None, stop=None):
        return super().generate(prompts, max_new_tokens, temperature or 1.0, top_p, seed, hooks, stop)


def texts(rng, count, concept=None):
    made = []
    for number in range(count):
        words = [
            *rng.choice(FILLER, 6),
            *(rng.choice(WORDS[concept], 4) if concept else []),
        ]  # its words follow another
        made.append(Text(" ".join(map(str, words)), f"topic{number}"))
    return tuple(made)


@pytest.fixture
def concept_set():
    rng = np.random.default_rng(1)
    concepts = {
        name: Concept(name, family, "", (name,), tuple(WORDS[name]),
                      {"finding": texts(rng, 10, name), "checking": texts(rng, 12, name), "prompt": texts(rng, 4, name)})
        for name, family in ((WRITES, "f"), (IDLE, "g"))
    }  # fmt: skip
    neutral = {"finding": texts(rng, 20), "checking": texts(rng, 12), "prompt": texts(rng, 4)}
    return ConceptSet("planted", concepts, neutral, "hash", families={"f": [WRITES], "g": [IDLE]})


@pytest.fixture
def sae():
    sae = SparseAutoencoder(SAEConfig(D_IN, D_IN, "relu"))
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(D_IN))
        sae.W_enc.copy_(torch.eye(D_IN))
        sae.b_enc.fill_(-0.1)
    return sae


@pytest.fixture
def study(tmp_path):
    info = StudyInfo(
        schema=SCHEMA, model="planted", site=f"planted/{HOOK}", sae_folder="", sae_hash="", concept_set="planted",
        concept_hash="hash", command="", commit="", version="0", created="", settings={"hook_name": HOOK},
    )  # fmt: skip
    study = Study.create(tmp_path / "study", info)
    study.write("labels", [make_label(WRITES, [0]), make_label(IDLE, [1])])
    return study


def rows_of(study, **wanted):
    return {
        (row.name, row.target): row
        for row in study.read("ablations", Ablation)
        if all(getattr(row, name) == value for name, value in wanted.items())
    }


def run(study, concept_set, sae, **options):
    options = {"model": Planted(), "progress": False, "dictionary": sae, "concept_set": concept_set, **options}
    return ablate(study, **options)


def test_the_latent_that_writes_costs_its_texts_and_the_decoy_does_not(study, concept_set, sae):
    run(study, concept_set, sae)
    rows = rows_of(study, metric="loss", kind="each")
    planted = rows[WRITES, WRITES]
    assert planted.low > max(0.05, planted.control_high)
    assert planted.p == pytest.approx(1 / 21)
    assert planted.n == 12
    assert rows[WRITES, "own"].effect == planted.effect
    assert rows[WRITES, "neutral"].effect == 0.0, "it fires in no neutral text"
    assert rows[WRITES, "emotional"].effect == pytest.approx(planted.effect / 2)
    assert rows[IDLE, IDLE].effect == pytest.approx(0.0, abs=1e-6)
    assert rows[WRITES, IDLE].effect == 0.0


def test_readouts_fall_for_the_latent_that_writes(study, concept_set, sae):
    run(study, concept_set, sae, metric="readouts", controls=5)
    rows = rows_of(study, metric="readouts", kind="each")
    assert rows[WRITES, "own"].high < min(-0.05, rows[WRITES, "own"].control_low)
    assert rows[WRITES, "own"].n == 8
    assert rows[IDLE, "own"].effect == pytest.approx(0.0, abs=1e-6)


def test_keeping_a_feature_keeps_what_it_writes(study, concept_set, sae):
    for kind in ("all", "family", "only"):
        run(study, concept_set, sae, groups=kind, controls=3)
    everything = rows_of(study, kind="all")["all", WRITES]
    assert everything.latents == [0, 1]
    kept, other = rows_of(study, kind="only")[WRITES, WRITES], rows_of(study, kind="only")[IDLE, WRITES]
    assert kept.latents == [1]
    assert kept.effect == pytest.approx(0.0, abs=1e-6)
    assert other.effect == pytest.approx(everything.effect, abs=1e-6)
    assert rows_of(study, kind="family")["f", "own"].effect == pytest.approx(everything.effect, abs=1e-6)
    picture = (study.folder / "ablations_loss.svg").read_text()
    assert "all ablated but" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", ""), "it needs nothing beside it"


def test_a_run_that_was_stopped_goes_on_where_it_was(study, concept_set, sae, monkeypatch):
    whole = measures.Loss.changes
    calls = []

    def stops(self, groups, progress):
        calls.append(groups[0])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, groups, progress)

    monkeypatch.setattr(measures.Loss, "changes", stops)
    with pytest.raises(KeyboardInterrupt):
        run(study, concept_set, sae, controls=3)
    assert {name for name, _ in rows_of(study)} == {WRITES}
    run(study, concept_set, sae, controls=3)
    assert [tuple(latents) for latents in calls] == [(0,), (1,), (1,)]
    resumed = study.read("ablations", Ablation)
    run(study, concept_set, sae, controls=3)
    assert study.read("ablations", Ablation) == resumed
    assert len(calls) == 3
    run(study, concept_set, sae, controls=4)
    assert {row.n_controls for row in study.read("ablations", Ablation)} == {4}, "other settings begin anew"


def test_the_workshop_compares_the_same_tasks(study, concept_set, sae, monkeypatch):
    def play(episodes, arms, model, dictionary, hook_name):
        for number, episode in enumerate(episodes):
            edits = arms[episode.arm][1].edits
            ablated = bool(edits) and 0 in edits[0].latents
            episode.outcome = "cheated" if episode.impossible and not ablated and number % 2 else "stopped"

    monkeypatch.setattr(measures, "play", play)
    run(study, concept_set, sae, metric="workshop", episodes=(4, 2), controls=4)
    rows = rows_of(study, metric="workshop")
    assert rows[WRITES, "cheated"].effect == -0.5
    assert rows[WRITES, "stopped"].effect == 0.5
    assert rows[WRITES, "cheated"].n == 4
    assert rows[IDLE, "cheated"].effect == 0.0
    assert math.isclose(rows[WRITES, "cheated"].control_mean, 0.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "los"}, "did you mean loss"),
        ({"groups": "one"}, "each, family, all, only"),
        ({"controls": 0}, "proves nothing"),
        ({"concepts": ["joyful"]}, "no label for 'joyful'"),
        ({"metric": "workshop", "episodes": (0, 3)}, "tasks of both kinds"),
    ],
)
def test_mistakes(study, concept_set, sae, options, said):
    with pytest.raises(ValueError, match=said):
        run(study, concept_set, sae, **options)


def test_a_study_without_held_labels(study, concept_set, sae):
    study.write("labels", [make_label(WRITES, [0], status="rejected")])
    with pytest.raises(ValueError, match="no held label"):
        run(study, concept_set, sae)
