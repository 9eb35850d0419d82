"""Firings against plain loops over their dense form."""

import numpy as np
import pytest

from analysis.firings import POOLINGS, Firings

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


def by_hand(dense, pooling):
    match pooling:
        case "max":
            return dense.max(axis=1)
        case "mean":
            return dense.mean(axis=1)
        case "top3":
            return np.sort(dense, axis=1)[:, -3:].mean(axis=1)
        case _:
            last = [np.flatnonzero(text.any(axis=1))[-1] for text in dense]
            return dense[np.arange(len(dense)), last]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("at_once", [1, 2**21])
def test_pooling(firings, dense, pooling, at_once, monkeypatch):
    monkeypatch.setattr("analysis.firings.FIRINGS_AT_ONCE", at_once)  # a text a block, or all in one
    np.testing.assert_allclose(firings.all_pooled()[pooling].toarray(), by_hand(dense, pooling), rtol=1e-6)


def test_pooling_needs_no_order(firings, dense):
    order = np.random.default_rng(1).permutation(len(firings.text))
    mixed = Firings(*(part[order] for part in (firings.text, firings.token, firings.latent, firings.value)),
                    firings.n_tokens, D_SAE)  # fmt: skip
    np.testing.assert_allclose(mixed.all_pooled()["top3"].toarray(), by_hand(dense, "top3"), rtol=1e-6)


def test_some_latents(firings, dense):
    some = firings.of_latents([3, 0]).all_pooled()["max"].toarray()
    np.testing.assert_allclose(some[:, [0, 3]], dense.max(axis=1)[:, [0, 3]], rtol=1e-6)
    assert not some[:, [1, 2, 4, 5]].any()


def test_texts_in_which_nothing_fires():
    nothing = Firings(*(np.zeros(0, int) for _ in range(3)), np.zeros(0), np.full(3, 4), D_SAE)
    assert all(matrix.shape == (3, D_SAE) and not matrix.nnz for matrix in nothing.all_pooled().values())


def test_measures_of_a_latent(firings, dense):
    np.testing.assert_allclose(firings.density(), (dense > 0).mean(axis=(0, 1)))
    np.testing.assert_allclose(firings.peak(), dense.max(axis=(0, 1)))
    active = [dense[..., latent][dense[..., latent] > 0] for latent in range(D_SAE)]
    np.testing.assert_allclose(firings.mean_active(), [values.mean() if len(values) else 0.0 for values in active])
    quantiles = [np.quantile(values, 0.95) if len(values) else 0.0 for values in active]
    np.testing.assert_allclose(firings.scales(), quantiles, rtol=1e-6)


def test_some_texts(firings, dense):
    texts = np.array([5, 2])
    np.testing.assert_allclose(
        firings.of_texts(texts).all_pooled()["max"].toarray(), dense[texts].max(axis=1), rtol=1e-6
    )
