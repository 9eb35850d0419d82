"""The notes' page and box: written by forms and by scripts, kept over a restart, safe from markup and foreign names."""

import json

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from tests.analysis.report.filled_study import HOSTILE

LATENT = 4711


@pytest.fixture
def client(small_study):
    with TestClient(create_app(small_study), base_url="http://127.0.0.1", follow_redirects=False) as client:
        yield client


def test_a_note_survives_a_restart_and_stands_on_its_page(client, small_study):
    sent = client.post(f"/notes/feature/{LATENT}", data={"text": f"odd {HOSTILE}", "thumb": "down"})
    assert (sent.status_code, sent.headers["location"]) == (303, f"/features/{LATENT}#note")
    with TestClient(create_app(small_study), base_url="http://127.0.0.1") as again:
        page = again.get(f"/features/{LATENT}").text
        assert "odd &lt;script&gt;" in page
        assert HOSTILE not in page
        assert 'aria-pressed="true" aria-label="Thumb down"' in page
        assert HOSTILE not in again.get("/notes").text
        assert [one["note"]["text"] for one in again.get("/notes.json").json()["rows"]] == [f"odd {HOSTILE}"]


def test_htmx_gets_the_box_alone_and_programs_get_the_note(client):
    box = client.post("/notes/concept/afraid", data={"text": "a", "thumb": "up"}, headers={"HX-Request": "true"})
    assert box.status_code == 200
    assert box.text.strip().startswith('<section class="card notes" id="note"')
    sent = client.post("/notes/concept/afraid", json={"text": "b"}, headers={"accept": "application/json"})
    assert (sent.json()["text"], sent.json()["thumb"]) == ("b", 0)
    assert client.delete("/notes/concept/afraid").json()["text"] == ""
    assert client.get("/notes.json").json()["total"] == 0


def test_the_form_can_remove_a_note_without_scripts(client):
    client.post("/notes/concept/afraid", data={"text": "a"})
    assert client.post("/notes/concept/afraid", data={"text": "a", "remove": "1"}).status_code == 303
    assert client.get("/notes.json").json()["total"] == 0


def test_filters_and_files(client):
    client.post("/notes/concept/afraid", data={"text": "=1+1", "thumb": "up"})
    client.post(f"/notes/feature/{LATENT}", data={"text": "c"})
    assert [one["note"]["name"] for one in client.get("/notes.json?thumb=up").json()["rows"]] == ["afraid"]
    assert [one["note"]["name"] for one in client.get("/notes.json?kind=feature").json()["rows"]] == [str(LATENT)]
    assert "'=1+1" in client.get("/notes/download/csv").text
    assert len(json.loads(client.get("/notes/download/json").text)) == 2


@pytest.mark.parametrize(
    ("address", "sent", "status"),
    [
        ("/notes/feature/999999", {"data": {"text": "a"}}, 404),
        ("/notes/feature/abc", {"data": {"text": "a"}}, 404),
        ("/notes/feature/٣", {"data": {"text": "a"}}, 404),
        ("/notes/concept/nothing", {"data": {"text": "a"}}, 404),
        ("/notes/page/1", {"data": {"text": "a"}}, 422),
        (f"/notes/feature/{LATENT}", {"data": {"text": "a", "thumb": "sideways"}}, 400),
        (f"/notes/feature/{LATENT}", {"data": {"text": "x" * 10_001}}, 400),
        (f"/notes/feature/{LATENT}", {"json": [1]}, 400),
        (f"/notes/feature/{LATENT}", {"json": {"text": 1}}, 400),
        (f"/notes/feature/{LATENT}", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        (f"/notes/feature/{LATENT}", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400),
        (f"/notes/feature/{LATENT}", {"files": {"text": b"a"}}, 400),
        (f"/notes/feature/{LATENT}", {"content": "&".join(f"a{n}=1" for n in range(50))}, 400),
        (f"/notes/feature/{LATENT}", {"data": {"text": "a"}, "headers": {"origin": "http://evil.example"}}, 403),
    ],
)
def test_what_cannot_be_kept_gets_its_status(client, address, sent, status):
    assert client.post(address, **sent).status_code == status
    assert client.get("/notes.json").json()["total"] == 0


def test_half_a_letter_is_kept_as_a_sign(client):
    body = b'{"text": "a\\ud800b"}'
    sent = client.post(f"/notes/feature/{LATENT}", content=body, headers={"content-type": "application/json"})
    assert sent.status_code == 303
    assert client.get("/notes.json").json()["rows"][0]["note"]["text"] == "a?b"


def test_a_file_that_is_spoilt_meanwhile_is_a_sentence(client, small_study):
    (small_study / "notes.sqlite").write_bytes(b"no database" * 100)
    for found in (client.get("/notes"), client.post("/notes/concept/afraid", data={"text": "a"})):
        assert found.status_code == 503
        assert "--notes" in found.text


def test_the_box_works_in_a_browser_with_scripts(small_study, served, browser_page):
    address = served(create_app(small_study))
    browser_page.goto(f"{address}/features/{LATENT}")
    browser_page.get_by_role("button", name="Thumb up").click()
    browser_page.locator('[aria-pressed="true"]').wait_for()
    browser_page.locator("#note-text").fill("seen <b>by</b> eye")
    browser_page.get_by_role("button", name="Save").click()
    browser_page.get_by_text("saved 2").wait_for()
    browser_page.goto(f"{served(create_app(small_study))}/features/{LATENT}")
    assert browser_page.locator("#note-text").input_value() == "seen <b>by</b> eye"
    assert browser_page.get_by_role("button", name="Thumb up").get_attribute("aria-pressed") == "true"
    browser_page.get_by_role("button", name="Remove").click()
    browser_page.get_by_role("button", name="Remove").wait_for(state="detached")
    assert browser_page.locator("#note-text").input_value() == ""
