"""create_app: every page and its twin, errors in sentences, two studies side by side, hostile strings."""

import json
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.browser.rendering import twin_of
from tests.analysis.report.filled_study import HOSTILE

PAGES = ("/", "/features")
"""Those that this file looks at; the others have tests of their own."""


def client(app) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_twin(small_study, path):
    visitor = client(create_app(small_study))
    page, twin = visitor.get(path), visitor.get(twin_of(path))
    assert page.headers["content-type"].startswith("text/html")
    assert twin.headers["content-type"] == "application/json"
    assert twin.json()
    assert f'href="{twin_of(path)}"' in page.text


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_no_inline_script_or_style(small_study, path):
    text = client(create_app(small_study)).get(path).text
    assert not re.search(r"<style|\sstyle=|\son\w+=", text)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_hostile_strings_stay_text(small_study):
    visitor = client(create_app(small_study))
    for path in ("/", "/features?per=200", f"/features?q={HOSTILE}"):
        assert "<script>alert" not in visitor.get(path).text


def test_errors_are_sentences_for_people_and_for_programs(small_study):
    visitor = client(create_app(small_study))
    page = visitor.get("/nowhere")
    assert page.status_code == 404
    assert "there is no page /nowhere" in page.text
    assert visitor.get("/nowhere.json").json()["sentence"] == "there is no page /nowhere.json"
    assert visitor.get("/nowhere", headers={"accept": "application/json"}).json()["status"] == 404
    wrong = visitor.get("/features.json?auroc_from=much")
    assert wrong.status_code == 422
    assert "auroc_from" in wrong.json()["sentence"]
    assert visitor.post("/features").status_code == 405


def test_our_own_mistakes_tell_no_secrets(small_study):
    app = create_app(small_study)

    @app.get("/broken")
    def broken():
        raise RuntimeError("a secret path")

    answer = client(app).get("/broken")
    assert answer.status_code == 500
    assert "RuntimeError" in answer.text
    assert "secret" not in answer.text


def test_an_empty_study_says_what_to_do(empty_study):
    visitor = client(create_app(empty_study))
    for path in PAGES:
        page = visitor.get(path)
        assert page.status_code == 200
        assert "saes label" in page.text


def test_a_study_without_clamps_says_what_to_do(small_study):
    (small_study / "clamps.parquet").unlink()
    (small_study / "curves.parquet").unlink(missing_ok=True)
    visitor = client(create_app(small_study))
    assert "saes validate" in visitor.get("/").text
    assert visitor.get("/features").status_code == 200


@pytest.mark.parametrize("table", ["clamps", "labels", "cards"])
def test_a_broken_table_is_named_and_the_rest_is_shown(small_study, table):
    (small_study / f"{table}.parquet").write_bytes(b"PAR1 no parquet")
    visitor = client(create_app(small_study))
    overview, features = visitor.get("/"), visitor.get("/features")
    assert overview.status_code == 200
    assert f"{table}.parquet" in overview.text
    assert "storyteller" in overview.text
    assert features.status_code == 503
    assert f"{table}.parquet" in features.text


def test_without_readable_explanations_the_table_is_shown_and_the_overview_says_so(small_study):
    (small_study / "explanations.parquet").write_bytes(b"PAR1 no parquet")
    visitor = client(create_app(small_study))
    assert "explanations.parquet" in visitor.get("/").text
    for address in ("/features", "/features?q=calm", "/features/4711", "/features/download/csv"):
        assert visitor.get(address).status_code == 200


def test_a_study_that_is_mended_while_the_app_runs_is_seen(small_study):
    whole = (small_study / "cards.parquet").read_bytes()
    (small_study / "cards.parquet").write_bytes(b"no parquet")
    visitor = client(create_app(small_study))
    assert visitor.get("/features").status_code == 503
    (small_study / "cards.parquet").write_bytes(whole)
    assert visitor.get("/features").status_code == 200


def test_a_second_study_stands_under_other(small_study, empty_study):
    visitor = client(create_app(small_study, other=empty_study))
    assert visitor.get("/other/features.json").json()["all"] == 0
    assert visitor.get("/features.json").json()["all"] > 0
    assert 'href="/other/features"' in visitor.get("/other/").text
    assert client(create_app(small_study)).get("/other/features").status_code == 404


def test_fifty_at_once_are_all_answered(small_study):
    visitor = client(create_app(small_study))
    codes = []

    def ask(number: int) -> None:
        codes.append(visitor.get(f"/features?q={number}&sort=-density").status_code)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 50


def test_openapi_describes_the_twins(small_study):
    described = client(create_app(small_study)).get("/openapi.json").json()
    for path in PAGES:
        answer = described["paths"][twin_of(path)]["get"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"]
    names = {one["name"] for one in described["paths"]["/features.json"]["get"]["parameters"]}
    assert {"q", "concept", "family", "status", "density_from", "auroc_to", "sort", "page"} <= names


def test_numbers_that_are_none_are_null(small_study):
    text = client(create_app(small_study)).get("/features.json?per=200").text
    assert "NaN" not in text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_looking_loads_no_torch(small_study):
    script = (
        "import sys; from fastapi.testclient import TestClient; from analysis.browser.app import create_app\n"
        f"visitor = TestClient(create_app({str(small_study)!r}), base_url='http://127.0.0.1')\n"
        "assert visitor.get('/').status_code == visitor.get('/features').status_code == 200\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_clients_that_hang_do_not_hold_up_others(small_study, served):
    address = served(create_app(small_study))
    host, port = address.removeprefix("http://").split(":")
    hanging = []
    for _ in range(50):
        one = socket.create_connection((host, int(port)))
        one.sendall(f"POST /features HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\nhalf".encode())
        hanging.append(one)
    assert urllib.request.urlopen(address + "/features?q=lamp", timeout=30).status == 200
    for one in hanging:
        one.close()
    assert urllib.request.urlopen(address + "/", timeout=30).status == 200


def test_a_megabyte_in_the_address_is_refused_and_the_server_lives(small_study, served):
    address = served(create_app(small_study))
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as one, suppress(ConnectionError):  # it may hang up at once
        one.sendall(f"GET /features?q={'x' * 1_000_000} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert one.recv(100).startswith(b"HTTP/1.1 4")
    assert urllib.request.urlopen(address + "/", timeout=30).status == 200
