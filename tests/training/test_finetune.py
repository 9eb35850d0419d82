"""Fine-tuning on KL brings the spliced model's answers nearer to the model's own, on text that was not learned from."""

import json

import pytest
import torch

from saes.checkpoint import load_sae
from training.journal import read_journal
from training.loop import train
from training.spec import TrainSpec
from training.spliced import kl_divergence, read_at, splice
from training.windows import held_out_windows


@torch.no_grad()
def kl_of(spec, folder, model):
    """KL a token between the model as it is and with the SAE in place, on held-out text."""
    sae, _, _ = load_sae(folder)
    found = []
    for tokens in held_out_windows(spec, model):
        rows, batch = read_at(model, spec.places, tokens)
        hooks = splice(model, spec.places, batch.keep, sae.reconstruct(spec.places.split(rows)[0]))
        log_p, log_q = (model.logits(tokens, one).log_softmax(-1)[tokens.real] for one in ({}, hooks))
        found.append(float(kl_divergence(log_p, log_q).mean()))
    return sum(found) / len(found)


@pytest.mark.parametrize(
    "settings",
    [
        {"sparsity": "topk"},
        {"sparsity": "batch_topk", "prefixes": [16]},
        {"sparsity": "relu", "l1_coefficient": 0.1},
        {"target_hook_name": "blocks.1.hook_mlp_out", "hook_name": "blocks.1.hook_resid_mid", "skip": True},
        {"crosscoder_sites": ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]},
    ],
    ids=str,
)
def test_it_lowers_the_kl_on_held_out_text(spec, settings, llama, tmp_path):
    if "crosscoder_sites" in settings:
        settings = {**settings, "hook_name": TrainSpec.hook_name}
    spec = spec.with_fields(**settings)
    longer = spec.with_fields(kl_finetune_tokens=64 * 40, out=str(tmp_path / "tuned"))
    as_long = spec.with_fields(tokens=64 * 70)
    plain, tuned = train(as_long, progress=False), train(longer, progress=False)
    assert kl_of(spec, tuned, llama) < 0.95 * kl_of(spec, plain, llama)  # than as many tokens of ordinary training
    journal = read_journal(tuned / "journal.jsonl")
    assert sum("kl" in entry for entry in journal) >= 5
    assert json.loads((tuned / "quality.json").read_text())["tokens_trained"] == 64 * 70
    sae, _, _ = load_sae(tuned)
    if not spec.crosscoder_sites:
        torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(64))


def test_interrupted_it_begins_anew_and_becomes_the_same(spec, tmp_path, monkeypatch):
    from training import learner

    spec = spec.with_fields(kl_finetune_tokens=64 * 5)
    whole = train(spec.with_fields(out=str(tmp_path / "whole")), progress=False)
    finetune = learner.finetune

    def stopped(*given):
        for number, seen in enumerate(finetune(*given)):
            if number == 2:
                raise KeyboardInterrupt
            yield seen

    monkeypatch.setattr(learner, "finetune", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(spec, progress=False)
    monkeypatch.setattr(learner, "finetune", finetune)
    train(spec, progress=False, resume=True)
    ours, theirs = (load_sae(folder)[0].state_dict() for folder in (spec.folder, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_interrupted_after_it_nothing_is_learned_twice(spec, tmp_path, monkeypatch):
    from training import loop

    spec = spec.with_fields(kl_finetune_tokens=64 * 5)
    whole = train(spec.with_fields(out=str(tmp_path / "whole")), progress=False)
    evaluate = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train(spec, progress=False)
    monkeypatch.setattr(loop, "evaluate", evaluate)
    train(spec, progress=False, resume=True)
    ours, theirs = (load_sae(folder)[0].state_dict() for folder in (spec.folder, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
