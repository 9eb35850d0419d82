"""Over a real connection: a closed tab ends its writing, a crowd is served in turn, a client that hangs stops nobody."""

import json
import socket
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from starlette.requests import ClientDisconnect

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


def test_who_goes_away_before_a_whole_answer_ends_its_writing(address, engine, monkeypatch):
    written = slowly(monkeypatch, 0.03)
    place, body = urlsplit(address), json.dumps(ASKED)
    with socket.create_connection((place.hostname, place.port)) as gone:
        gone.sendall(
            f"POST /bench.json HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        waited(lambda: len(written) > 2)
    waited(lambda: engine.state.waiting == 0)
    assert len(written) < 40, "of 120 tokens"


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_who_goes_away_before_the_first_byte_ends_its_writing(engine, monkeypatch, spec):
    """A server says so in what the app receives while its headers wait for the line (2.3), or when they are sent (2.4)."""
    written = slowly(monkeypatch, 0.03)
    app = create_app(engine.study.folder, live=engine)
    sent = []

    async def ask():
        leaving, told = anyio.Event(), [{"type": "http.request", "body": json.dumps(ASKED).encode()}]

        async def receive():
            if told:
                return told.pop()
            await leaving.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message["type"])
            if spec == "2.4":
                raise OSError("the client is gone")
            leaving.set()
            await anyio.sleep_forever()

        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {
            "type": "http", "method": "POST", "path": "/bench/stream", "raw_path": b"/bench/stream", "query_string": b"",
            "root_path": "", "headers": headers, "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
            "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": spec},
        }  # fmt: skip
        with suppress(ClientDisconnect):
            await app(scope, receive, send)

    with start_blocking_portal() as loop:  # a thread's own: a browser of other tests holds this one's
        loop.call(ask)
        waited(lambda: engine.state.waiting == 0)  # before the loop is closed, which would end the job by itself
    assert sent == ["http.response.start"]
    assert len(written) < 40, "of 120 tokens"


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
