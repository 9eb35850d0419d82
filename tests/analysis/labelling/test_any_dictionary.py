"""The labelling journey takes dictionaries of any format: in each the planted latents are found, and it opens again."""

import copy
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from analysis.concepts.concept import Concept, ConceptSet, Text
from analysis.labelling.choose import Rules
from analysis.labelling.journey import label
from analysis.opening import dictionary_of, open_subject
from analysis.planted.word_model import CONCEPTS, D_IN, FILLER, HOOK, NUMBER, WORDS, WordModel
from analysis.study import Study
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import to_parts
from saes.opening import open_dictionary
from saes.projections import Projections
from saes.site import Site

MOODS = CONCEPTS[:3]
ORDER = torch.randperm(D_IN, generator=torch.Generator().manual_seed(5))
"""Latent i reads and writes coordinate ORDER[i]."""
ROWS = torch.eye(D_IN)[ORDER]
LATENT = {name: int((place == ORDER).nonzero()) for place, name in enumerate(MOODS)}
SITE = Site("words", HOOK)


@pytest.fixture
def model():
    """Coordinate c stands in the words of mood c."""
    model = WordModel()
    model.embedding = model.embedding * 0.5
    for place, name in enumerate(MOODS):
        model.embedding[[NUMBER[word] for word in WORDS[name]], place] += 2.0
    return model


@pytest.fixture
def moods():
    rng = np.random.default_rng(0)

    def texts(count, words=()):
        parts = [[*rng.choice(FILLER, 5), *(rng.choice(words, 2) if words else ())] for _ in range(count)]
        return tuple(Text(" ".join(map(str, part)), f"topic{place}") for place, part in enumerate(parts))

    counts = {"finding": 12, "checking": 10, "implicit": 6, "contrast": 4}
    concepts = {
        name: Concept(name, f"of {name}", "", ("unspoken",), tuple(WORDS[name]),
                      {split: texts(count, WORDS[name]) for split, count in counts.items()})
        for name in MOODS
    }  # fmt: skip
    neutral = {split: texts(12) for split in ("finding", "checking")}
    return ConceptSet("moods", concepts, neutral, "x", families={one.family: [name] for name, one in concepts.items()})


def relu_sae():
    sae = SparseAutoencoder(SAEConfig(D_IN, D_IN, "relu", apply_b_dec_to_input=False))
    with torch.no_grad():
        sae.W_dec.copy_(ROWS)
        sae.W_enc.copy_(ROWS.T)
        sae.b_enc.fill_(-0.5)
    return sae


def dictionary_learning(folder):
    folder.mkdir()
    weights = {"encoder.weight": ROWS, "encoder.bias": torch.full((D_IN,), -0.5)}
    torch.save(weights | {"decoder.weight": ROWS.T, "bias": torch.zeros(D_IN)}, folder / "ae.pt")
    told = {"dict_class": "AutoEncoder", "lm_name": "words", "submodule_name": "resid_post_layer_0"}
    (folder / "config.json").write_text(json.dumps({"trainer": told}))
    return folder


def gemma_scope(folder):
    folder.mkdir()
    arrays = {"W_enc": ROWS.T, "W_dec": ROWS, "b_enc": torch.zeros(D_IN), "b_dec": torch.zeros(D_IN)}
    arrays["threshold"] = torch.full((D_IN,), 0.5)
    np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in arrays.items()})
    return folder


def sparsify_transcoder(folder):
    folder.mkdir()
    weights = {"encoder.weight": ROWS, "encoder.bias": torch.zeros(D_IN), "b_dec": torch.zeros(D_IN)}
    safetensors.torch.save_file(weights | {"W_dec": torch.randn(D_IN, D_IN)}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"k": 12, "transcode": True, "d_in": D_IN}))
    return folder


def directions(file):
    np.savez(file, **{f"row{number}": row for number, row in enumerate(ROWS.numpy())}, mean=np.full(D_IN, 0.1))
    return file


@pytest.mark.parametrize("make", [dictionary_learning, gemma_scope, sparsify_transcoder, directions])
def test_planted_latents_are_found_in_every_format(tmp_path, model, moods, make):
    place = make(tmp_path / ("mine.npz" if make is directions else "mine"))
    study = label(place, moods, model, hook_name=HOOK, rules=Rules(recipe_size=1), progress=False)
    assert study.folder == tmp_path / ("mine-study" if make is directions else "mine/study")
    found = {one.concept: one for one in study.labels()}
    for name in MOODS:
        assert found[name].latents == [LATENT[name]]
        assert found[name].status == "held"
    assert study.info.site == str(SITE)
    again = dictionary_of(Study.open(study.folder))
    assert type(again) is type(open_dictionary(place)[0])
    if make is sparsify_transcoder:
        with pytest.raises(ValueError, match="this is a transcoder"):
            open_subject(study, model, None, "cpu")
    else:
        assert open_subject(study, model, None, "cpu")[2] == HOOK
    place.rename(tmp_path / "elsewhere")
    if make is directions:
        with pytest.raises(FileNotFoundError, match=r"is not at .*mine.npz"):
            dictionary_of(study)
    else:
        assert dictionary_of(Study.open(tmp_path / "elsewhere" / "study")).d_sae == D_IN


def test_another_dictionary_in_the_same_place_is_noticed(tmp_path, model, moods):
    study = label(directions(tmp_path / "mine.npz"), moods, model, hook_name=HOOK, progress=False)
    np.savez(tmp_path / "mine.npz", calm=np.ones(D_IN))
    with pytest.raises(ValueError, match="is not the SAE that"):
        dictionary_of(study)


def test_the_differences_of_means_of_a_study_are_a_dictionary_of_its_own(tmp_path, model, moods):
    study = label(gemma_scope(tmp_path / "mine"), moods, model, hook_name=HOOK, progress=False)
    file = study.folder / "diff_means.npz"
    dictionary, site, metadata = open_dictionary(file)
    assert isinstance(dictionary, Projections)
    assert metadata["centred"]
    assert site == SITE
    second = label(file, moods, model, rules=Rules(recipe_size=1), progress=False)
    for one in second.labels():
        assert dictionary.names[one.latents[0]] == one.concept
        assert one.auroc_checking > 0.9


def test_an_sae_of_sae_lens_registry(tmp_path, model, moods, monkeypatch):
    sae_lens = pytest.importorskip("sae_lens", reason="SAELens is not installed: pip install 'sae-lens>=6'")
    config, weights = to_parts(relu_sae(), SITE)
    theirs = sae_lens.StandardSAE(sae_lens.StandardSAEConfig.from_dict(config))
    theirs.load_state_dict(weights)
    asked = []
    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", lambda *names: asked.append(names) or theirs)
    release, sae_id = "gpt2-small-res-jb", "blocks.8.hook_resid_pre"
    study = label(sae_id, moods, model, tmp_path / "study", sae_lens_release=release, progress=False)
    assert {one.concept: one.latents[0] for one in study.labels()} == LATENT
    assert dictionary_of(Study.open(study.folder)).d_sae == D_IN
    assert asked == [(release, sae_id)] * 2


class ChatModel(WordModel):
    """Reads a text's last word alone once it is asked for the token before the reply."""

    read = "all"

    def reading(self, read):
        view = copy.copy(self)
        view.read = read
        return view

    def tokenise(self, texts, max_tokens=None, add_bos=None):
        tokens = super().tokenise(texts)
        last = torch.arange(tokens.ids.shape[1]) == tokens.lengths[:, None] - 1
        return tokens if self.read == "all" else tokens._replace(keep=last)


def test_only_the_tokens_asked_for_are_read_and_the_study_says_so(tmp_path, model, moods):
    chatty = ChatModel()
    chatty.embedding = model.embedding
    file = directions(tmp_path / "mine.npz")
    rules = Rules(recipe_size=1)
    study = label(file, moods, chatty, hook_name=HOOK, read="before_reply", rules=rules, progress=False)
    assert study.info.settings["read"] == "before_reply"
    texts = [text.text for one in moods.concepts.values() for text in one.of("finding")]
    texts += [text.text for text in moods.neutral["finding"]]
    last = torch.stack([model.embedding[NUMBER[text.split()[-1]]] for text in texts])
    np.testing.assert_allclose(np.load(study.folder / "mean_activation.npz")["mean"], last.mean(0), rtol=1e-4)
    plain = label(file, moods, chatty, tmp_path / "plain", hook_name=HOOK, rules=rules, progress=False)
    assert plain.info.settings["read"] == "all"
    assert plain.info.settings["mean_activation_length"] != study.info.settings["mean_activation_length"]


def test_without_a_place_nothing_is_read(tmp_path, model, moods):
    with pytest.raises(ValueError, match="does not say at which place"):
        label(gemma_scope(tmp_path / "mine"), moods, model, progress=False)
