"""Many processes make what one makes, go on with each other's runs, stop together and fail with one voice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.processes import free_port, on_ranks
from training.journal import Journal, read_journal
from training.loop import train
from training.ranks import check_ranks
from training.run_state import load_run_state
from training.spec import TrainSpec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def spec(model_folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    words = ["The cat sat on the mat.", "Nora was proud.", "Rain fell on the barn.", "Tom laughed and ran away."]
    lines = "\n<|endoftext|>\n".join(f"{words[n % 4]} {words[(n * 7 + 3) % 4]} Then {n}." for n in range(200))
    (folder / "corpus.txt").write_text(lines)
    return TrainSpec(
        model=str(model_folders["llama"]), hook_name="blocks.1.hook_resid_post", corpus=str(folder / "corpus.txt"),
        sparsity="batch_topk", d_sae=64, k=4, tokens=64 * 12, batch_rows=64, buffer_rows=256, window_batch=4, context=32,
        scale_batches=2, held_out_tokens=256, lr=3e-3, journal_every=3, dead_after_rows=256, clip_norm=1.0, kernels="cpu",
        out=str(folder / "whole"), device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(spec):
    """What one process makes."""
    return train(spec, progress=False)


def assert_same_run(folder, whole):
    ours, theirs = (load_file(path / "sae_weights.safetensors") for path in (folder, whole))
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=1e-3, atol=1e-3, msg=lambda said, name=name: f"{name}: {said}"
        )
    one, other = (read_journal(path / "journal.jsonl") for path in (folder, whole))
    assert [entry["step"] for entry in one] == [entry["step"] for entry in other]
    for mine, its in zip(one[:-1], other[:-1], strict=True):
        for name in ("loss", "explained_variance", "l0", "dead", "lr"):
            assert mine[name] == pytest.approx(its[name], rel=1e-3, abs=1e-4), (name, mine["step"])
    mine, its = (json.loads((path / "quality.json").read_text()) for path in (folder, whole))
    assert set(mine) == set(its)
    for name in ("explained_variance", "l0", "dead", "ce_recovered", "rows", "tokens_trained"):
        assert mine[name] == pytest.approx(its[name], rel=1e-2, abs=1e-3), name
    assert not (folder / "run_state").exists()


class StoppedAtOnce(Journal):
    """Sends this process a signal at its first line."""

    def write(self, step, **entry):
        super().write(step, **entry)
        os.kill(os.getpid(), signal.SIGINT)


def trained(spec, stop_at=None, fails=None):
    """Trains on this rank; one rank is asked to stop at a step, or breaks."""
    from training import learner
    from training.ranks import one_voice

    step = 0
    choose = learner.choose_step

    def watched(*arguments):
        step_once = choose(*arguments)
        learn = type(step_once).__call__

        def counted(self, x, lr):
            nonlocal step
            step += 1
            if stop_at == step and os.environ["RANK"] == "1":  # not the one that writes
                os.kill(os.getpid(), signal.SIGTERM)
            if fails == step and os.environ["RANK"] == "1":
                raise ValueError("this rank has had enough")
            return learn(self, x, lr)

        type(step_once).__call__ = counted
        return step_once

    learner.choose_step = watched
    try:
        with one_voice():
            train(spec, progress=False, resume=True)
    except (KeyboardInterrupt, ValueError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "done"


@pytest.mark.parametrize(("size", "latent_ranks"), [(2, 1), (4, 2)])
def test_many_processes_make_what_one_makes(spec, whole, tmp_path, size, latent_ranks):
    many = spec.with_fields(out=str(tmp_path / "many"), latent_ranks=latent_ranks)
    assert on_ranks(size, trained, many) == ["done"] * size
    assert_same_run(tmp_path / "many", whole)
    assert {path.name for path in (tmp_path / "many").iterdir()} == {path.name for path in whole.iterdir()}


def test_a_run_goes_on_with_another_number_of_processes(spec, whole, tmp_path):
    """1 process -> 2 that share the dictionary -> 2 that share the rows -> 1, each stopped by a signal to one of them."""
    folder = tmp_path / "moved"
    moved = spec.with_fields(out=str(folder))
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(moved, journal=StoppedAtOnce(folder), progress=False)
    assert load_run_state(folder)["step"] == 3
    for latent_ranks, at in ((2, 3), (1, 3)):
        before = load_run_state(folder)["step"]
        said = on_ranks(2, trained, moved.with_fields(latent_ranks=latent_ranks), at)
        assert sorted(line.split(":")[0] for line in said) == ["StoppedBySystem", "SystemExit"]
        assert load_run_state(folder)["step"] == before + at, "all stop after the same step"
    train(moved, progress=False, resume=True)
    assert_same_run(folder, whole)


def test_a_rank_that_fails_is_the_only_one_to_speak(spec, tmp_path):
    began = time.monotonic()
    said = on_ranks(2, trained, spec.with_fields(out=str(tmp_path / "failed")), None, 2)
    assert said[1] == "ValueError: this rank has had enough"
    assert said[0] == "SystemExit: 1"
    assert time.monotonic() - began < 250
    assert not (tmp_path / "failed" / "cfg.json").exists()


@pytest.mark.parametrize(
    ("size", "latent_ranks", "batch_rows", "said"),
    [
        (4, 3, 64, "latent_ranks 3 does not divide the 4 processes"),
        (1, 2, 64, "latent_ranks 2 does not divide the 1 process of"),
        (3, 1, 64, "batch_rows 64 cannot be shared evenly by 3 processes; 63 or 66 can"),
        (8, 1, 4, "batch_rows 4 cannot be shared evenly by 8 processes; 8 or 8 can"),
    ],
)
def test_numbers_that_do_not_divide(size, latent_ranks, batch_rows, said):
    with pytest.raises(ValueError, match=said):
        check_ranks(size, latent_ranks, batch_rows)


def test_numbers_that_do_not_divide_are_seen_before_anything_is_loaded(spec):
    with pytest.raises(ValueError, match=r"latent_ranks must divide d_sae \(64\), got 3"):
        spec.with_fields(latent_ranks=3)
    with pytest.raises(ValueError, match="latent_ranks 2 does not divide"):
        train(spec.with_fields(latent_ranks=2, model="nowhere"), progress=False)


def test_two_machines_train_through_the_command_line(spec, whole, tmp_path):
    """Two launchers with a process each, as on two nodes: they meet at a port, and one answer comes out."""
    out, port = tmp_path / "two", free_port()
    (tmp_path / "spec.json").write_text(spec.with_fields(out=str(out)).to_json())
    launch = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1",
        f"--master-port={port}",
    ]  # fmt: skip
    train_it = ["-m", "commands", "train", str(tmp_path / "spec.json"), "--latent-ranks", "2", "--json"]
    nodes = [
        subprocess.Popen([*launch, f"--node-rank={node}", *train_it], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, cwd=ROOT, env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})
        for node in range(2)
    ]  # fmt: skip
    try:
        told = [node.communicate(timeout=300) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], told
    answers = [line for out, _ in told for line in out.splitlines() if line.startswith("{")]
    assert len(answers) == 1
    assert json.loads(answers[0])["folder"] == str(out)
    assert_same_run(out, whole)
