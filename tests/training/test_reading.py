"""Several processes that each read a share of their own: other documents, the same SAE after a kill, the same quality."""

import json
import logging
import os
import re
import signal
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from saes.kernels.axes import Axes, Axis
from tests.processes import on_ranks
from tests.training.killed_runs import plant
from training.activations.shards import Shards
from training.activations.source import ModelSource, StoredSource
from training.harvesting import harvest_to_disk
from training.loop import train
from training.ranks import Ranks
from training.run_state import load_run_state


@pytest.fixture
def own(spec, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and for power cuts only
    return spec.with_fields(
        sparsity="batch_topk", tokens=64 * 12, reading="own", save_seconds=0, journal_every=3, dead_after_rows=256
    )


def ranks_of(size):
    """Ranks as sources see them: who reads a share of its own exchanges nothing."""
    return [Ranks(Axes(world=Axis(rank=rank, size=size))) for rank in range(size)]


def trained(spec, rank=None, at=None, planted=()):
    """Trains on this rank, in a child that is asked to stop, or is killed, at a planted call of one rank."""
    number = os.fork()
    if number == 0:
        os.fsync = lambda _: None
        if rank == int(os.environ["RANK"]):
            if at is None:
                plant(*planted)
            else:
                stop_before(at)
        try:
            train(spec, progress=False, resume=True)
        except BaseException as error:
            logging.error("%s: %s", type(error).__name__, error)
            os._exit(getattr(error, "exit_code", 1))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def stop_before(step):
    from training.learner import Learner

    learn = Learner.learn

    def watched(self, rows, steps_before):
        if steps_before == step:
            os.kill(os.getpid(), signal.SIGTERM)
        learn(self, rows, steps_before)

    Learner.learn = watched


def made(folder):
    quality = json.loads((folder / "quality.json").read_text())
    return load_file(folder / "sae_weights.safetensors"), {**quality, "seconds": None}


def assert_the_same(folder, whole):
    (ours, our_quality), (theirs, their_quality) = made(folder), made(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert our_quality == their_quality
    assert not (folder / "run_state").exists()


def test_ranks_read_other_documents_and_together_all(own, monkeypatch):
    read = {}
    for ranks in ranks_of(3):
        source = ModelSource(own, ranks)
        seen, activations = [], source.model.activations

        def watched(tokens, hook_names, seen=seen, activations=activations):
            seen.append(tokens.ids[tokens.ids != 0])
            return activations(tokens, hook_names)

        monkeypatch.setattr(source.model, "activations", watched)
        batches = list(islice(source.batches(), 36))  # so that the share is read more than once
        text = source.model.tokenizer.decode(torch.cat(seen))
        read[ranks.axes.world.rank] = set(re.findall(r"Then (\d+)\.", text))
        again = next(source.batches(2))
        assert torch.equal(again[own.hook_name], batches[2][own.hook_name])
    assert all(not read[one] & read[other] for one, other in ((0, 1), (1, 2), (0, 2)))
    assert set.union(*read.values()) == {str(n) for n in range(200) if n % 20}


def test_ranks_read_other_shards_and_none_runs_out(own, tmp_path):
    rows = own.steps * own.batch_rows
    folder = harvest_to_disk(own, tmp_path / "shards", rows=rows, rows_a_shard=300, progress=False)
    stored = own.with_fields(activations=str(folder))
    alone = list(Shards.open(folder).batches([own.hook_name]))
    held = Shards.open(folder).rows_by_batch([own.hook_name])
    assert held == [len(batch[own.hook_name]) for batch in alone]
    for ranks in ranks_of(2):
        fewer = stored.with_fields(tokens=64 * 8)
        given = list(StoredSource(fewer, ranks).batches())
        for batch, expected in zip(given, alone[ranks.axes.world.rank :: 2], strict=True):
            assert torch.equal(batch[own.hook_name], expected[own.hook_name])
    least = min(sum(held[0::2]), sum(held[1::2]))
    assert 2 * least < rows, "the shares are uneven, so that one runs out before the other"
    for ranks in ranks_of(2):
        with pytest.raises(ValueError, match=f"holds {2 * least} activations, but {own.tokens} tokens"):
            StoredSource(stored, ranks)


@pytest.mark.parametrize(("size", "latent_ranks"), [(2, 1), (4, 2)])
def test_stopped_it_goes_on_to_the_same_bits(own, tmp_path, size, latent_ranks):
    own = own.with_fields(latent_ranks=latent_ranks, sparsity="topk" if latent_ranks == 1 else "batch_topk")
    whole = own.with_fields(out=str(tmp_path / "whole"))
    assert on_ranks(size, trained, whole) == [0] * size
    assert on_ranks(size, trained, own, size - 1, 5) == [75] * size
    states = own.folder / "run_state"
    assert len(list((states / "shares").iterdir())) == size * own.keep_states
    assert load_run_state(own.folder)["step"] == 6
    with pytest.raises(
        ValueError, match=f"saved by {size} processes, each with a share .* go on with as many, not with 1"
    ):
        train(own.with_fields(latent_ranks=1), progress=False, resume=True)
    assert on_ranks(size, trained, own) == [0] * size
    assert_the_same(own.folder, whole.folder)


def test_killed_while_saving_and_damaged_it_goes_on_to_the_same_bits(own, tmp_path):
    whole = own.with_fields(out=str(tmp_path / "whole"))
    assert on_ranks(2, trained, whole) == [0, 0]
    for rank, planted in (
        (1, ("replace", 2, False)),  # its share is written, and has no name yet
        (1, ("replace", 2, True)),  # its share is there, and the state is not
        (0, ("write", 100, False)),
        (0, ("unlink", 3, True)),  # a state is gone, and its shares are left
    ):
        codes = on_ranks(2, trained, own, rank, None, planted)
        assert codes[rank] == -signal.SIGKILL
        assert codes[1 - rank] != 0
    state = load_run_state(own.folder)
    last = own.folder / "run_state" / "shares" / f"{state['number']:08d}-1-{state['shares'][1]}"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert load_run_state(own.folder, rank=1)["number"] < load_run_state(own.folder, rank=0)["number"]
    assert on_ranks(2, trained, own) == [0, 0]
    assert_the_same(own.folder, whole.folder)


def test_the_quality_is_that_of_shared_reading(own, tmp_path):
    qualities = []
    for number, reading in enumerate(("own", "shared")):
        spec = own.with_fields(reading=reading, tokens=64 * 60, save_seconds=300, out=str(tmp_path / str(number)))
        assert on_ranks(2, trained, spec) == [0, 0]
        qualities.append(made(spec.folder)[1])
    one, other = qualities
    assert one["explained_variance"] > 0.3
    assert one["explained_variance"] == pytest.approx(other["explained_variance"], abs=0.03)
    assert one["l0"] == pytest.approx(other["l0"], rel=0.1)


def test_one_process_alone_reads_all(own, tmp_path):
    alone = train(own, progress=False)
    shared = train(own.with_fields(reading="shared", out=str(tmp_path / "shared")), progress=False)
    assert_the_same(alone, shared)
