"""The endpoint against a scripted server: what it sends, what each failure becomes, and where the key never stands."""

import json
import time
import traceback

import pytest

from analysis.explaining.endpoint import Endpoint, open_endpoint
from analysis.explaining.llm import Hitch
from tests.analysis.explaining.llm_server import KEY, Raw, serving

ASKED = (("system", "Be brief."), ("user", "Say yes."))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_sent_and_what_comes_back(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda body, number: "yes", KEY) as server:
        assert open_endpoint(f"{server.url}/some/model").ask(ASKED, 7) == "yes"
    assert server.bodies == [
        {
            "model": "some/model",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say yes."}],
            "max_tokens": 7,
            "temperature": 0,
        }
    ]


def test_the_public_name_goes_to_the_base_url(monkeypatch):
    with serving(lambda body, number: "yes") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert open_endpoint("openai/gpt").ask(ASKED, 7) == "yes"
    assert server.bodies[0]["model"] == "gpt"
    assert "authorization" not in server.headers[0], "no key is set"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert open_endpoint("openai/gpt").base == "https://api.openai.com/v1"


def test_the_key_of_another_variable(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "the other one")
    with serving(lambda body, number: "yes", KEY) as server:
        assert open_endpoint(f"{server.url}/m", "MY_KEY").ask(ASKED, 7) == "yes"


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Raw(429, b"{}", {"Retry-After": "7"}), 7.0),
        (Raw(429, b"slow down"), None),
        (Raw(500, b'{"error": {"message": "broken"}}'), None),
        (Raw(503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0.0),
        (Raw(200, b"<html>a gateway</html>"), None),
        (Raw(200, b'{"choices": []}'), None),
        (Raw(200, b'{"choices": [{"mess', promised=500), None),
    ],
)
def test_what_may_pass_is_a_hitch(answer, wait):
    with serving(lambda body, number: answer) as server, pytest.raises(Hitch) as caught:
        open_endpoint(f"{server.url}/m").ask(ASKED, 7)
    assert caught.value.wait == wait
    assert server.url in str(caught.value)


def test_a_date_to_wait_for():
    from email.utils import formatdate

    later = Raw(429, b"", {"Retry-After": formatdate(time.time() + 90, usegmt=True)})
    with serving(lambda body, number: later) as server, pytest.raises(Hitch) as caught:
        open_endpoint(f"{server.url}/m").ask(ASKED, 7)
    assert 60 < caught.value.wait <= 90


def test_silence_is_a_hitch():
    def hang(body, number):
        server.released.wait(10)
        return "too late"

    with serving(hang) as server, pytest.raises(Hitch, match="does not answer too slowly"):
        open_endpoint(f"{server.url}/m", timeout=0.1).ask(ASKED, 7)


def test_an_answer_that_comes_drop_by_drop_is_not_waited_for_for_ever():
    """Each byte comes in time, so that no socket's own timeout ends it."""
    drops = Raw(body=b" " * 5000, drip=0.02)
    with serving(lambda body, number: drops) as server, pytest.raises(Hitch, match="does not answer too slowly"):
        open_endpoint(f"{server.url}/m", timeout=0.2).ask(ASKED, 7)


def test_nobody_there_is_a_hitch():
    with serving(lambda body, number: "yes") as server:
        url = server.url
    with pytest.raises(Hitch, match=r"does not answer .*refused"):
        open_endpoint(f"{url}/m").ask(ASKED, 7)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Raw(404, b'{"error": {"message": "no model m"}}'), "answered 404: no model m"),
        (Raw(400, b'{"error": "too long"}'), "answered 400: too long"),
        (Raw(302, b"", {"Location": "http://127.0.0.1:9/v1"}), "points elsewhere"),
        (Raw(429, b'{"error": {"message": "pay", "code": "insufficient_quota"}}'), "insufficient_quota"),
    ],
)
def test_what_will_not_pass_is_said(answer, said):
    with serving(lambda body, number: answer) as server, pytest.raises(ValueError, match=said):
        open_endpoint(f"{server.url}/m").ask(ASKED, 7)
    assert len(server.bodies) == 1


def test_settings_that_a_model_refuses_are_left_out():
    def particular(body, number):
        if "max_tokens" in body:
            return Raw(400, b'{"error": {"message": "use max_completion_tokens instead of max_tokens"}}')
        if "temperature" in body:
            return Raw(400, b'{"error": {"message": "temperature does not support 0"}}')
        return f"yes, in {body['max_completion_tokens']}"

    with serving(particular) as server:
        endpoint = open_endpoint(f"{server.url}/m")
        for _ in range(2):
            with pytest.raises(Hitch):
                endpoint.ask(ASKED, 7)
        assert endpoint.ask(ASKED, 7) == "yes, in 7"


def test_an_answer_without_words_is_empty():
    nothing = Raw(body=b'{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}')
    with serving(lambda body, number: nothing) as server:
        assert open_endpoint(f"{server.url}/m").ask(ASKED, 7) == ""


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_the_key_is_in_no_message_and_no_answer(status):
    """Servers quote the key that they refuse, and one may say it in an answer."""
    quoting = Raw(status, json.dumps({"error": {"message": f"wrong: {KEY}"}}).encode())
    with serving(lambda body, number: quoting) as server:
        endpoint = Endpoint(server.url, "m", KEY)
        with pytest.raises((ValueError, Hitch)) as caught:
            endpoint.ask(ASKED, 7)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in f"{endpoint!r}{endpoint.name}"
    with serving(lambda body, number: f"you are {KEY}") as server:
        assert Endpoint(server.url, "m", KEY).ask(ASKED, 7) == "you are [key]"


def test_a_wrong_key_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with serving(lambda body, number: "yes", KEY) as server:
        with pytest.raises(ValueError, match=r"refuses the key \(401\): set OPENAI_API_KEY") as caught:
            open_endpoint(f"{server.url}/m").ask(ASKED, 7)
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(ValueError, match="wants a key"):
            open_endpoint(f"{server.url}/m").ask(ASKED, 7)
    assert "sk-wrong" not in str(caught.value)


def test_a_redirect_does_not_carry_the_key_away():
    with serving(lambda body, number: "stolen") as thief:
        moved = Raw(307, b"", {"Location": f"{thief.url}/chat/completions"})
        with serving(lambda body, number: moved) as server, pytest.raises(ValueError, match="points elsewhere"):
            Endpoint(server.url, "m", KEY).ask(ASKED, 7)
        assert thief.bodies == []


@pytest.mark.parametrize(
    ("source", "variables", "said"),
    [
        ("http://host:80/v1/", {}, "names no model"),
        ("http://host:80/m", {}, "names no model"),
        ("openai/", {}, "names no model"),
        ("http://me:secret@host/v1/m", {}, "holds a login"),
        ("openai/m", {"OPENAI_BASE_URL": "http://me:secret@host/v1"}, "holds a login"),
        ("openai/m", {"OPENAI_BASE_URL": "host/v1"}, "no address"),
        ("openai/m", {"OPENAI_API_KEY": "secret\nX-Other: secret"}, "cannot be a key"),
        ("openai/m", {"OPENAI_API_KEY": "secret-\u00e9"}, "cannot be a key"),
    ],
)
def test_addresses_and_keys_that_cannot_be(monkeypatch, source, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said) as caught:
        open_endpoint(source)
    assert "secret" not in str(caught.value)


def test_a_variable_that_is_not_set():
    with pytest.raises(ValueError, match="MY_KEY, which should hold the key, is not set"):
        open_endpoint("openai/m", "MY_KEY")
