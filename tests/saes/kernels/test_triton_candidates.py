"""Candidates hold what a sort would have found: where ties, crowded groups, masks and odd widths make it hard."""

import pytest
import torch

from tests.saes.kernels.interpreter import device_for_triton

DEVICE = device_for_triton()

from saes.kernels import triton_candidates  # noqa: E402
from saes.kernels.triton_candidates import largest_of_batch, largest_of_rows  # noqa: E402


@pytest.fixture(autouse=True)
def few_groups(monkeypatch):
    monkeypatch.setattr(triton_candidates, "GROUPS", 16)


def product(rows, d_sae, seed=0):
    values = torch.randn(rows, d_sae, generator=torch.Generator().manual_seed(seed))
    return values.bfloat16().to(DEVICE)


def crowded(rows, d_sae):
    """The largest all in one group, with many ties."""
    pre = product(rows, d_sae)
    pre[:, 3::16] += 8
    pre[1] = 1.0
    pre[2] = -pre[2].abs()
    return pre


@pytest.mark.parametrize("pre", [product(4, 100), crowded(4, 150), product(3, 5)], ids=["plain", "crowded", "narrow"])
def test_rows_hold_their_largest(pre):
    kept = 4
    found = largest_of_rows(pre, kept)
    for row, latents in zip(pre.float(), found, strict=True):
        latents = latents[latents >= 0].long()
        assert len(latents.unique()) == len(latents) >= kept
        assert torch.equal(row[latents].topk(kept).values, row.topk(kept).values)


@pytest.mark.parametrize("many", [True, False])
def test_only_what_is_allowed_is_found(many):
    pre = crowded(4, 150)
    allowed = torch.zeros(150, dtype=torch.bool, device=DEVICE)
    allowed[torch.arange(0, 150, 2) if many else torch.tensor([7, 19])] = True
    for row, latents in zip(pre.float(), largest_of_rows(pre, 4, allowed), strict=True):
        latents = latents[latents >= 0].long()
        assert bool(allowed[latents].all())
        best = row[allowed].topk(min(4, int(allowed.sum()))).values
        assert torch.equal(row[latents].topk(len(best)).values, best)


@pytest.mark.parametrize("pre", [product(5, 100), crowded(5, 70), product(5, 6)], ids=["plain", "crowded", "narrow"])
@pytest.mark.parametrize("wanted", [1, 23])
def test_a_batch_holds_its_largest(pre, wanted):
    latents, offsets = largest_of_batch(pre, wanted)
    rows = torch.arange(len(pre), device=DEVICE).repeat_interleave(offsets.diff())
    assert offsets[-1] == wanted == len(latents)
    assert len({*zip(rows.tolist(), latents.tolist(), strict=True)}) == wanted
    values = pre.float()[rows, latents.long()]
    assert torch.equal(values.sort().values, pre.float().flatten().topk(wanted).values.sort().values)
