"""The journal on disk, and a wandb that is only played."""

import sys
from types import SimpleNamespace

import pytest

from training.journal import Journal, read_journal


def test_writes_a_line_an_entry(tmp_path):
    journal = Journal(tmp_path)
    journal.write(1, loss=2.0)
    journal.write(2, loss=float("nan"))
    assert read_journal(journal.path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}]


def test_a_resumed_one_drops_what_comes_after_and_a_broken_line(tmp_path):
    journal = Journal(tmp_path)
    for step in (1, 2, 3):
        journal.write(step, loss=1.0)
    with journal.path.open("a") as file:
        file.write('{"step": 4, "lo')
    journal = Journal(tmp_path, after_step=2)
    journal.write(3, loss=0.5)
    assert [entry["step"] for entry in read_journal(journal.path)] == [1, 2, 3]
    assert read_journal(journal.path)[-1]["loss"] == 0.5
    Journal(tmp_path)
    assert read_journal(journal.path) == []


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_wandb_gets_the_same(tmp_path, monkeypatch, mode):
    calls = []
    run = SimpleNamespace(
        id="1", log=lambda entry, step: calls.append((step, entry)), finish=lambda: calls.append("finished")
    )
    fake = SimpleNamespace(init=lambda **options: calls.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    journal = Journal(tmp_path, mode, "project", {"d_sae": 4})
    journal.write(5, loss=1.0)
    journal.close()
    assert calls[0]["mode"] == mode
    assert calls[0]["config"] == {"d_sae": 4}
    assert calls[1:] == [(5, {"loss": 1.0}), "finished"]
    assert read_journal(journal.path) == [{"step": 5, "loss": 1.0}]


def test_a_resumed_run_goes_on_at_wandb(tmp_path, monkeypatch):
    calls = []
    run = SimpleNamespace(id="abc", log=lambda entry, step: None, finish=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **options: calls.append(options) or run))
    first = Journal(tmp_path, "offline")
    assert first.wandb_id == "abc"
    Journal(tmp_path, "offline", after_step=3, wandb_id=first.wandb_id)
    assert "id" not in calls[0]
    assert (calls[1]["id"], calls[1]["resume"]) == ("abc", "allow")


def test_off_needs_no_wandb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    Journal(tmp_path).write(1, loss=1.0)
    with pytest.raises(ImportError, match="pip install wandb"):
        Journal(tmp_path, "offline")
