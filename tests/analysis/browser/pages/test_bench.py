"""The clamp bench over HTTP: two texts, the same again from the copied words; kept runs; what cannot be done is a sentence."""

import contextlib
import io
import json
import shlex
import sys
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.browser.live.asked import Limits
from analysis.records import Writer
from analysis.study import Study

ASKED = {"prompt": "Nora was", "clamp": ["afraid=+3"], "tokens": 8, "temperature": 0.9, "seed": 4}


def client_of(app):
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def client(engine):
    return client_of(create_app(engine.study.folder, live=engine))


@pytest.fixture
def dead(live_folder):
    return client_of(create_app(live_folder))


def events(text):
    for block in text.strip().split("\n\n"):
        kind, data = block.split("\n")
        yield kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_the_stream_ends_with_what_the_whole_answer_says(client):
    answer = client.post("/bench/stream", json=ASKED)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = list(events(answer.text))
    assert [kind for kind, _ in told if kind not in ("new", "read", "queued")] == ["concepts", "prompt", "done"]
    whole = client.post("/bench.json", json=ASKED).json()
    assert told[-1][1]["clamped"] == whole["clamped"] != whole["baseline"]
    assert len(whole["tokens_clamped"]) == 8
    assert {name for token in whole["tokens_clamped"] for name in token["levels"]} <= {"afraid"}


@pytest.mark.parametrize("clamp", [["afraid=+3"], ["afraid:add=-1.5", "7:min=2raw"], ["3=1.5dose", "9:ablate"]])
def test_the_copied_words_write_the_same_texts(client, clamp, monkeypatch, capsys):
    from commands.__main__ import main

    asked = {**ASKED, "clamp": clamp, "positions": "generated", "prompt": '"Nora\'s" $HOME was'}
    whole = client.post("/bench.json", json=asked).json()
    lines = client.post("/bench/lines.json", json=asked).json()
    command, _, document = lines["command_line"].partition(" <<'END'\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(document.removesuffix("END")))
    assert main([*shlex.split(command)[1:], "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["texts"][0]
    assert (found["baseline"], found["clamped"]) == (whole["baseline"], whole["clamped"])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(lines["python"], {})
    assert printed.getvalue() == f"{whole['baseline']}\n{whole['clamped']}\n"


def test_the_address_shows_what_was_asked_again(client):
    lines = client.post("/bench/lines.json", json=ASKED).json()
    page = client.get(lines["address"])
    assert page.status_code == 200
    assert 'data-name="afraid"' in page.text
    twin = client.get(lines["address"].replace("/bench?", "/bench.json?")).json()
    assert {name: twin["asked"][name] for name in ASKED} == ASKED
    assert twin["sliders"][0]["value"] == 3.0
    assert (twin["sliders"][0]["what"]["safe_low"], twin["sliders"][0]["what"]["safe_high"]) == (-2.0, 4.0)


def test_a_dose_beyond_the_safe_range_wants_the_switch(client):
    beyond = {**ASKED, "clamp": ["afraid=+9"]}
    refused = client.post("/bench.json", json=beyond)
    assert refused.status_code == 400
    assert "safe range" in refused.json()["sentence"]
    assert "safe range" in client.post("/bench/lines.json", json=beyond).json()["problem"]
    assert client.post("/bench.json", json={**beyond, "beyond": True}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": ""}, "nothing to write on from"),
        ({"prompt": "x" * 30_000}, "at most"),
        ({"tokens": 10_000}, "new tokens"),
        ({"tokens": 125}, "do not fit"),
        ({"clamp": ["afriad=1"]}, "afraid"),
        ({"clamp": ["99=1"]}, "no latent 99"),
        ({"clamp": ["<script>=1"]}, "no label for"),
        ({"temperature": -1}, "temperature"),
        ({"positions": "../../etc"}, "positions"),
        ({"clamp": ["99999999999999999999=1"]}, "no latent"),
        ({"prompt": "\ud800"}, "half of a letter"),
        ({"seed": 10**30}, "seed"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(client, changes, said):
    body = json.dumps({**ASKED, **changes})  # half of a letter cannot be sent otherwise
    answer = client.post("/bench.json", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert said in answer.json()["sentence"]
    assert "\n" not in answer.json()["sentence"]
    lines = client.post("/bench/lines.json", content=body, headers={"content-type": "application/json"})
    assert lines.status_code == 200


def test_what_is_no_request_at_all_is_refused(client):
    assert client.post("/bench.json", content=b"{").status_code == 422
    assert client.post("/bench.json", json={**ASKED, "tokens": "many"}).status_code == 422
    assert client.post("/bench.json", content=b"x" * 1_100_000).status_code == 413
    assert client.post("/bench/stream", json=ASKED, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/bench?temperature=warm").status_code == 422
    for odd in (
        "temperature=nan",
        "seed=1e9",
        f"seed={10**40}",
        "clamp=99999999999999999999=1",
        "clamp=3=1e300",
        "clamp=%00=1",
    ):
        assert client.get(f"/bench?{odd}").status_code in (200, 422)
        assert client.get(f"/bench.json?{odd}").status_code in (200, 422)
    for odd in ("%00", "-5", "%F0%9F%A6%8A", "9" * 40, "²"):
        assert client.get(f"/bench/slider?name={odd}").status_code == 400


def test_a_full_queue_says_so(client, engine):
    engine.limits = Limits(queue=0)
    answer = client.post("/bench/stream", json=ASKED)
    assert answer.status_code == 503
    assert "wait for the model" in answer.json()["sentence"]


def test_a_slider_is_what_the_study_knows(client):
    text = client.get("/bench/slider?name=afraid").text
    assert 'data-safe-low="-2.0"' in text
    assert "data-safe-low" not in client.get("/bench/slider?name=5").text
    unknown = client.get("/bench/slider?name=afrade", headers={"accept": "application/json"})
    assert unknown.status_code == 400
    assert "afraid" in unknown.json()["sentence"]
    assert client.get("/bench/feature.json?name=3").json()["concepts"] == ["afraid"]
    assert client.get("/bench/feature.json?name=nothing").status_code == 404
    hostile = client.get("/bench", params={"prompt": "</textarea><script>alert(1)</script>", "clamp": "<img src=x>=1"})
    assert hostile.status_code == 200
    assert "<script>alert(1)" not in hostile.text
    assert "<img src=x>" not in hostile.text


def test_what_writes_a_concept_is_pushed_by_its_name(client, live_study):
    study = Study.open(live_study)
    study.write(
        "writers", [Writer("afraid", [9, 7], [0.5, 2.0], [4.0, 1.0], 0.8, "mean", 0.7, 0.6, 0.8, 12, 100, "candidate")]
    )
    label = next(one for one in study.read("clamps") if (one.arm, one.concept) == ("label", "afraid"))
    study.write("clamps", [label, replace(label, arm="written", claim="written", safe_low=-6.0, safe_high=7.0)])
    text = client.get("/bench/slider", params={"name": "afraid/written"}).text
    assert 'data-safe-low="-6.0"' in text
    asked = {**ASKED, "clamp": ["afraid/written=+6"]}
    assert client.post("/bench.json", json=asked).status_code == 200
    assert "-6 to +7" in client.post("/bench.json", json={**ASKED, "clamp": ["afraid/written=+8"]}).json()["sentence"]


def test_a_run_is_kept_in_the_study_once(client, live_study):
    run = client.post("/bench.json", json=ASKED).json()
    for _ in range(2):
        assert client.post("/bench/save.json", json={"run": run["run"]}).status_code == 200
    (kept,) = Study.open(live_study).read("bench")
    assert (kept.clamped, kept.baseline, kept.latents, kept.clamps) == (
        run["clamped"],
        run["baseline"],
        [3],
        ["afraid=+3"],
    )
    page = client.get("/bench")
    assert "afraid=+3" in page.text
    again = client.get("/bench.json" + kept.address).json()["asked"]
    assert {name: again[name] for name in ASKED} == ASKED
    assert client.post("/bench/save.json", json={"run": "nothing"}).status_code == 404


def test_without_the_model_the_page_says_how_to_start_it(dead):
    page = dead.get("/bench")
    assert "--live" in page.text
    assert dead.get("/bench/engine.json").json() is None
    for path in ("/bench/stream", "/bench.json"):
        answer = dead.post(path, json=ASKED)
        assert answer.status_code == 503
        assert "--live" in answer.json()["sentence"]
    lines = dead.post("/bench/lines.json", json=ASKED).json()
    assert lines["command_line"].startswith("saes clamp")
    assert lines["python"] is None
