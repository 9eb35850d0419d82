"""Readouts against sums done by hand."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from analysis.clamping.readouts import n_tokens, next_tokens, readout_ids, readout_words, sum_log_prob, text_cost
from saes.dictionary import Directions
from saes.intervention import Edit, Intervention

HOOK = "blocks.0.hook_resid_post"
PROMPTS = ["thing1 thing2", "thing3"]
FIXED = [" thing4 thing5 thing6", ""]


def next_log_probs(model, text):
    return model.logits(model.tokenise([text]))[0].log_softmax(-1)


def test_words_of_all_concepts_by_hand(word_model):
    words = readout_words(word_model, [["mooda0", "mooda1"], ["moodb0", "mooda1"]])
    found = next_tokens(word_model, PROMPTS, FIXED, most_tokens=2).of_words(words)
    first = next_log_probs(word_model, "thing1 thing2 thing4 thing5 thing6")[1:4]
    second = next_log_probs(word_model, "thing3")[:1]
    by_hand = [[row[:, ids].logsumexp(-1).mean() for ids in ([0, 1], [1, 6])] for row in (first, second)]
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


def test_kl_by_hand(word_model):
    dictionary = Directions(torch.eye(word_model.d_model))
    hooks = {HOOK: Intervention((Edit((0,), 3.0),)).hook(dictionary)}
    before = next_tokens(word_model, PROMPTS, FIXED, 2)
    after = next_tokens(word_model, PROMPTS, FIXED, 2, hooks)
    p = word_model.logits(word_model.tokenise(["thing3"]), hooks)[0].log_softmax(-1)
    by_hand = float((p.exp() * (p - next_log_probs(word_model, "thing3"))).sum())
    assert float(after.kl(before.log_probs)[1]) == pytest.approx(by_hand, rel=1e-4)
    np.testing.assert_allclose(before.kl(before.log_probs), 0, atol=1e-6)
    assert [len(one) for one in before.of_each()] == [3, 1]


def test_a_clamp_shows_in_its_own_words_and_not_in_others(word_model):
    dictionary = Directions(torch.eye(word_model.d_model))
    words = readout_words(word_model, [["mooda0", "mooda1"], ["moodb0", "moodb1"]])
    hooks = {HOOK: Intervention((Edit((0,), 3.0),)).hook(dictionary)}
    clamped, plain = (next_tokens(word_model, PROMPTS, FIXED, 16, one).of_words(words) for one in (hooks, None))
    assert (clamped - plain).sign().tolist() == [[1, -1]] * 2


def test_text_cost_by_hand_and_nan_for_nothing(word_model):
    first, second = text_cost(word_model, PROMPTS, [" thing4 thing5", ""])
    log_probs = next_log_probs(word_model, "thing1 thing2 thing4 thing5")
    ids = word_model.tokenise(["thing4 thing5"]).ids[0]
    assert first == pytest.approx(-float((log_probs[1, ids[0]] + log_probs[2, ids[1]]) / 2), rel=1e-5)
    assert np.isnan(second)


def test_sum_log_prob_adds_the_words_up(word_model):
    found = sum_log_prob(word_model, PROMPTS, " mooda0 thing7")
    costs = text_cost(word_model, PROMPTS, [" mooda0 thing7"] * 2)
    np.testing.assert_allclose(found, -2 * costs, rtol=1e-5)
    assert n_tokens(word_model, "thing1 thing2 thing3") == 3


def test_pieces_of_words_give_way_to_whole_words():
    class Pieces:
        name = "pieces"
        known: ClassVar = {" scared": [7], " hid": [8], " trembled": [1, 2, 3], " shook": [1, 4]}

        def tokenise(self, texts, max_tokens=None, add_bos=None):
            from training.language_models.language_model import Tokens

            ids = torch.tensor([self.known.get(texts[0], [])], dtype=torch.long)
            return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

    assert readout_ids(Pieces(), ["scared", "hid", "trembled"]) == [7, 8]
    assert readout_ids(Pieces(), ["scared", "trembled", "shook"]) == [1, 7]
    with pytest.raises(ValueError, match="no token of the readout words unheard"):
        readout_ids(Pieces(), ["unheard"])
