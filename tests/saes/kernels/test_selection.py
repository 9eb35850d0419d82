"""Winners by counting digits against winners by sorting; what several ranks do with it is in test_parallel.py."""

import pytest
import torch

from saes.kernels.axes import Axis
from saes.kernels.selection import kth_largest, row_winners

ALONE = Axis()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_kth_largest_is_exact(dtype, scale):
    values = torch.randn(1000, dtype=dtype, generator=torch.Generator().manual_seed(0)) * scale
    values[::7] = values[3].abs()  # many ties
    ordered = values[values > 0].sort(descending=True).values
    for k in (1, 2, 100, 250, len(ordered)):
        found = kth_largest(values, k, ALONE)
        assert found.dtype == dtype
        assert torch.equal(found, ordered[k - 1])


def test_fewer_positive_values_than_asked_for():
    assert kth_largest(torch.tensor([1.0, -2.0, 0.0, 3.0]), 3, ALONE) == 0
    assert kth_largest(torch.tensor([-1.0]), 1, ALONE) == 0
    assert kth_largest(torch.zeros(0), 1, ALONE) == 0


def test_alone_every_candidate_wins():
    assert row_winners(torch.randn(3, 4), 4, ALONE).all()


class Offered(Axis):
    """An axis on which the other ranks' offers are already known."""

    def stacked(self, tensor):
        return torch.stack([tensor if rank == self.rank else other for rank, other in enumerate(self.group)])


def test_the_best_of_each_row_win_wherever_they_are():
    values = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(1))  # rank, row, candidate
    best = values.transpose(0, 1).reshape(20, 24).topk(8).values.amin(1)
    for rank in range(3):
        found = row_winners(values[rank], 8, Offered(list(values), rank, 3))
        assert torch.equal(found, values[rank] >= best[:, None])


def test_a_rank_may_offer_less_or_nothing():
    values = torch.full((2, 3), -torch.inf)
    values[:, 0] = torch.tensor([-5.0, 5.0])
    assert row_winners(torch.zeros(2, 0), 3, Offered([None, values], 0, 2)).shape == (2, 0)
    mine = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert row_winners(mine, 3, Offered([None, values], 0, 2)).all()
