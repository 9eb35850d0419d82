"""Neighbourhood means: of the right rows, within a document, and as long as single rows."""

import torch

from training.activations.batch import ActivationBatch
from training.activations.lasting import neighbourhood_means, spread, with_lasting
from training.language_models.language_model import Tokens


def batch(vectors, keep):
    ids = torch.zeros(keep.shape, dtype=torch.long)
    return ActivationBatch(Tokens(ids, keep), vectors, keep)


def test_a_mean_stays_within_its_document():
    vectors = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0))
    keep = torch.ones(2, 9, dtype=torch.bool)
    keep[0, 4] = False  # a special token between two documents
    found = neighbourhood_means(batch(vectors, keep), window=4)
    documents = [vectors[0, :4], vectors[0, 5:], vectors[1]]
    centre = vectors[keep].mean(0)
    plain = torch.cat([
        torch.stack([part[max(0, i - 2) : i + 2].mean(0) for i in range(len(part))]) for part in documents
    ])  # fmt: skip
    longer = (vectors[keep] - centre).norm(dim=1).mean() / (plain - centre).norm(dim=1).mean()
    torch.testing.assert_close(found, (plain - centre) * longer + centre)


def test_a_share_of_the_rows_gives_way():
    vectors, keep = torch.randn(4, 25, 3), torch.ones(4, 25, dtype=torch.bool)
    rows = with_lasting(batch(vectors, keep), share=0.3, window=5)
    changed = (rows != vectors[keep]).any(1)
    assert changed.sum() == 30
    assert spread(10, 0.3).sum() == 3
    same = with_lasting(batch(vectors, keep), share=0.0, window=5)
    assert torch.equal(same, vectors[keep])


def test_what_lasts_stands_out():
    """A direction that holds for a document keeps its length in the means, one that flickers loses it."""
    generator = torch.Generator().manual_seed(1)
    lasting = torch.randn(40, 1, generator=generator).sign().expand(40, 30)
    flickering = torch.randn(40, 30, generator=generator).sign()
    vectors = torch.stack([lasting, flickering], dim=2)
    means = neighbourhood_means(batch(vectors, torch.ones(40, 30, dtype=torch.bool)), window=10)
    assert means[:, 0].std() > 1.2
    assert means[:, 1].std() < 0.5
