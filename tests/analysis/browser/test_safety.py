"""Safety: who may ask, how much may be sent, and what every answer carries."""

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.browser.safety import LOOPBACK, Safety

TOKEN = "a-token-of-some-length"


@pytest.fixture
def client(small_study):
    return TestClient(create_app(small_study), base_url="http://127.0.0.1:8421")


@pytest.fixture
def echo():
    """An app that reads what it is sent, behind a limit of 1000 bytes."""
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(Safety, hosts=LOOPBACK, most_bytes=1000)
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1:8421", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8421", "[::1]"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", "localhost@evil", "", "127.0.0.1:x"]
)
def test_other_names_are_not_against_dns_rebinding(client, host):
    assert client.get("/", headers={"host": host}).status_code == 421


def test_a_given_name_is_answered(small_study):
    client = TestClient(create_app(small_study, hosts=("lab.example",)), base_url="http://lab.example:80")
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_what_another_site_sends_is_refused(client, headers, method):
    assert client.request(method, "/nothing", headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:8421", "sec-fetch-site": "same-origin"}])
def test_what_the_own_page_or_a_program_sends_gets_through(client, headers):
    assert client.post("/nothing", headers=headers).status_code == 404


def test_a_token_is_wanted_and_becomes_a_cookie(small_study):
    client = TestClient(create_app(small_study, token=TOKEN), base_url="http://127.0.0.1", follow_redirects=False)
    assert client.get("/").status_code == 401
    assert client.get("/static/app.css").status_code == 401
    assert client.get("/?token=wrong-and-much-longer").status_code == 401
    entered = client.get(f"/features?q=afraid&token={TOKEN}")
    assert entered.status_code == 303
    assert entered.headers["location"] == "/features?q=afraid"
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.get(entered.headers["location"]).status_code == 200  # the client keeps the cookie
    client.cookies.clear()
    assert client.get("/", headers={"cookie": "saes_token=wrong"}).status_code == 401


def test_the_way_in_leads_nowhere_else(small_study):
    client = TestClient(create_app(small_study, token=TOKEN), base_url="http://127.0.0.1", follow_redirects=False)
    entered = client.get(f"//evil.example/?token={TOKEN}")
    assert not entered.headers.get("location", "").startswith("//")


def test_a_large_body_is_refused_whether_or_not_it_says_so(echo):
    assert echo.post("/length", content=b"x" * 1000).json() == 1000
    assert echo.post("/length", content=b"x" * 1001).status_code == 413
    pieces = iter([b"x" * 600, b"x" * 600])
    assert echo.post("/length", content=pieces).status_code == 413  # sent in chunks: no length is announced
    assert echo.post("/length", content=iter([b"x" * 400, b"x" * 400])).json() == 800


def test_a_length_that_is_no_number_is_refused(echo):
    assert echo.post("/length", content=b"x", headers={"content-length": "-1"}).status_code == 413


@pytest.mark.parametrize("path", ["/", "/index.json", "/nowhere", "/static/app.css", "/openapi.json"])
def test_every_answer_carries_the_strict_headers(client, path):
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_refusals_carry_them_too(client):
    assert "default-src 'none'" in client.get("/", headers={"host": "evil"}).headers["content-security-policy"]


def test_versioned_files_may_be_kept_and_pages_not(client):
    assert "immutable" in client.get("/static/app.css?v=1").headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-cache"
    assert client.get("/static/none.css").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2fetc/passwd", "/static//etc/passwd",
     "/features/..%2f..%2fstudy.json", "/static/%00", "/concepts/..%2f..%2f..%2fetc%2fpasswd"],
)  # fmt: skip
def test_no_path_reaches_other_files(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text
    assert "create_app" not in answer.text
