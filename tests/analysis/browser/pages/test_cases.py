"""The cases' pages as a browser gets them: every address, its twin, figures, filters in the address, hostile text."""

import pytest
from fastapi.testclient import TestClient

from analysis.browser import case_figures
from analysis.browser.app import create_app
from analysis.study import Study
from tests.analysis.browser.case_material import with_cases, with_other_cases
from tests.analysis.report.filled_study import HOSTILE


@pytest.fixture
def client(small_study):
    with_other_cases(with_cases(Study.open(small_study)))
    with TestClient(create_app(small_study), base_url="http://127.0.0.1") as client:
        yield client


def test_every_case_has_a_page_and_a_twin(client):
    names = [one["name"] for one in client.get("/cases.json").json()["cases"]]
    assert {"workshop", "coding", "apology", "own-workshop"} <= set(names)
    for name in names:
        if "/" in name:
            continue  # a name that no address can hold
        page = client.get(f"/cases/{name}")
        assert page.status_code == 200, name
        assert HOSTILE not in page.text, name
        assert client.get(f"/cases/{name}.json").json()["name"] == name


def test_the_list_has_figures_in_words_and_commands_of_what_was_not_run(client):
    text = client.get("/cases").text
    assert "50% [25%, 60%] of 40 impossible tasks" in text
    assert "<code>saes case harsh-or-sweet --study " in text


def test_filters_stand_in_the_address(client):
    page = client.get("/cases/workshop?arm=desperate_down&kind=possible")
    assert '<option value="desperate_down" selected>' in page.text
    assert "1 of 9 episodes" in page.text
    assert "/cases/workshop/episodes/5?arm=desperate_down&amp;kind=possible" in page.text
    assert client.get("/cases/workshop?kind=odd").status_code == 422


def test_an_episode_stands_step_by_step(client):
    text = client.get("/cases/workshop/episodes/0").text
    assert text.index('id="step-1"') < text.index('id="step-3"')
    assert "copy the shown answers" in text
    assert HOSTILE not in text
    assert "&lt;script&gt;alert" in text
    assert 'rel="next" href="/cases/workshop/episodes/1"' in text
    assert 'rel="prev"' not in text
    code = client.get("/cases/coding/episodes/0").text
    assert "AssertionError: f(4) is wrong" in code
    assert HOSTILE not in code
    texts = client.get("/cases/apology/episodes/1").text
    assert "guilty +1" in texts
    assert HOSTILE not in texts


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/cases/nothing", 404), ("/cases/workshop/episodes/99", 404), ("/cases/workshop/episodes/-1", 404),
        ("/cases/workshop/episodes/x", 422), ("/cases/..%2f..%2fetc%2fpasswd", 404), ("/cases/scenes/episodes/0", 404),
        ("/cases/apology/episodes/99999999999999999999", 404), ("/cases/nothing.svg", 404), ("/cases/workshop.svg?theme=odd", 422),
        ("/cases/workshop?page=0", 422),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(client, address, status):
    assert client.get(address).status_code == status


def test_a_case_that_was_not_run_says_how(empty_study):
    with TestClient(create_app(empty_study), base_url="http://127.0.0.1") as client:
        page = client.get("/cases/dose")
        assert page.status_code == 200
        assert "saes case dose --study" in page.text
        assert "No case was run" in client.get("/cases").text


def test_a_transcript_that_cannot_be_read_is_a_sentence(client, small_study):
    (small_study / "workshop_transcripts.jsonl").unlink()
    (small_study / "workshop_transcripts.jsonl").mkdir()
    assert client.get("/cases/workshop/episodes/0").status_code == 503


def test_a_figure_is_drawn_once_for_each_version_and_theme(client, small_study, monkeypatch):
    drawn = []

    def draw(study, case, theme):
        drawn.append((case, theme))
        if case == "dose":
            raise ValueError("nothing to draw")
        return b"<svg xmlns='http://www.w3.org/2000/svg'/>"

    monkeypatch.setattr(case_figures, "draw", draw)
    for _ in range(2):
        found = client.get("/cases/workshop.svg?theme=dark")
        assert found.headers["content-type"] == "image/svg+xml"
        assert found.content.startswith(b"<svg")
    client.get("/cases/own-workshop.svg")
    assert client.get("/cases/dose.svg").status_code == 404
    assert drawn == [("workshop", "dark"), ("workshop", "light"), ("dose", "light")]
    assert '<img class="in-dark" src="/cases/workshop.svg?theme=dark"' in client.get("/cases/workshop").text
