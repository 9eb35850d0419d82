"""Firings against plain loops over their dense form."""

import numpy as np
import pytest

from analysis.firings import Firings

N_TEXTS, TOKENS, D_SAE = 7, 5, 6


@pytest.fixture
def dense() -> np.ndarray:
    """[text, token, latent], latent 4 silent."""
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(N_TEXTS, TOKENS, D_SAE)) * (rng.random((N_TEXTS, TOKENS, D_SAE)) < 0.4)
    values[..., 4] = 0.0
    return values


@pytest.fixture
def firings(dense) -> Firings:
    text, token, latent = dense.nonzero()
    return Firings(text, token, latent, dense[text, token, latent], np.full(N_TEXTS, TOKENS), D_SAE)


def test_pooling(firings, dense):
    np.testing.assert_allclose(firings.pooled("max").toarray(), dense.max(axis=1))
    np.testing.assert_allclose(firings.pooled("mean").toarray(), dense.mean(axis=1))
    with pytest.raises(ValueError, match="unknown pooling 'sum'"):
        firings.pooled("sum")


def test_measures_of_a_latent(firings, dense):
    np.testing.assert_allclose(firings.density(), (dense > 0).mean(axis=(0, 1)))
    np.testing.assert_allclose(firings.peak(), dense.max(axis=(0, 1)))
    active = [dense[..., latent][dense[..., latent] > 0] for latent in range(D_SAE)]
    np.testing.assert_allclose(firings.mean_active(), [values.mean() if len(values) else 0.0 for values in active])
    quantiles = [np.quantile(values, 0.95) if len(values) else 0.0 for values in active]
    np.testing.assert_allclose(firings.scales(), quantiles)


def test_some_texts(firings, dense):
    texts = np.array([5, 2])
    np.testing.assert_allclose(firings.of_texts(texts).pooled("max").toarray(), dense[texts].max(axis=1))
