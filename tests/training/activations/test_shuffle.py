"""Shuffling loses nothing, mixes, repeats itself, and goes on exactly."""

import pytest
import torch

from training.activations.shuffle import ShuffleState, shuffled_rows


def numbered(batches=23, rows=10):
    for batch in range(batches):
        rows_of_batch = torch.arange(batch * rows, (batch + 1) * rows).float()[:, None]
        yield {"a": rows_of_batch, "b": torch.cat([-rows_of_batch, rows_of_batch], 1)}


def at(batches, site="a"):
    """The first column, one row after the other."""
    return torch.cat([batch[site][:, 0] for batch in batches])


def test_is_a_permutation_in_batches():
    out = list(shuffled_rows(numbered(), buffer_rows=64, batch_rows=8, seed=1))
    assert at(out).sort().values.tolist() == list(range(230))
    assert [len(batch["a"]) for batch in out] == [8] * 28 + [6]


def test_mixes_beyond_neighbours():
    order = at(shuffled_rows(numbered(), 64, 8, seed=1))
    assert (order[1:] - order[:-1]).abs().median() > 10


def test_the_seed_decides():
    one, same, other = (at(shuffled_rows(numbered(), 64, 8, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_sites_stay_aligned():
    for batch in shuffled_rows(numbered(), 64, 8, seed=1):
        assert torch.equal(batch["b"], torch.cat([-batch["a"], batch["a"]], 1))


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 12, 24, 25, 28, 29])
def test_goes_on_exactly(stop, repeats):
    whole = list(shuffled_rows(numbered(), 64, 8, seed=1, repeats=repeats))
    state = ShuffleState()
    first = shuffled_rows(numbered(), 64, 8, seed=1, state=state, repeats=repeats)
    begun = [next(first) for _ in range(stop)]
    state = ShuffleState.from_state_dict(state.state_dict())
    unread = list(numbered())[state.batches_taken :]
    rest = list(shuffled_rows(unread, 64, 8, seed=1, state=state, repeats=repeats))
    for site in "ab":
        assert [batch[site].tolist() for batch in begun + rest] == [batch[site].tolist() for batch in whole]


def test_nothing_is_moved_but_what_goes_in_and_out():
    state = ShuffleState()
    rows = shuffled_rows(numbered(200), 512, 8, seed=1, state=state)
    next(rows)
    block, before = state.rows["a"].data_ptr(), state.rows["a"].clone()
    next(rows)
    assert state.rows["a"].data_ptr() == block
    assert int((state.rows["a"] != before).sum()) == 8


def test_empty_batches_are_passed_over():
    nothing = {"a": torch.zeros(0, 1)}
    out = shuffled_rows([nothing, *({"a": one["a"]} for one in numbered(3)), nothing], 16, 8)
    assert at(out).sort().values.tolist() == list(range(30))


def test_bfloat16_halves_the_buffer_and_gives_float32():
    state = ShuffleState()
    out = next(shuffled_rows(numbered(), 64, 8, seed=1, state=state, dtype=torch.bfloat16))
    assert state.rows["a"].dtype == torch.bfloat16
    assert out["a"].dtype == torch.float32
    assert torch.equal(out["a"], next(shuffled_rows(numbered(), 64, 8, seed=1))["a"].bfloat16().float())


def test_short_and_empty_streams():
    assert [len(batch["a"]) for batch in shuffled_rows(numbered(1), 64, 8)] == [8, 2]
    assert list(shuffled_rows([], 64, 8)) == []
    with pytest.raises(ValueError, match="buffer of at least 16"):
        next(shuffled_rows(numbered(), 15, 8))


def test_repeated_rows_come_as_often_and_apart():
    order = at(shuffled_rows(numbered(), 128, 8, seed=1, repeats=2))
    once = at(shuffled_rows(numbered(), 64, 8, seed=1))
    assert torch.equal(order.sort().values, once.repeat(2).sort().values)
    places = [(order == value).nonzero().flatten() for value in once.unique()]
    assert sum(int(place[1] - place[0]) < 4 for place in places) < len(places) / 4
