"""Shuffling loses nothing, mixes, repeats itself, and goes on exactly."""

import pytest
import torch

from training.activations.shuffle import ShuffleState, shuffled_rows


def numbered(batches=23, rows=10):
    for batch in range(batches):
        yield torch.arange(batch * rows, (batch + 1) * rows).float()[:, None]


def test_is_a_permutation_in_batches():
    out = list(shuffled_rows(numbered(), buffer_rows=64, batch_rows=8, seed=1))
    assert torch.cat(out).flatten().sort().values.tolist() == list(range(230))
    assert [len(batch) for batch in out] == [8] * 28 + [6]


def test_mixes_beyond_neighbours():
    order = torch.cat(list(shuffled_rows(numbered(), 64, 8, seed=1))).flatten()
    assert (order[1:] - order[:-1]).abs().median() > 10


def test_the_seed_decides():
    one, same, other = (torch.cat(list(shuffled_rows(numbered(), 64, 8, seed=seed))) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 12, 28, 29])
def test_goes_on_exactly(stop):
    whole = list(shuffled_rows(numbered(), 64, 8, seed=1))
    state = ShuffleState()
    first = shuffled_rows(numbered(), 64, 8, seed=1, state=state)
    begun = [next(first) for _ in range(stop)]
    state = ShuffleState.from_state_dict(state.state_dict())
    unread = list(numbered())[state.batches_taken :]
    rest = list(shuffled_rows(unread, 64, 8, seed=1, state=state))
    assert [batch.tolist() for batch in begun + rest] == [batch.tolist() for batch in whole]


def test_short_and_empty_streams():
    assert [len(batch) for batch in shuffled_rows(numbered(1), 64, 8)] == [8, 2]
    assert list(shuffled_rows([], 64, 8)) == []
    with pytest.raises(ValueError, match="buffer of at least 16"):
        next(shuffled_rows(numbered(), 15, 8))


def test_repeated_rows_come_as_often_and_apart():
    order = torch.cat(list(shuffled_rows(numbered(), 128, 8, seed=1, repeats=2))).flatten()
    once = torch.cat(list(shuffled_rows(numbered(), 64, 8, seed=1))).flatten()
    assert torch.equal(order.sort().values, once.repeat(2).sort().values)
    places = [(order == value).nonzero().flatten() for value in once.unique()]
    assert sum(int(place[1] - place[0]) < 4 for place in places) < len(places) / 4
