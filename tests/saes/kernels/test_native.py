"""The compiled kernels are built once, kept, and done without where they cannot be built."""

import logging

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels import native
from saes.kernels.choose import choose_step
from saes.kernels.cpu import SparseStep


@pytest.fixture
def _fresh():
    native._library.cache_clear()
    yield
    native._library.cache_clear()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("trouble", ["none", "broken"])
def test_without_a_compiler_pytorch_does_it(trouble, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if trouble == "broken":
        compiler = tmp_path / "c++"
        compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "no such flag" >&2\nexit 1\n')
        compiler.chmod(0o755)
    sae = SparseAutoencoder(SAEConfig(4, 16, k=2))
    with caplog.at_level(logging.INFO):
        step = choose_step(sae)
    assert isinstance(step, SparseStep)
    assert ("no C++ compiler found" if trouble == "none" else "no such flag") in caplog.text
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        choose_step(sae, kernels="native")


@pytest.mark.usefixtures("_fresh")
def test_is_built_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if native.compiled() is None:
        pytest.skip("no C++ compiler that builds the kernels here")
    (built,) = (tmp_path / "emotion-saes").iterdir()
    when = built.stat().st_mtime_ns
    native._library.cache_clear()
    assert native.compiled() is not None
    assert [path.stat().st_mtime_ns for path in (tmp_path / "emotion-saes").iterdir()] == [when]


def test_only_contiguous_arrays_are_handed_over():
    with pytest.raises(AssertionError):
        native.address(torch.zeros(4, 6).T)
    assert native.address(None) is None
