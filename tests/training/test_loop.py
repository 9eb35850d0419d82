"""A run end to end at the smallest size, and the promise that a stopped one becomes the same SAE."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from saes.checkpoint import load_sae
from training.evaluate import HeldOut, evaluate, evaluate_checkpoints
from training.journal import Journal, read_journal
from training.loop import train
from training.run_state import StoppedBySystem, load_run_state
from training.spec import TrainSpec
from training.spliced import evaluate_at, places_of
from training.windows import held_out_windows


class StoppedAt(Journal):
    """Sends this process a signal when a step is written down."""

    at = 15
    signal = signal.SIGINT

    def write(self, step, **entry):
        super().write(step, **entry)
        if step == self.at:
            os.kill(os.getpid(), self.signal)


@pytest.mark.parametrize(
    "settings",
    [
        {"sparsity": "topk"},
        {"sparsity": "batch_topk"},
        {"sparsity": "relu", "l1_coefficient": 0.1},
        {"sparsity": "jump_relu", "l0_coefficient": 0.01},
        {"sparsity": "gated", "l1_coefficient": 0.1},
        {"sparsity": "batch_topk", "prefixes": [16, 32]},
        {"hook_name": "blocks.1.hook_resid_mid", "target_hook_name": "blocks.1.hook_mlp_out", "skip": True, "lr": 2e-2},
        {"sparsity": "batch_topk", "crosscoder_sites": ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]},
    ],
    ids=str,
)
def test_leaves_a_whole_folder(spec, settings, llama):
    if "crosscoder_sites" in settings:
        settings = {**settings, "hook_name": TrainSpec.hook_name}  # a crosscoder has none
    spec = spec.with_fields(**settings)
    folder = train(spec, progress=False)
    names = {"cfg.json", "sae_weights.safetensors", "spec.json", "quality.json", "journal.jsonl"}
    assert {path.name for path in folder.iterdir()} == names
    sae, site, metadata = load_sae(folder)
    assert site.hook_name == "+".join(spec.places.read)
    assert metadata.get("hook_name_out") == spec.target_hook_name
    assert [name for name, _ in sae.config.sites] == list(spec.crosscoder_sites)
    assert site.model == spec.model
    quality = json.loads((folder / "quality.json").read_text())
    parts = {"explained_variance", "l0", "dead", "ce", "ce_patched", "ce_ablated", "ce_recovered", "rows", "tokens"}
    assert parts <= set(quality)
    assert metadata["l0"] == quality["l0"]
    windows = held_out_windows(spec, llama)
    if spec.places.is_one:
        again = evaluate(llama, sae, spec.hook_name, windows)  # on raw activations, from the disk
    else:
        assert places_of(sae, site.hook_name, metadata) == spec.places
        again = evaluate_at(llama, sae, spec.places, windows)
        ((_, found),) = evaluate_checkpoints([folder], HeldOut(model=spec.model), "cpu", progress=False)
        assert found["explained_variance"] == pytest.approx(quality["explained_variance"], rel=1e-4)
    assert {name: again[name] for name in parts} == pytest.approx({name: quality[name] for name in parts}, rel=1e-4)
    assert quality["explained_variance"] > 0.15
    journal = read_journal(folder / "journal.jsonl")
    assert [entry["step"] for entry in journal] == [5, 10, 15, 20, 25, 30, 30]
    assert journal[0]["loss"] > journal[-2]["loss"]
    assert journal[-1]["quality"]["rows"] == quality["rows"]
    assert json.loads((folder / "spec.json").read_text())["d_sae"] == 64


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"sparsity": "topk"}, signal.SIGINT),
        ({"sparsity": "batch_topk"}, signal.SIGUSR1),
        ({"sparsity": "jump_relu"}, signal.SIGTERM),
        ({"sparsity": "relu", "penalty": "p_anneal"}, signal.SIGINT),
        ({"sparsity": "topk", "resample_every": 3, "dead_after_rows": 100}, signal.SIGINT),
    ],
    ids=str,
)
def test_stopped_and_resumed_equals_uninterrupted(spec, tmp_path, settings, kind):
    handler_before = signal.getsignal(signal.SIGINT)  # ignored, where a shell runs the tests in the background
    spec = spec.with_fields(**settings)
    whole = train(spec.with_fields(out=str(tmp_path / "whole")), progress=False)
    spec = spec.with_fields(read_ahead="text" if kind == signal.SIGINT else "activations")  # which changes nothing
    folder = spec.folder
    folder.mkdir()
    journal = StoppedAt(folder)
    journal.signal = kind
    with pytest.raises(KeyboardInterrupt, match="step 15 of 30") as stopped:
        train(spec, journal=journal, progress=False)
    assert isinstance(stopped.value, StoppedBySystem) == (kind != signal.SIGINT)
    assert not (folder / "cfg.json").exists()
    assert signal.getsignal(signal.SIGINT) is handler_before
    with pytest.raises(ValueError, match="unfinished run"):
        train(spec, progress=False)
    with pytest.raises(ValueError, match=r"other settings: d_sae \(64, now 32\)"):
        train(spec.with_fields(d_sae=32), progress=False, resume=True)
    assert train(spec, progress=False, resume=True) == folder
    assert not (folder / "run_state").exists()
    ours, theirs = (load_file(path / "sae_weights.safetensors") for path in (folder, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    losses = [[entry.get("loss") for entry in read_journal(path / "journal.jsonl")] for path in (folder, whole)]
    assert losses[0] == losses[1]
    assert train(spec, progress=False, resume=True) == folder  # nothing left to do
    with pytest.raises(ValueError, match="already holds an SAE"):
        train(spec, progress=False)


def test_a_spike_stops_the_run_and_names_the_last_good_state(spec, monkeypatch):
    """Planted in the activations: from step 20 on they are fifty times as long."""
    from training import loop

    batches = loop.shuffled_rows

    def spoilt(*given):
        for number, rows in enumerate(batches(*given)):
            yield {name: part * (50 if number >= 20 else 1) for name, part in rows.items()}

    monkeypatch.setattr(loop, "shuffled_rows", spoilt)
    with pytest.raises(ValueError, match=r"the loss at step 21 is .* the last good state, of step 20, is in"):
        train(spec.with_fields(journal_every=1, save_seconds=0), progress=False)
    assert load_run_state(spec.folder)["step"] == 20
    assert not (spec.folder / "cfg.json").exists()


def test_what_is_wrong_leaves_nothing_half_written(spec, tmp_path):
    for change, message in (
        ({"hook_name": "blocks.9.hook_resid_post"}, "each with"),
        ({"model": str(tmp_path / "gone")}, "no model folder"),
        ({"corpus": str(tmp_path / "gone.txt")}, "no corpus"),
        ({"context": 100}, "between 2 and 64"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train(spec.with_fields(**change), progress=False)
        assert not spec.folder.exists()
    (tmp_path / "one.txt").write_text("only one document")
    with pytest.raises(ValueError, match="at least two"):
        train(spec.with_fields(corpus=str(tmp_path / "one.txt")), progress=False)
    assert not spec.folder.exists()


def test_a_loss_that_is_no_number_stops_the_run(spec):
    with pytest.raises(ValueError, match=r"lower lr|NaN"):
        train(spec.with_fields(lr=1e30), progress=False)
    assert not (spec.folder / "cfg.json").exists()


@pytest.mark.parametrize("lr", [1e30, 1e39])  # the loss is none at once, or only after the weights are none
def test_a_state_gone_nan_is_not_saved_over_a_good_one(spec, lr):
    with pytest.raises(ValueError, match="NaN or infinite at step"):
        train(spec.with_fields(lr=lr, journal_every=1000, save_seconds=0), progress=False)
    state = load_run_state(spec.folder)
    assert state is None or all(weight.isfinite().all() for weight in state["learners"][0]["sae"].values())


def test_a_run_that_memory_cannot_hold_is_refused_before_the_model_is_opened(spec, monkeypatch):
    monkeypatch.setattr("training.loop.open_source", lambda spec: pytest.fail("nothing was to be opened"))
    with pytest.raises(ValueError, match=r"too little: .* of memory a process, .*; d_sae \d+ would fit"):
        train(spec.with_fields(d_sae=2**34), progress=False)
    assert not spec.folder.exists()
