"""A label that carries over to other people's texts is told from one that does not, and nothing is fitted to them."""

import json

import numpy as np
import pytest
import torch

from analysis import transfer as room
from analysis.concepts.column_map import ColumnMap
from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.labelling.journey import label
from analysis.planted.word_model import D_IN, FILLER, HOOK, NUMBER, WORDS, WordModel
from analysis.study import Study
from analysis.transfer import transfer
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site

CONCEPTS = list(WORDS)[:4]
CARRIES, DOES_NOT = CONCEPTS[:2]
"""The first concept's words stand in other people's texts of it, too; the second is told there in words of nobody's."""
VALENCE = dict(zip(CONCEPTS, (8.0, 6.0, 3.0, 2.0), strict=True))


def told(rng, words) -> str:
    """Nine words."""
    return " ".join(map(str, rng.permutation([*rng.choice(FILLER, 9 - len(words)), *words])))


def a_concept_set(rng) -> ConceptSet:
    def texts(split: str, words: list[str]) -> tuple[Text, ...]:
        return tuple(Text(told(rng, words), f"{split} {number}") for number in range(12))

    splits = ("finding", "checking", "implicit", "contrast")
    concepts = {
        name: Concept(name, name, "", ("unnamed",), (), {split: texts(split, WORDS[name][:2]) for split in splits})
        for name in CONCEPTS
    }
    neutral = {split: texts(split, []) for split in ("finding", "checking", "prompt")}
    return ConceptSet("toy", concepts, neutral, "hash", families={name: [name] for name in CONCEPTS})


@pytest.fixture(scope="module")
def study_and_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    model = WordModel()
    for place, concept in enumerate(CONCEPTS):
        model.embedding[[NUMBER[word] for word in WORDS[concept]], place] = 1.5
    sae = SparseAutoencoder(SAEConfig(d_in=D_IN, d_sae=32, sparsity="relu"), seed=0)
    with torch.no_grad():
        sae.b_enc.fill_(-0.4)
        for latent in range(len(CONCEPTS)):
            sae.W_enc[:, latent] = torch.eye(D_IN)[latent]
            sae.W_dec[latent] = torch.eye(D_IN)[latent]
    save_sae(sae, folder / "sae", Site("words", HOOK))
    study = label(folder / "sae", a_concept_set(np.random.default_rng(0)), model, folder / "study", progress=False)
    assert all(one.is_held for one in study.labels())
    return folder, model


@pytest.fixture
def planted(study_and_model, monkeypatch):
    folder, model = study_and_model
    monkeypatch.setattr(room, "ratings_of", lambda _: {name: (VALENCE[name], None) for name in CONCEPTS})

    def run(data: ColumnMap, **options) -> Study:
        return transfer(Study.open(folder / "study"), data, model=model, progress=False, **options)

    return run


def other_peoples(folder, n: int = 40) -> ColumnMap:
    """Texts with the words of a concept by label; every joy is also calm, and one in four texts was never labelled."""
    rng = np.random.default_rng(1)
    words = {"joy": WORDS[CARRIES][2:5], "fear": [], "grief": WORDS[CONCEPTS[2]][2:5], "neutral": []}
    rows = [
        {"text": told(rng, words[name]), "labels": [name, "calm"] if name == "joy" else [name], "V": VALENCE[CARRIES] if name == "joy" else 5 - 2 * (name == "grief")}
        for name in words for _ in range(n)
    ]  # fmt: skip
    rows += [{"text": told(rng, WORDS[CARRIES][2:5]), "labels": None, "V": None} for _ in range(n)]
    (folder / "data.jsonl").write_text("".join(json.dumps(rows[place]) + "\n" for place in rng.permutation(len(rows))))
    return ColumnMap(
        "others", str(folder / "data.jsonl"), "text", labels="labels", numbers={"valence": "V"},
        concepts={"joy": ("no such", CARRIES), "fear": (DOES_NOT,), "grief": (CONCEPTS[2],), "calm": ()},
        families={"good": ("joy", "calm")},
    )  # fmt: skip


def test_what_carries_over_is_told_from_what_does_not(planted, tmp_path):
    study = planted(other_peoples(tmp_path))
    found = {(one.label, one.method): one for one in study.read("transfer")}
    assert {name for name, _ in found} == {"joy", "fear", "grief"}
    for method in ("sae", "diff_means"):
        joy, fear = found["joy", method], found["fear", method]
        assert joy.low > 0.8 > fear.high
        assert fear.low < 0.5 < fear.high
        assert (joy.n_positive, joy.n_negative) == (40, 120), "unlabelled texts do not count"
        assert joy.held
    assert found["joy", "written"].low > 0.5 > found["fear", "written"].low
    assert found["joy", "sae"].concept == CARRIES
    assert found["joy", "random_sae"].high < found["joy", "sae"].low
    assert found["joy", "length"].auroc == 0.5


def test_a_family_is_no_negative_of_its_own(planted, tmp_path):
    column_map = other_peoples(tmp_path)
    family = ColumnMap(**(column_map.__dict__ | {"families": {"one": ("joy", "grief")}}))
    found = {one.label: one for one in planted(family).read("transfer") if one.method == "sae"}
    assert found["joy"].n_negative == 80
    assert found["fear"].n_negative == 120


def test_human_valence_goes_with_the_labels_by_their_norms(planted, tmp_path):
    found = {one.method: one for one in planted(other_peoples(tmp_path)).read("transfer_ratings")}
    assert {one.rating for one in found.values()} == {"valence"}
    assert set(found) == {"sae", "written", "diff_means", "length"}
    for method in ("sae", "diff_means"):
        assert found[method].pearson_low > 0.4
        assert found[method].spearman_low > 0.3
        assert found[method].n == 160
    assert found["length"].pearson == 0.0
    assert found["length"].pearson_null is None


def test_nothing_depends_on_how_the_texts_are_read(planted, tmp_path, monkeypatch):
    column_map = other_peoples(tmp_path)
    whole = planted(column_map).read("transfer")
    monkeypatch.setattr(room, "TEXTS_AT_ONCE", 7)
    assert planted(column_map).read("transfer") == whole
    assert planted(column_map, limit=60).read("transfer") != whole


def test_other_data_sets_rows_stay(planted, tmp_path):
    column_map = other_peoples(tmp_path)
    planted(column_map)
    study = planted(ColumnMap(**(column_map.__dict__ | {"name": "again"})), seed=1)
    assert {one.data for one in study.read("transfer")} == {"others", "again"}
    assert study.info.settings["transfer"]["again"] == {"split": "all", "limit": None, "seed": 1, "texts": 200}


def test_texts_that_the_labels_were_found_on_are_refused(planted, tmp_path):
    column_map = other_peoples(tmp_path)
    same = ColumnMap(**(column_map.__dict__ | {"name": "toy", "splits": {"finding": "train", "sealed": "test"}}))
    with pytest.raises(ValueError, match="were found on texts of toy: give --split test"):
        planted(same, split="train")


def test_labels_that_mean_nothing_here(planted, tmp_path):
    column_map = other_peoples(tmp_path)
    with pytest.raises(ValueError, match="no label of others is a concept of the study"):
        planted(ColumnMap(**(column_map.__dict__ | {"concepts": {}})))
    with pytest.raises(ValueError, match="has 5 texts among these 4"):
        planted(column_map, limit=4)


def test_a_labelled_data_set_is_a_concept_set_of_its_own(study_and_model, tmp_path):
    folder, model = study_and_model
    rng = np.random.default_rng(2)
    told_by = {"joy": WORDS[CARRIES][:3], "grief": WORDS[CONCEPTS[2]][:3], "chance": []}
    rows = [
        {"text": told(rng, words), "labels": name, "split": split}
        for name, words in (told_by | {"neutral": []}).items()
        for split in ("train", "dev", "test")
        for _ in range(24)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(
        "data: data.jsonl\ntext: text\nlabels: labels\nsplit: split\n"
        "splits: {finding: train, checking: dev, sealed: test}\n"
    )
    study = label(folder / "sae", tmp_path / "mine.yaml", model, tmp_path / "study", progress=False)
    found = {one.concept: one for one in study.labels()}
    assert {name: one.is_held for name, one in found.items()} == {"joy": True, "grief": True, "chance": False}
    assert all(one.auroc_implicit is None for one in found.values())
    assert all(one.auroc_implicit is None for one in (*study.read("baselines"), *study.read("probes")))
    with pytest.raises(ValueError, match="were found on texts of mine: give --split test"):
        transfer(study, tmp_path / "mine.yaml", model=model, progress=False)
    sealed = transfer(study, tmp_path / "mine.yaml", split="test", model=model, progress=False).read("transfer")
    scores = {one.label: one for one in sealed if one.method == "sae"}
    assert scores["joy"].low > 0.9
    assert scores["chance"].low < 0.5 < scores["chance"].high
