"""Reading texts for a study: what is read, and what is said when an activation is no number."""

import pytest
import torch

from analysis.observe import BATCH, observe
from analysis.planted.word_model import D_IN, HOOK, NUMBER, WordModel
from saes.dictionary import Directions


@pytest.fixture
def model():
    model = WordModel()
    model.dtype = torch.float32
    return model


def test_firings_and_means_are_those_of_each_text(model):
    texts = ["thing1 thing2", *["thing3"] * BATCH, "thing4"]
    seen = observe(model, Directions(torch.eye(D_IN)), HOOK, texts)
    first = model.embedding[[NUMBER["thing1"], NUMBER["thing2"]]]
    torch.testing.assert_close(torch.tensor(seen.means[0]), first.mean(0))
    assert seen.strings[0] == [" thing1", " thing2"]
    assert set(seen.firings.text) == set(range(len(texts)))
    last = seen.firings.latent[seen.firings.text == len(texts) - 1]
    assert set(last) == set((model.embedding[NUMBER["thing4"]] > 0).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_is_named_with_its_token_and_its_text(model, value):
    model.embedding[NUMBER["thing7"], 5] = value
    texts = ["thing1 thing2"] * (2 * BATCH)
    place = BATCH + 3  # in the second batch
    texts[place] = "thing3 thing7 thing1"
    said = rf"{HOOK} is NaN or infinite at token 1 \(' thing7'\) of text {place} \(1 such there\): words cannot be read"
    with pytest.raises(ValueError, match=said):
        observe(model, Directions(torch.eye(D_IN)), HOOK, texts)


def test_widths_must_fit(model):
    with pytest.raises(ValueError, match=f"expected d_in 8, but words has {D_IN}"):
        observe(model, Directions(torch.eye(8)), HOOK, ["thing1"])
