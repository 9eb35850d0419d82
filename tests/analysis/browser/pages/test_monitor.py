"""The monitor over HTTP: the same events as `monitor` gives, alarms, chats, scenes; what cannot be read is a sentence."""

import json

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.browser.live.engine import Cancelled
from analysis.monitoring.alarms import parse_rule
from analysis.monitoring.journey import AlarmRaised, TokenRead, monitor
from analysis.monitoring.transcript import plain_document

TEXT = "Rain fell all night on the old red barn. Nora was proud of her kite, so she flew it high."


@pytest.fixture
def client(engine):
    app = create_app(engine.study.folder, live=engine)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_a_text_is_read_as_monitor_reads_it(client, subject):
    rule = "afraid < 0.1 for 3"
    found = client.post("/monitor.json", json={"text": TEXT, "rule": [rule]}).json()
    events = list(
        monitor(
            subject.study,
            [plain_document(TEXT)],
            [parse_rule(rule)],
            reference=subject.reference,
            reader=subject.reader,
        )
    )
    tokens = [event for event in events if isinstance(event, TokenRead)]
    assert [token["text"] for token in found["tokens"]] == [token.text for token in tokens]
    for told, token in zip(found["tokens"], tokens, strict=True):
        assert told["levels"].get("0", 0.0) == pytest.approx(token.levels["afraid"], abs=1e-3)
    raised = [event for event in events if isinstance(event, AlarmRaised)]
    assert [one["token"] for one in found["alarms"]] == [one.token for one in raised] != []
    assert found["tokens"][found["alarms"][0]["at"]]["token"] == found["alarms"][0]["token"]
    assert found["reference"]["tokens"] == 2000
    assert found["usual"] == [[pytest.approx(subject.reference.threshold("afraid", p, 5)) for p in (95.0, 99.0)]]


def test_a_chat_has_turns_and_speakers(client):
    messages = [{"role": "user", "content": "The cat sat."}, {"role": "assistant", "content": "Rain fell."}]
    for text in ("\n".join(map(json.dumps, messages)), json.dumps({"messages": messages})):
        found = client.post("/monitor.json", json={"text": text}).json()
        assert [turn["speaker"] for turn in found["turns"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ({"text": " "}, "nothing to read"),
        ({"text": "x" * 200_001}, "saes monitor FILE"),
        ({"text": "a b " * 9000}, "8,000 tokens"),
        ({"text": TEXT, "rule": ["afraid is high"]}, "is no alarm"),
        ({"text": TEXT, "rule": ["desperate > p99"]}, "no label for 'desperate'"),
        ({"text": TEXT, "rule": ["afraid > 1"] * 17}, "16 rules"),
        ({"text": '{"role": "user"}'}, "line:1"),
        ({"text": TEXT, "divergence": True}, "no judge"),
        ({"text": "\ud800"}, "half of a letter"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(client, pasted, said):
    body = json.dumps(pasted)  # half of a letter cannot be sent otherwise
    answer = client.post("/monitor.json", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert said in answer.json()["sentence"]


def test_no_path_is_ever_opened(client):
    found = client.post("/monitor.json", json={"text": "/etc/passwd"}).json()
    assert "".join(token["text"] for token in found["tokens"]).endswith("/etc/passwd")


def test_a_scene_stands_ready_beside_its_twin(client):
    page = client.get("/monitor?scene=dog_died")
    assert page.status_code == 200
    assert "had died" in page.text
    twin = client.get("/monitor.json?scene=dog_died&twin=1&form=chat").json()
    assert "He was brushed" in twin["text"]
    assert twin["shown"] == ["sad"]
    assert client.get("/monitor?scene=../../etc/passwd").status_code == 404
    assert client.get("/monitor?form=poem").status_code == 422


def test_hostile_text_stays_text(client):
    page = client.get("/monitor", params={"text": "</textarea><script>x</script>", "concept": '"><script>x'})
    assert "<script>x" not in page.text


def test_without_the_model_the_page_says_how_to_start_it(live_folder):
    dead = TestClient(create_app(live_folder), base_url="http://127.0.0.1")
    assert "--live" in dead.get("/monitor").text
    answer = dead.post("/monitor.json", json={"text": TEXT})
    assert answer.status_code == 503
    assert "--live" in answer.json()["sentence"]


def test_measuring_what_is_usual_ends_where_nobody_listens(subject, monkeypatch):
    monkeypatch.delitem(subject.__dict__, "reference", raising=False)
    monkeypatch.setattr("analysis.monitoring.journey.reference_texts", lambda study: ["Rain fell."] * 9)
    heard = []

    def told(texts):
        heard.append(texts)
        if texts == 3:
            raise Cancelled

    monkeypatch.setattr("analysis.monitoring.journey.REFERENCE", "nowhere.npz")
    with pytest.raises(Cancelled):
        subject.measure(told)
    assert heard == [1, 2, 3]
    assert "reference" not in subject.__dict__
