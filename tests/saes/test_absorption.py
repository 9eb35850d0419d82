"""Planted absorbed and split features are told from an honest dictionary of the same activations."""

import pytest
import torch

from saes.absorption import absorption_of, least_cosine
from saes.sparsity import SparseCode

D_IN, ROWS = 256, 2000


def worlds():
    """Features 0 (general), 1 (special, only with 0) and twenty others, in orthogonal directions; which rows have which."""
    generator = torch.Generator().manual_seed(0)
    has = torch.rand(ROWS, 22, generator=generator) < 0.1
    has[:, 0] = torch.rand(ROWS, generator=generator) < 0.4
    has[:, 1] = has[:, 0] & (torch.rand(ROWS, generator=generator) < 0.5)
    directions = torch.linalg.qr(torch.randn(D_IN, 22, generator=generator)).Q.T
    values = has * (1 + 0.1 * torch.rand(ROWS, 22, generator=generator))
    return values, directions.contiguous()


def test_an_orthogonal_dictionary_shows_neither():
    values, directions = worlds()
    found = absorption_of(SparseCode.from_dense(values), directions)
    assert (found.absorption, found.splitting, found.asked) == (0, 0, 22)


def test_random_directions_show_neither():
    values, _ = worlds()
    directions = torch.randn(22, D_IN, generator=torch.Generator().manual_seed(1))
    found = absorption_of(SparseCode.from_dense(values), directions)
    assert found.absorption == pytest.approx(0, abs=0.01)
    assert found.splitting == 0


def test_an_absorbed_feature_shows():
    """Latent 1 writes both features, and latent 0 is silent where it does."""
    values, directions = worlds()
    code, absorbed = values.clone(), directions.clone()
    absorbed[1] = (directions[0] + directions[1]) / 2**0.5
    code[:, 1] *= 2**0.5
    code[code[:, 1] > 0, 0] = 0
    torch.testing.assert_close(code @ absorbed, values @ directions, atol=0.2, rtol=0)  # it explains as much
    found = absorption_of(SparseCode.from_dense(code), absorbed)
    rate = float((values[:, 1] > 0).sum() / (values[:, 0] > 0).sum())  # of latent 0; latent 1 is absorbed in turn
    assert found.absorption is not None
    assert found.absorption > 0.9 * rate / 22
    assert found.splitting == 0
    assert absorption_of(SparseCode.from_dense(code * 3), absorbed / 3).absorption == pytest.approx(found.absorption)


def test_a_split_feature_shows():
    """Feature 2 by latents 2 and 3, of nearly one direction, in turn."""
    values, directions = worlds()
    code, split = values.clone(), directions.clone()
    split[3] = torch.nn.functional.normalize(directions[2] + 0.3 * directions[3], dim=0)
    turn = torch.arange(ROWS) % 2 == 0
    code[:, 3] = values[:, 2] * turn
    code[:, 2] = values[:, 2] * ~turn
    found = absorption_of(SparseCode.from_dense(code), split)
    assert found.splitting == pytest.approx(2 / 22)
    together = values.clone()
    together[:, 3] = values[:, 2]  # the same two latents, always both
    assert absorption_of(SparseCode.from_dense(together), split).splitting == 0


def test_latents_that_hardly_fire_say_nothing():
    directions = torch.eye(4)
    code = SparseCode(torch.ones(9, 1), torch.zeros(9, 1, dtype=torch.long))
    assert absorption_of(code, directions) == (None, None, 0)
    assert absorption_of(SparseCode(torch.zeros(3, 0), torch.zeros(3, 0, dtype=torch.long)), directions).asked == 0


def test_many_latents_are_asked_by_drawing_some():
    values, directions = worlds()
    code = SparseCode.from_dense(values)
    assert absorption_of(code, directions, parents=5).asked == 5
    assert 0.1 <= least_cosine(4096) < least_cosine(256) <= 0.5
