"""Percentiles and thresholds against plain counting."""

import numpy as np
import pytest

from analysis.monitoring.reference import load_reference, reference_of


@pytest.fixture
def texts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.where(rng.random((n, 2)) < 0.3, rng.random((n, 2)), 0.0) for n in (400, 5, 700, 0, 30)]


@pytest.fixture
def reference(texts):
    return reference_of(("afraid", "calm"), texts, "drawn")


def test_a_percentile_is_the_share_that_lies_below(reference, texts):
    everything = np.concatenate(texts)
    some = np.array([[0.0, 0.0], [0.5, 0.01], [everything[:, 0].max(), 2.0]])
    expected = np.array(
        [[100 * (everything[:, column] < value).mean() for column, value in enumerate(row)] for row in some]
    )
    np.testing.assert_allclose(reference.percentiles(some), expected)
    assert reference.percentiles(some)[0].tolist() == [0.0, 0.0], "silence is at 0"


def test_windows_do_not_cross_texts(reference, texts):
    expected = []
    for text in texts:
        width = min(20, len(text))
        expected += [text[end - width : end, 1].mean() for end in range(width, len(text) + 1) if width]
    np.testing.assert_allclose(reference.windows("calm", 20), np.sort(expected), atol=1e-9)


def test_so_many_windows_lie_above_a_threshold(reference):
    threshold = reference.threshold("afraid", 99.0, tokens=20)
    windows = reference.windows("afraid", 20)
    assert 0 < (windows > threshold).mean() <= 0.01


def test_it_comes_back_from_disk_as_it_was(reference, tmp_path):
    reference.save(tmp_path / "r.npz")
    back = load_reference(tmp_path / "r.npz")
    assert (back.concepts, back.n_tokens, back.n_texts, back.source) == (("afraid", "calm"), 1135, 5, "drawn")
    np.testing.assert_allclose(back.windows("calm", 7), reference.windows("calm", 7), atol=1e-6)


def test_what_is_no_reference(reference, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no reference"):
        load_reference(tmp_path / "gone.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="measure it again"):
        load_reference(tmp_path / "bad.npz")
    with pytest.raises(ValueError, match="holds 5 tokens, at least 1000"):
        reference_of(("afraid",), [np.zeros((5, 1))], "few")
    with pytest.raises(ValueError, match="did you mean afraid"):
        reference.column("afrad")
