"""The bundled model's recipe at toy size: learns, resumes exactly, leaves a folder that opens like any other."""

import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from training.journal import read_journal
from training.language_models.llama import Llama, LlamaShape
from training.language_models.pretrain import Optimiser, PretrainSpec, Sources, pretrain


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> PretrainSpec:
    return PretrainSpec(
        out=str(tmp_path_factory.mktemp("toy") / "model"), tokens=128 * 4 * 24, vocab_size=400, d_model=32, n_layers=2,
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
    for part in ("held-out loss", "storyworld", "Ten samples", "seed=0", f"CPU with {torch.get_num_threads()} threads"):
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


def journal(folder) -> list[tuple[int, float | None]]:
    return [(entry["step"], entry.get("loss")) for entry in read_journal(folder / "run" / "journal.jsonl")]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(spec, folder, tmp_path, monkeypatch):
    """The state of step 10 is saved, and step 20 stands in the journal already: it must not stand there twice."""
    from training.language_models import pretrain as module

    again = replace(spec, out=str(tmp_path / "model"), save_seconds=0.0)
    saved = module._save_state

    def stop_half_way(model, optimiser, step, seconds, run):
        if step <= 10:
            saved(model, optimiser, step, seconds, run)
        if step == 22:
            raise SystemExit

    monkeypatch.setattr(module, "_save_state", stop_half_way)
    with pytest.raises(SystemExit):
        pretrain(again, progress=False)
    assert [step for step, _ in journal(tmp_path / "model")] == [20]
    monkeypatch.setattr(module, "_save_state", saved)
    resumed = pretrain(again, progress=False)
    assert (resumed / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert journal(resumed) == journal(folder)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_saves_first(spec, folder, tmp_path, monkeypatch, kind):
    again = replace(spec, out=str(tmp_path / "model"))
    step_once, taken = Optimiser.step, []

    def ask_at_7(optimiser, share):
        step_once(optimiser, share)
        taken.append(share)
        if len(taken) == 7:
            os.kill(os.getpid(), kind)

    monkeypatch.setattr(Optimiser, "step", ask_at_7)
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step 7 of 24; .*model can be gone on with"):
        pretrain(again, progress=False)
    assert not [path for path in (tmp_path / "model").rglob("*") if "tmp" in path.name]
    resumed = pretrain(again, progress=False)
    assert len(taken) == spec.steps
    assert (resumed / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert journal(resumed) == journal(folder)


def test_weights_that_are_no_numbers_are_not_saved(spec, tmp_path):
    wild = replace(spec, out=str(tmp_path / "model"), lr=1e30, save_seconds=0.0)
    with pytest.raises(ValueError, match="NaN or infinite at step"):
        pretrain(wild, progress=False)
    state = tmp_path / "model" / "run" / "state.safetensors"
    assert not state.exists() or all(
        value.isfinite().all() for name, value in load_file(state).items() if name.startswith("model.")
    )


def test_another_recipe_does_not_go_on_with_an_old_run(spec, folder):
    with pytest.raises(ValueError, match=r"other settings \(lr\)"):
        pretrain(replace(spec, lr=1e-4), progress=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d_model": 30, "n_heads": 4}, "d_model must be n_heads"),
        ({"d_model": 12, "n_heads": 4}, "an even number"),
        ({"vocab_size": 256}, "between 257"),
        ({"vocab_size": 65537}, "65536"),
        ({"tokens": 0}, "tokens must be at least 1"),
        ({"batch_windows": 0}, "batch_windows must be at least 1"),
        ({"context": 1}, "context must be at least 2"),
        ({"storyworld_share": 1.5}, "storyworld_share is a share"),
        ({"cooldown": -0.1}, "cooldown is a share"),
        ({"variety": 0.0}, "variety must be above 0"),
        ({"corpus": ("a.txt",), "corpus_weights": (1.0, 2.0)}, "1 corpus entries but 2 corpus_weights"),
        ({"corpus": ("a.txt",), "corpus_weights": (0.0,)}, "nor all 0"),
        ({"corpus": ("a.txt", "a.txt")}, "more than once"),
        ({"corpus": ("storyworld:3",)}, "mixed in by storyworld_share"),
    ],
)
def test_settings_that_cannot_be(change, said):
    with pytest.raises(ValueError, match=said) as caught:
        PretrainSpec(**change)
    assert "\n" not in str(caught.value)


def test_a_corpus_that_cannot_be_read_leaves_no_folder(spec, tmp_path):
    (tmp_path / "good.txt").write_text("One day. " * 400)
    (tmp_path / "empty.txt").write_text("\n")
    for name, error in (("gone.txt", FileNotFoundError), ("empty.txt", ValueError)):
        entries = (str(tmp_path / "good.txt"), str(tmp_path / name))
        with pytest.raises(error, match=r"no corpus|no text"):
            pretrain(replace(spec, out=str(tmp_path / "m"), corpus=entries), progress=False)
        assert not (tmp_path / "m").exists()


def test_two_files_of_one_name_are_two_sources(spec, folder, tmp_path):
    from tokenizers import Tokenizer

    entries = [tmp_path / "one" / "a.txt", tmp_path / "two" / "a.txt", tmp_path / "b.txt"]
    for entry in entries:
        entry.parent.mkdir(exist_ok=True)
        entry.write_text(f"One day {entry.parent.name} came by. " * 400)
    corpus = tuple(map(str, entries))
    tokenizer = Tokenizer.from_file(str(folder / "run" / "tokenizer.json"))
    sources = Sources(replace(spec, corpus=corpus, corpus_weights=(1.0, 2.0, 1.0)), tokenizer, tmp_path)
    assert list(sources.arrays) == ["storyworld", corpus[0], corpus[1], "b.txt"]
    assert sources.weights == pytest.approx([0.8, 0.05, 0.1, 0.05])


def test_it_learns(tmp_path):
    spec = PretrainSpec(out=str(tmp_path / "m"), tokens=64 * 8 * 60, vocab_size=400, d_model=32, n_layers=1, n_heads=2,
                        d_mlp=48, context=64, batch_windows=8, compile=False, sample_documents=200)  # fmt: skip
    seen = losses(pretrain(spec, progress=False))
    assert seen[-1] < math.log(400) - 0.8  # a model that knows nothing is at log(400)


def test_a_run_that_starts_with_another_begins_where_that_ended(spec, folder, tmp_path):
    """On the same text, with hardly a step of its own, it has the other's loss and tokenizer, not a new model's."""
    on = replace(
        spec, out=str(tmp_path / "on"), start=str(folder), tokens=128 * 4 * 20, lr=1e-9, hidden_lr=1e-9, seed=1
    )
    made = pretrain(on, progress=False)
    assert (made / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert losses(made)[-1] == pytest.approx(losses(folder)[-1], abs=0.5)
    assert losses(made)[-1] < math.log(400) - 0.4
    assert f"the weights of {folder}" in (made / "README.md").read_text()


def test_what_a_run_cannot_start_with(spec, folder, tmp_path):
    for change, error, said in (
        ({"start": str(tmp_path / "none")}, FileNotFoundError, "has no config.json: start is a folder"),
        ({"start": str(folder), "d_model": 16}, ValueError, r"another shape: hidden_size 32 \(wanted 16\)"),
    ):
        with pytest.raises(error, match=said):
            pretrain(replace(spec, out=str(tmp_path / "m"), **change), progress=False)
        assert not (tmp_path / "m").exists()


def test_corpus_weights_must_match(tmp_path):
    (tmp_path / "a.txt").write_text("One day. " * 400)
    with pytest.raises(ValueError, match="corpus_weights"):
        pretrain(PretrainSpec(out=str(tmp_path / "m"), tokens=4096, corpus=(str(tmp_path / "a.txt"),), corpus_weights=(1.0, 2.0),
                              vocab_size=300, context=32, batch_windows=2, d_model=16, n_heads=2, n_layers=1, d_mlp=16, compile=False, sample_documents=50), progress=False)  # fmt: skip
