"""Fine-tuning on KL brings the spliced model's answers nearer to the model's own, on text that was not learned from."""

import json

import pytest
import torch

from saes.checkpoint import load_sae
from tests.processes import on_ranks
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
    ("settings", "steps"),
    [
        ({"sparsity": "topk"}, 150),
        ({"sparsity": "relu", "l1_coefficient": 0.1}, 150),
        ({"target_hook_name": "blocks.1.hook_mlp_out"}, 300),
        ({"crosscoder_sites": ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]}, 150),
    ],
    ids=str,
)
def test_it_lowers_the_kl_on_held_out_text_more_than_as_many_further_tokens(spec, settings, steps, llama, tmp_path):
    spec = spec.with_fields(hook_name=TrainSpec.hook_name) if "crosscoder_sites" in settings else spec
    spec, tail = spec.with_fields(**settings), steps // 3
    longer = spec.with_fields(tokens=64 * (steps + tail))
    tuned = spec.with_fields(tokens=64 * steps, kl_finetune_tokens=64 * tail, out=str(tmp_path / "tuned"))
    for one in (longer, tuned):
        train(one, progress=False)
    assert kl_of(spec, tuned.folder, llama) < 0.96 * kl_of(spec, longer.folder, llama)
    journal = read_journal(tuned.folder / "journal.jsonl")
    assert all((entry["step"] > steps) == ("kl" in entry) for entry in journal[:-1])
    assert sum("kl" in entry for entry in journal) >= 5
    seen = json.loads((tuned.folder / "quality.json").read_text())["tokens_trained"]
    assert seen == 64 * (steps + tail)
    if not spec.crosscoder_sites:  # whose sites have scales of their own
        torch.testing.assert_close(load_sae(tuned.folder)[0].W_dec.norm(dim=1), torch.ones(64))


def test_interrupted_it_begins_anew_and_becomes_the_same(spec, tmp_path, monkeypatch):
    from training import learner

    spec = spec.with_fields(kl_finetune_tokens=64 * 5, sparsity="batch_topk", prefixes=[16])
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


def trained(spec):
    train(spec, progress=False)


@pytest.mark.parametrize(("size", "latent_ranks"), [(2, 1), (4, 2)])
def test_many_processes_finetune_as_one_does(spec, tmp_path, size, latent_ranks):
    spec = spec.with_fields(
        kl_finetune_tokens=64 * 6, sparsity="batch_topk", tokens=64 * 12, kernels="cpu", clip_norm=1.0
    )
    whole = train(spec.with_fields(out=str(tmp_path / "whole")), progress=False)
    many = spec.with_fields(latent_ranks=latent_ranks, out=str(tmp_path / "many"))
    on_ranks(size, trained, many)
    ours, theirs = (load_sae(folder)[0].state_dict() for folder in (many.folder, whole))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-3, atol=1e-3)
    one, other = (read_journal(folder / "journal.jsonl") for folder in (many.folder, whole))
    assert [entry["step"] for entry in one] == [entry["step"] for entry in other]
    for mine, its in zip(one[:-1], other[:-1], strict=True):
        assert mine.get("kl", 0) == pytest.approx(its.get("kl", 0), rel=1e-3)
        assert mine["tokens"] == its["tokens"]


def test_own_shares_are_finetuned_on_too(spec, tmp_path, llama):
    settings = {"reading": "own", "tokens": 64 * 60, "latent_ranks": 2}
    spec = spec.with_fields(**settings)
    longer = spec.with_fields(tokens=64 * 80, out=str(tmp_path / "longer"))
    tuned = spec.with_fields(kl_finetune_tokens=64 * 20, out=str(tmp_path / "tuned"))
    for one in (longer, tuned):
        on_ranks(4, trained, one)
    assert kl_of(spec, tuned.folder, llama) < 0.97 * kl_of(spec, longer.folder, llama)


def test_fewer_windows_than_data_ranks_are_refused(spec):
    (said,) = set(on_ranks(2, refused, spec.with_fields(kl_finetune_tokens=64, window_batch=1)))
    assert said == "kl_finetune_tokens needs a window for each of 2 data ranks: window_batch (1) must be at least that"


def refused(spec):
    with pytest.raises(ValueError, match="kl_finetune_tokens") as caught:
        train(spec, progress=False)
    return str(caught.value)
