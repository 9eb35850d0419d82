"""HEAD: what GET says before its body, of pages, twins, downloads, figures, files and refusals; and nothing is written for it."""

from http.client import HTTPConnection
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.browser.pages import features
from analysis.study import Study
from tests.analysis.browser.case_material import with_cases

ADDRESSES = [
    "/", "/index.json", "/features?q=lamp&per=20", "/features.json", "/features/4711", "/concepts/afraid.json", "/cases/workshop",
    "/cases/workshop.svg", "/method", "/notes", "/bench", "/bench/engine.json", "/other/features",
    "/features/download/csv", "/features/download/json", "/features/download/parquet", "/notes/download/csv",
    "/static/app.css", "/openapi.json", "/nowhere", "/nowhere.json", "/features/999", "/features?sort=colour", "/bench/stream",
]  # fmt: skip


@pytest.fixture
def app(small_study):
    with_cases(Study.open(small_study))
    return create_app(small_study, other=small_study)


@pytest.mark.parametrize("address", ADDRESSES)
def test_head_has_the_status_and_headers_of_get(app, address):
    visitor = TestClient(app, base_url="http://127.0.0.1")
    asked, got = visitor.head(address), visitor.get(address)
    assert (asked.status_code, dict(asked.headers)) == (got.status_code, dict(got.headers))
    assert (asked.status_code == 405) == (address == "/bench/stream")


@pytest.mark.parametrize("address", ["/", "/features/download/json", "/static/app.css", "/nowhere"])
def test_head_sends_no_body(app, address):
    sent = []

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "HEAD", "path": address, "raw_path": address.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
        "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    with start_blocking_portal() as loop:  # a thread's own: a browser of other tests holds this one's
        loop.call(app, scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1] == {"type": "http.response.body", "body": b""}


def test_no_row_of_a_download_is_written_for_head(app, monkeypatch):
    begun = []

    def written(*_):
        begun.append(True)
        yield b"rows"

    monkeypatch.setattr(features, "written", written)
    visitor = TestClient(app, base_url="http://127.0.0.1")
    assert visitor.head("/features/download/parquet").status_code == 200
    assert begun == []
    assert visitor.get("/features/download/parquet").content == b"rows"


def test_a_connection_goes_on_after_head(app, served):
    place = urlsplit(served(app))
    asking = HTTPConnection(place.hostname, place.port, timeout=20)
    for address in ("/features.json", "/features/download/csv", "/nowhere"):
        for method in ("HEAD", "GET"):
            asking.request(method, address)
            answer = asking.getresponse()
            assert answer.status == (404 if address == "/nowhere" else 200)
            assert (answer.read() == b"") == (method == "HEAD")
    asking.close()


def test_head_gets_past_no_token(small_study):
    visitor = TestClient(create_app(small_study, token="a-token-of-some-length"), base_url="http://127.0.0.1")
    assert visitor.head("/").status_code == 401
    assert visitor.head("/", headers={"host": "evil.example"}).status_code == 421
