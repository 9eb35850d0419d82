"""A thread that runs ahead changes nothing but the time, and ends when nobody wants more."""

import threading

import pytest

from training.activations.ahead import read_ahead


def test_the_same_items_in_the_same_order():
    assert list(read_ahead(range(100), depth=3)) == list(range(100))
    assert list(read_ahead([])) == []


def test_an_error_comes_where_its_item_would_have():
    def three():
        yield from "abc"
        raise ValueError("no more")

    ahead = read_ahead(three())
    assert [next(ahead) for _ in range(3)] == list("abc")
    with pytest.raises(ValueError, match="no more"):
        next(ahead)


def test_it_runs_no_further_than_it_may_and_stops_when_closed():
    taken = []
    ahead = read_ahead((taken.append(number) or number for number in range(10**9)), depth=2)
    assert next(ahead) == 0
    assert next(ahead) == 1
    assert len(taken) <= 2 + 2 + 1  # given out, waiting, in hand
    ahead.close()
    assert "read ahead" not in {thread.name for thread in threading.enumerate()}
