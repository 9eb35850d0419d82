"""A small study for the app's tests: something in every table, hostile strings, one planted feature among decoys."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from analysis.records import Excerpt, Explanation, FeatureCard
from analysis.study import Study
from tests.analysis.report.filled_study import HOSTILE, filled

PLANTED = 4711
"""A latent that is in no label; its explanation, tokens and excerpts hold words that nothing else in the study holds."""
DECOYS = range(500, 560)
"""Latents with cards and excerpts of no particular sort."""


def card(latent: int, concepts: tuple[str, ...] = (), promoted: tuple[str, ...] = (" a", " b")) -> FeatureCard:
    near = [PLANTED, 500] if latent != PLANTED else [500, 501]
    return FeatureCard(
        latent, list(concepts), 0.001 * (latent % 40), 6.0, 1.5, [0.0, 2.0, 4.0, 6.0], [30, 8, 1], list(promoted), [" z"],
        near, [0.41, 0.2], None, None,
    )  # fmt: skip


def excerpts(latent: int, word: str) -> list[Excerpt]:
    """Two of each sort, each with `word` in it."""
    return [
        Excerpt(latent, 10 * place + number, concept, "checking", ["Mia", " saw", f" {word}", "\n"],
                [0.0, 0.25 * peak, peak, 0.0], peak, drawn)
        for place, (drawn, concept, peak) in enumerate([("top", "afraid", 6.0), ("middling", "calm", 2.0), ("chance", "neutral", 0.0)])
        for number in range(2)
    ]  # fmt: skip


def explanation(latent: int, text: str) -> Explanation:
    return Explanation(
        latent, text, "m", "m", "1", 8, 0.81, 0.7, 0.9, 0.75, 0.7, 0.5, 0.1, 0.4, 20, 20, 0.66, 0.5, 0.8, 0.6, 0.5, 0.0, 0.3,
        10, 10, 500, 60, 1, 2,
    )  # fmt: skip


def build(folder) -> Study:
    """`filled` of the report's tests, with more cards, excerpts of every sort, and explanations."""
    study = filled(folder)
    cards, shown = study.read("cards", FeatureCard), study.read("excerpts", Excerpt)
    decoys = [card(latent) for latent in DECOYS]
    study.write("cards", [*cards, *decoys, card(PLANTED, promoted=(" quokka", HOSTILE))])
    more = [one for latent in DECOYS for one in excerpts(latent, "lamp")]
    study.write("excerpts", [*shown, *more, *excerpts(PLANTED, "wombat")])
    study.write("explanations", [explanation(PLANTED, f"marsupials {HOSTILE}"), explanation(500, "lamps")])
    return study


@pytest.fixture(scope="session")
def built_study(tmp_path_factory):
    """The folder of the small study; read only."""
    return build(tmp_path_factory.mktemp("studies") / "small").folder


@pytest.fixture
def small_study(built_study, tmp_path):
    """A test's own copy of it, to write into: latents 1 … 71 in labels, `DECOYS`, `PLANTED`."""
    return shutil.copytree(built_study, tmp_path / "small")


@pytest.fixture
def empty_study(tmp_path):
    """A study of which no table was made."""
    from tests.analysis.report.filled_study import info

    return Study.create(tmp_path / "empty", info()).folder


@contextmanager
def running(app) -> Iterator[str]:
    """Serves an app on a free port of this machine; the address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def served():
    """A function: serves an app until the test ends, and returns its address."""
    with ExitStack() as until_the_end:
        yield lambda app: until_the_end.enter_context(running(app))


@pytest.fixture(scope="session")
def browser():
    """A real browser; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium here: .ci/run installs it where apt is")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def browser_page(browser):
    """A page that fails its test if a script failed or the browser refused something; `.complaints` holds what it said."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert page.complaints == []


# ---- a language model of random weights, its SAE and a study, with an engine that holds them


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """Labels: afraid (latent 3, held, safe from -2 to 4 dose units of 2.0), calm (latent 5, rejected); a card of latent 3."""
    import numpy as np

    from analysis.monitoring.journey import own_source
    from analysis.monitoring.reference import reference_of
    from tests.commands.conftest import clamp, make_model, make_sae, write_study

    root = tmp_path_factory.mktemp("live")
    model = make_model(root / "model")
    folder = write_study(root / "sae" / "study", make_sae(root / "sae", model), model)
    study = Study.open(folder)
    study.write("clamps", [clamp("afraid", "label", "validated")])
    draws = np.random.default_rng(0).exponential(size=(40, 50, 1)).astype(np.float32)
    reference_of(("afraid",), draws, own_source(study, study.info.model)).save(folder / "reference.npz")
    return folder


@pytest.fixture
def live_study(live_folder, tmp_path):
    """A test's own copy, to write into."""
    shutil.copytree(live_folder.parent, tmp_path / "sae")
    return tmp_path / "sae" / "study"


@pytest.fixture(scope="session")
def subject(live_folder):
    from analysis.browser.live.subject import Subject

    return Subject.open(Study.open(live_folder), None, "cpu")


@pytest.fixture
def engine(live_study, subject, monkeypatch):
    """Of the test's own study, with the model that all tests share."""
    from dataclasses import replace

    from analysis.browser.live.engine import Engine
    from analysis.browser.live.subject import Subject

    monkeypatch.setattr(Subject, "open", lambda study, model, device: replace(subject, study=study))
    made = Engine(Study.open(live_study))
    yield made
    made.close()
