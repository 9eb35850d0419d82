"""The bundled model's recipe at toy size: learns, resumes exactly, leaves a folder that opens like any other."""

import json
import math
from dataclasses import replace

import pytest
import torch

from training.language_models.llama import Llama, LlamaShape
from training.language_models.pretrain import PretrainSpec, pretrain


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> PretrainSpec:
    return PretrainSpec(
        out=str(tmp_path_factory.mktemp("toy") / "model"), tokens=64 * 4 * 24, vocab_size=400, d_model=32, n_layers=2,
        n_heads=2, d_mlp=48, context=128, batch_windows=4, compile=False, sample_documents=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(spec):
    return pretrain(spec, progress=False)


def losses(folder) -> list[float]:
    entries = [json.loads(line) for line in (folder / "run" / "journal.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_it_leaves_a_hugging_face_folder_with_a_card(folder):
    from training.language_models.opening import open_model

    model = open_model(str(folder), device="cpu")
    assert model.n_layers == 2
    assert len(model.generate(["One morning"], max_new_tokens=5)) == 1
    card = (folder / "README.md").read_text()
    for part in ("held-out loss", "storyworld", "Ten samples", "seed=0"):
        assert part in card


def test_the_saved_model_gives_the_logits_of_the_trained_one():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = LlamaShape(vocab_size=50, d_model=32, n_layers=2, n_heads=2, d_mlp=48, context=64)
    ours = Llama(shape).eval()
    for weight in ours.parameters():
        weight.data += 0.02 * torch.randn_like(weight)
    theirs = LlamaForCausalLM(LlamaConfig(**shape.hugging_face())).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    tokens = torch.randint(0, 50, (3, 40))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(spec, folder, tmp_path, monkeypatch):
    from training.language_models import pretrain as module

    again = replace(spec, out=str(tmp_path / "model"), save_seconds=0.0)
    saved = module._save_state

    def stop_half_way(model, optimiser, step, seconds, run):
        saved(model, optimiser, step, seconds, run)
        if step == spec.steps // 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save_state", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        pretrain(again, progress=False)
    monkeypatch.setattr(module, "_save_state", saved)
    resumed = pretrain(again, progress=False)
    assert (resumed / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_another_recipe_does_not_go_on_with_an_old_run(spec, folder):
    with pytest.raises(ValueError, match=r"other settings \(lr\)"):
        pretrain(replace(spec, lr=1e-4), progress=False)


def test_it_learns(tmp_path):
    spec = PretrainSpec(out=str(tmp_path / "m"), tokens=64 * 8 * 60, vocab_size=400, d_model=32, n_layers=1, n_heads=2,
                        d_mlp=48, context=64, batch_windows=8, compile=False, sample_documents=200)  # fmt: skip
    seen = losses(pretrain(spec, progress=False))
    assert seen[-1] < math.log(400) - 0.8  # a model that knows nothing is at log(400)


def test_corpus_weights_must_match(tmp_path):
    (tmp_path / "a.txt").write_text("One day. " * 400)
    with pytest.raises(ValueError, match="corpus_weights"):
        pretrain(PretrainSpec(out=str(tmp_path / "m"), tokens=4096, corpus=(str(tmp_path / "a.txt"),), corpus_weights=(1.0, 2.0),
                              vocab_size=300, context=32, batch_windows=2, d_model=16, n_heads=2, n_layers=1, d_mlp=16, compile=False, sample_documents=50), progress=False)  # fmt: skip
