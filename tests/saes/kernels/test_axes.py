"""Which rows a rank brings, which it learns from, and how many of them are among the batch's first."""

import itertools

import pytest
import torch

from saes.kernels.axes import ALONE, Axes, Axis


class Shared(Axis):
    """A latent axis whose other ranks' tensors are made on the spot."""

    def stacked(self, tensor):
        return torch.stack([self.group(rank) for rank in range(self.size)])


@pytest.mark.parametrize(("data", "latent"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 4)])
def test_rows_are_shared_out_and_found_again(data, latent):
    size = data * latent
    batch = torch.arange(size * 5)
    shards = []
    for at, beside in itertools.product(range(data), range(latent)):

        def own_of(rank, at=at):
            return batch[at * latent + rank :: size]

        axes = Axes(Axis(None, at, data), Shared(own_of, beside, latent), Axis(None, at * latent + beside, size))
        own = axes.own(batch)
        assert torch.equal(own, own_of(beside))
        shard = axes.shard(own)
        assert len(shard) == len(batch) // data
        assert torch.equal(shard, shard.sort().values), "in the batch's order, whichever rank looks"
        for end in (1, 2, size, size + 1, 3 * size - 1, len(batch)):
            assert axes.before(end) == int((shard < end).sum())
        shards.append((at, shard))
    assert sorted(torch.cat([dict(shards)[at] for at in range(data)]).tolist()) == batch.tolist()


def test_alone_nothing_is_sent():
    x = torch.randn(3, 2)
    assert torch.equal(ALONE.own(x), x)
    assert ALONE.shard(x) is x
    assert ALONE.world.reduce_(x) is x
    assert ALONE.latent.summed(x) is x
    assert ALONE.latent.stacked(x).shape == (1, 3, 2)
    ALONE.data.average_([x])
    assert ALONE.before(2) == 2
