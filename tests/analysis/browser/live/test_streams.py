"""Over a real connection: a closed tab ends its writing, a crowd is served in turn, a client that hangs stops nobody."""

import json
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from analysis.browser.app import create_app
from analysis.browser.live import bench

ASKED = {"prompt": "Nora was", "clamp": ["afraid=+3"], "tokens": 60}


@pytest.fixture
def address(engine, served):
    return served(create_app(engine.study.folder, live=engine))


def waited(condition):
    stop = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.01)


def slowly(monkeypatch, seconds):
    """Every token takes as long; the list that grows by one with each."""
    written, add = [], bench.Pieces.add

    def slow(self, token):
        written.append(token)
        time.sleep(seconds)
        return add(self, token)

    monkeypatch.setattr(bench.Pieces, "add", slow)
    return written


def test_a_closed_tab_ends_its_writing_and_the_next_is_served(address, engine, monkeypatch):
    written = slowly(monkeypatch, 0.05)
    with httpx.stream("POST", f"{address}/bench/stream", json=ASKED, timeout=20) as answer:
        for line in answer.iter_lines():
            if line == "event: read":
                break
    waited(lambda: engine.state.waiting == 0)
    assert len(written) < 40, "of 120 tokens"
    monkeypatch.undo()
    after = httpx.post(f"{address}/bench.json", json={**ASKED, "tokens": 3}, timeout=20)
    assert after.status_code == 200


def test_who_goes_away_while_waiting_leaves_the_queue(address, engine, monkeypatch):
    written = slowly(monkeypatch, 0.05)
    with httpx.stream("POST", f"{address}/bench/stream", json=ASKED, timeout=20) as first:
        waited(lambda: len(written) > 2)
        with httpx.stream("POST", f"{address}/bench/stream", json=ASKED, timeout=20) as second:
            lines = second.iter_lines()
            assert next(lines) == "event: queued"
            assert json.loads(next(lines).removeprefix("data: ")) == {"place": 1, "loading": False}
        assert first.status_code == 200
    waited(lambda: engine.state.waiting == 0)


def test_a_crowd_gets_an_answer_each_or_is_told_to_wait(address):
    answers = []

    def ask():
        answers.append(httpx.post(f"{address}/bench.json", json={**ASKED, "tokens": 2}, timeout=60).status_code)

    crowd = [threading.Thread(target=ask) for _ in range(50)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
    assert len(answers) == 50
    assert set(answers) <= {200, 503}
    assert answers.count(200) >= 16
    assert httpx.get(f"{address}/bench", timeout=20).status_code == 200


def test_a_client_that_hangs_stops_nobody(address):
    place = urlsplit(address)
    body = json.dumps(ASKED)
    with (
        socket.create_connection((place.hostname, place.port)) as silent,
        socket.create_connection((place.hostname, place.port)) as deaf,
    ):
        silent.sendall(b"POST /bench/stream HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{")
        deaf.sendall(
            f"POST /bench/stream HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )  # and reads nothing
        answer = httpx.post(f"{address}/bench.json", json={**ASKED, "tokens": 2}, timeout=20)
        assert answer.status_code == 200
