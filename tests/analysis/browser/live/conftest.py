"""A language model of random weights, its SAE and a study, with an engine that holds them."""

import shutil

import numpy as np
import pytest

from tests.commands.conftest import clamp, make_model, make_sae, write_study


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """Labels: afraid (latent 3, held, safe from -2 to 4 dose units of 2.0), calm (latent 5, rejected); a card of latent 3."""
    from analysis.monitoring.reference import reference_of
    from analysis.study import Study

    root = tmp_path_factory.mktemp("live")
    model = make_model(root / "model")
    folder = write_study(root / "sae" / "study", make_sae(root / "sae", model), model)
    study = Study.open(folder)
    study.write("clamps", [clamp("afraid", "label", "validated")])
    draws = np.random.default_rng(0).exponential(size=(40, 50, 1)).astype(np.float32)
    info = study.info
    source = f"{info.concept_set} {info.concept_hash} by {info.sae_hash[:16]} in {info.model}"
    reference_of(("afraid",), draws, source).save(folder / "reference.npz")
    return folder


@pytest.fixture
def live_study(live_folder, tmp_path):
    """A test's own copy, to write into."""
    shutil.copytree(live_folder.parent, tmp_path / "sae")
    return tmp_path / "sae" / "study"


@pytest.fixture(scope="session")
def subject(live_folder):
    from analysis.browser.live.subject import Subject
    from analysis.study import Study

    return Subject.open(Study.open(live_folder), None, "cpu")


@pytest.fixture
def engine(live_study, subject, monkeypatch):
    """Of the test's own study, with the model that all tests share."""
    from dataclasses import replace

    from analysis.browser.live.engine import Engine
    from analysis.browser.live.subject import Subject
    from analysis.study import Study

    monkeypatch.setattr(Subject, "open", lambda study, model, device: replace(subject, study=study))
    made = Engine(Study.open(live_study))
    yield made
    made.close()
