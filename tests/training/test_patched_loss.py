"""The loss with reconstructions in place, against cases whose answer is known."""

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from training.corpora.corpus import windows
from training.evaluate import evaluate
from training.language_models import tokenising
from training.patched_loss import patched_loss

SITE = "blocks.1.hook_resid_post"
TEXTS = ["The cat sat on the mat.", "Nora was proud of her kite, so she flew it high."]


@torch.no_grad()
def perfect(d_in):
    """relu(x @ [I, -I]) @ [I; -I] = x."""
    sae = SparseAutoencoder(SAEConfig(d_in, 2 * d_in, "relu"))
    both = torch.cat([torch.eye(d_in), -torch.eye(d_in)])
    sae.W_dec.copy_(both)
    sae.W_enc.copy_(both.T)
    return sae


@torch.no_grad()
def silent(d_in):
    sae = perfect(d_in)
    sae.b_enc.fill_(-1e6)
    return sae


def test_a_perfect_dictionary_recovers_all_and_a_silent_one_nothing(llama):
    tokens = llama.tokenise(TEXTS)
    loss = patched_loss(llama, perfect(32), SITE, tokens)
    assert loss["ce_recovered"] == pytest.approx(1, abs=1e-3)
    assert loss["ce_patched"] == pytest.approx(loss["ce"], abs=1e-4)
    assert loss["tokens"] == int(tokens.lengths.sum()) - 2
    nothing = patched_loss(llama, silent(32), SITE, tokens)
    assert nothing["ce_recovered"] == pytest.approx(0, abs=1e-6)
    assert nothing["ce_patched"] == nothing["ce_ablated"] != nothing["ce"]
    by_hand = -llama.log_probs(tokens)[:, 1:][tokens.real[:, 1:]].mean()
    assert loss["ce"] == pytest.approx(float(by_hand), rel=1e-5)


def test_evaluate_gives_every_part(llama):
    batches = list(llama.tokenise(TEXTS).batches(1))
    quality = evaluate(llama, perfect(32), SITE, batches)
    assert quality["explained_variance"] == pytest.approx(1, abs=1e-6)
    assert quality["l0"] == pytest.approx(32, abs=0.1)
    assert quality["dead"] == 0
    assert quality["rows"] == sum(int(batch.keep.sum()) for batch in batches)
    whole = patched_loss(llama, silent(32), SITE, llama.tokenise(TEXTS))
    parts = evaluate(llama, silent(32), SITE, batches)
    assert parts["ce_ablated"] == pytest.approx(whole["ce_ablated"], rel=1e-4)
    assert parts["dead"] == 1
    with pytest.raises(ValueError, match="expected d_in 16, got 32"):
        evaluate(llama, perfect(16), SITE, batches)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_last_window_with_nothing_to_judge_is_no_obstacle(models, family):
    """Two windows and one end token more: alone after a beginning token (llama), or alone altogether (gpt2)."""
    model = models[family]
    text = next(text for text in (TEXTS[1] + "!" * more for more in (0, 1)) if _length(model, text) % 2 == 0)
    room = _length(model, text) // 2
    batches = list(windows([text], model, room + len(tokenising.bos(model.tokenizer))))
    assert [batch.ids.shape[0] for batch in batches] == [2, 1]
    assert not batches[1].keep.any()
    quality = evaluate(model, perfect(32), SITE, batches)
    assert quality["ce_recovered"] == pytest.approx(1, abs=1e-3)
    assert quality["tokens"] == 2 * (batches[0].ids.shape[1] - 1) + batches[1].ids.shape[1] - 1
    with pytest.raises(ValueError, match=r"no token to predict|nothing, so there is no loss"):
        patched_loss(model, perfect(32), SITE, batches[1])


def test_windows_of_one_token_alone_cannot_be_evaluated(llama):
    tokens = llama.tokenise(["a", "b"], add_bos=False)
    assert tokens.ids.shape[1] == 1
    for judge in (lambda: patched_loss(llama, perfect(32), SITE, tokens),
                  lambda: evaluate(llama, perfect(32), SITE, [tokens])):  # fmt: skip
        with pytest.raises(ValueError, match="no token to predict"):
            judge()


def _length(model, text):
    return len(tokenising.plain_ids(model.tokenizer, [text])[0])
