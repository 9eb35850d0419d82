"""Evaluating checkpoints: SAELens computes the same from our folder, and each figure says what it was judged on."""

import json

import pytest
import torch

from saes.absorption import absorption_of
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site
from training import evaluate as module
from training.evaluate import HeldOut, evaluate, evaluate_checkpoints, find_checkpoints
from training.language_models.opening import open_model
from training.spec import TrainSpec
from training.windows import held_out_windows

SITE = "blocks.1.hook_resid_post"


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(
        "\n<|endoftext|>\n".join(f"Rain fell {number} times, and Tom laughed." * 3 for number in range(120))
    )
    return path


def read(model, corpus, tokens, window_batch):
    spec = TrainSpec(corpus=str(corpus), context=32, window_batch=window_batch, held_out_tokens=tokens)
    return list(held_out_windows(spec, model))


@torch.no_grad()
def trained(model, sparsity="topk"):
    """An SAE that has something to lose and to recover: centred on the mean, not perfect."""
    sae = SparseAutoencoder(SAEConfig(32, 96, sparsity, 12, initial_threshold=0.1), seed=1)
    tokens = model.tokenise(["The cat sat on the mat and looked at the rain."])
    sae.start_at_mean(model.activations(tokens, [SITE])[SITE][0, 1:])
    return sae


class Store:
    """What SAELens' evaluation asks of its ActivationsStore: batches of tokens."""

    context_size = store_batch_size_prompts = 1

    def __init__(self, batches):
        self.batches, self.next = batches, iter(batches)

    def get_batch_tokens(self, batch_size):
        return next(self.next).ids

    def reset_input_dataset(self):
        self.next = iter(self.batches)


@pytest.mark.parametrize("sparsity", ["topk", "jump_relu"])
def test_sae_lens_computes_the_same_from_our_checkpoint(sparsity, model_folders, llama, corpus, tmp_path):
    """SAEBench's core numbers: its core evaluation calls these functions of SAELens."""
    sae_lens = pytest.importorskip("sae_lens", reason="SAELens is not installed: pip install 'sae-lens>=6'")
    from sae_lens.evals import get_eval_everything_config, run_evals
    from sae_lens.training.activation_scaler import ActivationScaler

    folder = save_sae(trained(llama, sparsity), tmp_path / "sae", Site(str(model_folders["llama"]), SITE))
    batches = read(llama, corpus, 400, 4)[:2]
    ours = evaluate(llama, trained(llama, sparsity), SITE, batches)
    bridge = open_model(model_folders["llama"], "cpu", through="transformer_lens").bridge
    settings = get_eval_everything_config(4, len(batches), len(batches))
    groups, features = run_evals(
        sae_lens.SAE.load_from_disk(folder), Store(batches), bridge, ActivationScaler(), settings
    )
    theirs = {name: value for group in groups.values() for name, value in group.items()}
    shared = sorted(set(theirs) & set(ours))
    assert {"explained_variance", "l0", "ce_loss_score", "kl_div_score", "mse", "cossim", "l2_ratio"} <= set(shared)
    assert {name: ours[name] for name in shared if "bias" not in name} == pytest.approx(
        {name: theirs[name] for name in shared if "bias" not in name}, rel=2e-3, abs=1e-4
    )
    # theirs is averaged over batches, ours is one ratio of sums
    assert ours["relative_reconstruction_bias"] == pytest.approx(theirs["relative_reconstruction_bias"], rel=0.05)
    dead = sum(density == 0 for density in features["feature_density"]) / 96
    assert ours["dead"] == pytest.approx(dead)
    cosines = features["encoder_decoder_cosine_sim"]
    assert ours["encoder_decoder_cosine_sim"] == pytest.approx(sum(cosines) / len(cosines), rel=1e-4)
    assert 0.05 < ours["kl_div_score"] < 0.999


def test_it_does_not_matter_how_many_windows_are_judged_together(llama, corpus, monkeypatch):
    batches = read(llama, corpus, 200, 8)
    whole = evaluate(llama, trained(llama), SITE, batches)
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 1)
    alone = evaluate(llama, trained(llama), SITE, batches)
    numbers = [name for name, value in whole.items() if isinstance(value, int | float)]
    assert {name: alone[name] for name in numbers} == pytest.approx({name: whole[name] for name in numbers}, rel=1e-4)


def test_signs_of_absorption_come_from_the_same_rows(llama, corpus):
    batches = read(llama, corpus, 200, 8)
    sae = trained(llama)
    x = torch.cat([llama.activations(batch, [SITE])[SITE][batch.keep] for batch in batches])
    found = evaluate(llama, sae, SITE, batches)
    alone = absorption_of(sae.encode_sparse(x), sae.directions)
    assert (found["absorption"], found["splitting"]) == (alone.absorption, alone.splitting)


def test_checkpoints_say_what_they_were_judged_on(model_folders, llama, corpus, tmp_path):
    site = Site(str(model_folders["llama"]), SITE)
    ours = save_sae(trained(llama), tmp_path / "runs" / "ours", site)
    (ours / "spec.json").write_text(json.dumps({"corpus": str(corpus), "context": 32, "held_out_tokens": 300}))
    theirs = save_sae(trained(llama), tmp_path / "runs" / "theirs", site)
    assert find_checkpoints([tmp_path / "runs", ours]) == [ours, theirs]
    with pytest.raises(ValueError, match="--corpus"):
        list(evaluate_checkpoints([theirs], progress=False))
    found = dict(evaluate_checkpoints([ours, theirs], HeldOut(corpus=str(corpus), tokens=300), "cpu", progress=False))
    assert found[ours]["held_out"] is True
    assert found[theirs]["held_out"] is False
    assert found[ours]["hook_name"] == SITE
    assert found[ours]["rows"] >= 250
    lost = save_sae(trained(llama), tmp_path / "lost", Site("unknown", SITE))
    with pytest.raises(ValueError, match="--model"):
        list(evaluate_checkpoints([lost], HeldOut(corpus=str(corpus)), progress=False))
