"""SAEs of several places inside the model, against cases whose answer is known."""

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from training.activations.places import Places
from training.evaluate import evaluate
from training.spliced import evaluate_at, kl_divergence, read_at

BEFORE, AFTER = "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"
TEXTS = ["The cat sat on the mat.", "Nora was proud of her kite, so she flew it high."]


@torch.no_grad()
def perfect(d_in, **settings):
    """relu(x @ [I, -I]) @ [I; -I] = x."""
    sae = SparseAutoencoder(SAEConfig(d_in, 2 * d_in, "relu", **settings))
    both = torch.cat([torch.eye(d_in), -torch.eye(d_in)])
    sae.W_dec.copy_(both)
    sae.W_enc.copy_(both.T)
    return sae


def test_for_one_place_it_says_what_evaluate_says(llama):
    sae, tokens = SparseAutoencoder(SAEConfig(32, 64, k=4)), [llama.tokenise(TEXTS)]
    one, other = evaluate(llama, sae, AFTER, tokens), evaluate_at(llama, sae, Places((AFTER,), (AFTER,)), tokens)
    shared = set(one) & set(other)
    assert shared >= {
        "explained_variance",
        "l0",
        "dead",
        "ce",
        "ce_patched",
        "ce_ablated",
        "ce_recovered",
        "rows",
        "tokens",
    }
    assert {name: other[name] for name in shared} == pytest.approx({name: one[name] for name in shared}, rel=1e-4)


def test_a_perfect_crosscoder_and_transcoder_recover_all(llama):
    tokens = llama.tokenise(TEXTS)
    cross = evaluate_at(llama, perfect(64), Places((BEFORE, AFTER), (BEFORE, AFTER)), [tokens])
    assert cross["explained_variance"] == pytest.approx(1, abs=1e-5)
    assert cross["ce_recovered"] == pytest.approx(1, abs=1e-3)
    assert cross["kl_recovered"] == pytest.approx(1, abs=1e-3)
    places = Places((BEFORE,), (AFTER,))
    silent = SparseAutoencoder(SAEConfig(32, 8, "relu", apply_b_dec_to_input=False, d_out=32, skip=True))
    with torch.no_grad():
        silent.b_enc.fill_(-1e6)
        x, y = places.split(read_at(llama, places, tokens)[0])
        with_one = torch.cat([x, torch.ones(len(x), 1)], dim=1).double()
        fitted = torch.linalg.pinv(with_one) @ y.double()  # fewer tokens than dimensions: a linear map fits them all
        silent.W_skip.copy_(fitted[:-1].T)
        silent.b_dec.copy_(fitted[-1])
    quality = evaluate_at(llama, silent, places, [tokens])
    assert quality["l0"] == 0
    assert quality["dead"] == 1
    assert quality["explained_variance"] > 0.99
    assert quality["ce_recovered"] == pytest.approx(1, abs=0.02)


def test_rows_are_of_the_same_tokens(llama):
    tokens = llama.tokenise(TEXTS)
    rows, batch = read_at(llama, Places((BEFORE,), (AFTER,)), tokens)
    for name in (BEFORE, AFTER):
        assert torch.equal(rows[name], llama.activations(tokens, [name])[name][batch.keep])


def test_kl_is_zero_for_the_same_and_the_known_number_for_two_coins():
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    assert kl_divergence(p.log(), p.log()).tolist() == [0]
    assert kl_divergence(p.log(), q.log()).tolist() == pytest.approx([0.5108], abs=1e-4)
