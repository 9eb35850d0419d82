"""Many SAEs over one reading of the text: each is the SAE that it would have been alone."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from training.activations import harvest, shared
from training.journal import Journal, read_journal
from training.loop import train
from training.spec import TrainSpec

SITES = ["blocks.0.hook_resid_post", "blocks.2.hook_mlp_out"]
GRID = {"sparsity": ["topk", "batch_topk"], "seed": [0, 1], "lr": [3e-3]}


@pytest.fixture
def sweep(spec, monkeypatch):
    """Attention sinks at every site, so that it matters where else a token has to be none."""
    monkeypatch.setattr(harvest, "SINK_FACTOR", 1.2)
    return spec.with_fields(sites=SITES, grid=GRID, d_sae=32, tokens=64 * 12, held_out_tokens=64)


def weights(folder):
    return load_file(folder / "sae_weights.safetensors")


def same(one, other):
    ours, theirs = weights(one), weights(other)
    return set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def losses(folder):
    return [(entry["step"], entry.get("loss")) for entry in read_journal(folder / "journal.jsonl")]


def test_a_member_is_what_it_is_alone(sweep, tmp_path, monkeypatch):
    passes = []
    monkeypatch.setattr(shared, "harvest", lambda *given: passes.append(1) or harvest.harvest(*given))
    folder = train(sweep, progress=False)
    assert len(passes) == 1  # what the scale is measured on is learned from, too
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"spec.json", "sweep.json"}
    listed = json.loads((folder / "sweep.json").read_text())["members"]
    assert len(listed) == 8
    assert {(one["hook_name"], one["sparsity"], one["seed"]) for one in listed} == {
        (site, sparsity, seed) for site in SITES for sparsity in GRID["sparsity"] for seed in GRID["seed"]
    }
    assert len({one["quality"]["ce_patched"] for one in listed}) == 8
    for place in (1, 6):
        member = folder / listed[place]["folder"]
        assert json.loads((member / "quality.json").read_text()) == listed[place]["quality"]
        alone = train(
            TrainSpec.from_yaml(member / "spec.json").with_fields(out=str(tmp_path / str(place))), progress=False
        )
        assert {path.name for path in member.iterdir()} == {path.name for path in alone.iterdir()}
        assert same(member, alone)
        assert losses(member) == losses(alone)
    unaligned = TrainSpec.from_yaml(member / "spec.json").with_fields(out=str(tmp_path / "other"), aligned_with=())
    assert not same(train(unaligned, progress=False), member)


def test_a_sweep_goes_on_exactly(sweep, tmp_path, monkeypatch):
    sweep = sweep.with_fields(grid={"k": [2, 4]})
    whole = train(sweep.with_fields(out=str(tmp_path / "whole")), progress=False)
    written = Journal.write

    def stopped(journal, step, **entry):
        written(journal, step, **entry)
        if step == 5 and journal.path == sweep.members()[0].folder / "journal.jsonl":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Journal, "write", stopped)
    with pytest.raises(KeyboardInterrupt, match="step 5 of 12"):
        train(sweep, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(harvest, "SINK_FACTOR", 1.2)
    with pytest.raises(ValueError, match="unfinished run"):
        train(sweep, progress=False)
    folder = train(sweep, progress=False, resume=True)
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    assert len(names) == 4
    assert all(same(folder / name, whole / name) for name in names)
    assert train(sweep, progress=False, resume=True) == folder
    with pytest.raises(ValueError, match="already holds an SAE"):
        train(sweep, progress=False)


def test_a_sweep_over_seeds_or_sites_alone(sweep):
    assert [spec.seed for spec in sweep.with_fields(sites=[], grid={"seed": [3, 4]}).members()] == [3, 4]
    members = sweep.with_fields(grid={}).members()
    assert [spec.hook_name for spec in members] == SITES
    assert [spec.aligned_with for spec in members] == [tuple(SITES)] * 2
