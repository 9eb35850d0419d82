"""States are written whole or not at all, the last few are kept, and a damaged one is noticed."""

import errno
import logging
import os
import resource
import signal

import pytest
import torch

from training.run_state import asked_to_stop, load_run_state, remove_run_state, save_run_state


def states(folder):
    return sorted((folder / "run_state").iterdir())


def test_the_last_few_are_kept(tmp_path):
    assert load_run_state(tmp_path) is None
    for step in range(5):
        save_run_state(tmp_path, {"step": step, "weights": torch.arange(3)}, keep=3)
    assert len(states(tmp_path)) == 3
    assert load_run_state(tmp_path)["step"] == 4
    remove_run_state(tmp_path)
    assert load_run_state(tmp_path) is None


def test_a_flipped_byte_is_noticed_and_the_state_before_used(tmp_path, caplog):
    for step in (1, 2):
        save_run_state(tmp_path, {"step": step, "weights": torch.arange(1000)})
    last = states(tmp_path)[-1]
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert load_run_state(tmp_path)["step"] == 1
    assert f"{last} is damaged" in caplog.text
    states(tmp_path)[0].write_bytes(b"cut")
    with pytest.raises(ValueError, match="damaged, so this run cannot be resumed"):
        load_run_state(tmp_path)


def test_what_a_killed_process_began_to_write_is_no_state(tmp_path):
    save_run_state(tmp_path, {"step": 1})
    (tmp_path / "run_state" / ".2.77.tmp").write_bytes(b"half")
    assert load_run_state(tmp_path) == {"step": 1}
    save_run_state(tmp_path, {"step": 2})
    assert [path.name[:9] for path in states(tmp_path)] == ["00000001-", "00000002-"]


def test_a_full_disk_keeps_the_state_before(tmp_path, monkeypatch):
    save_run_state(tmp_path, {"step": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="stays as it was"):
        save_run_state(tmp_path, {"step": 2})
    assert load_run_state(tmp_path) == {"step": 1}
    assert len(states(tmp_path)) == 1


def test_what_the_system_says_while_a_state_is_written_is_said(tmp_path):
    """A file that may not grow stands for a disk that fills up: PyTorch's writer would speak of its zip instead."""
    save_run_state(tmp_path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))
    try:
        with pytest.raises(OSError, match="run_state, which stays as it was: File too large") as caught:
            save_run_state(tmp_path, {"big": torch.zeros(10**6), "step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "run_state")
    assert load_run_state(tmp_path) == {"step": 1}


def test_a_second_warning_does_not_cut_the_saving_short():
    with asked_to_stop() as stop:
        assert not stop()
        for kind in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):  # the default would end this process
            os.kill(os.getpid(), kind)
        assert stop()
        assert stop.error("saved").exit_code == 75
