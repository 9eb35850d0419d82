"""Asking: the pace, tries, answers that cannot be read, the budget, and a cache that a kill leaves whole."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from analysis.explaining.asking import Asking, Budget, BudgetSpent, Gate, Question
from analysis.explaining.cache import AnswerCache, request_hash
from analysis.explaining.llm import Hitch
from tests.analysis.explaining.llm_server import serving


class ScriptedLLM:
    """Answers by script(the last message, number of the request); counts what it was asked."""

    parallel, name = True, "scripted"

    def __init__(self, script):
        self.script, self.asked, self.lock = script, [], threading.Lock()

    def ask(self, messages, max_tokens):
        with self.lock:
            number = len(self.asked)
            self.asked.append(messages)
        answer = self.script(messages[-1][1], number)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def number_in(answer: str) -> int:
    if not answer.isdecimal():
        raise ValueError("no number")
    return int(answer)


def questions(*texts: str) -> list[Question]:
    return [Question((("user", text),), number_in, "a number") for text in texts]


@pytest.fixture
def waits():
    return []


@pytest.fixture
def asking(tmp_path, waits):
    def make(**settings):
        return Asking(
            AnswerCache(tmp_path / "answers.jsonl"), wait=lambda stop, seconds: waits.append(seconds), **settings
        )

    return make


def test_every_question_has_its_own_reply(asking):
    llm = ScriptedLLM(lambda text, number: text)
    texts = [str(number) for number in range(40)]
    found = dict(asking(parallel=8).ask_all(llm, questions(*texts)))
    assert {place: reply.value for place, reply in found.items()} == {number: number for number in range(40)}
    assert all((reply.n_asked, reply.n_malformed) == (1, 0) for reply in found.values())


def test_nothing_is_asked_twice(asking):
    llm = ScriptedLLM(lambda text, number: text)
    list(asking().ask_all(llm, questions("1", "2")))
    again = dict(asking().ask_all(llm, questions("1", "2", "3")))
    assert len(llm.asked) == 3
    assert [again[place].value for place in range(3)] == [1, 2, 3]
    other = ScriptedLLM(lambda text, number: "9")
    other.name = "another"
    assert dict(asking().ask_all(other, questions("1")))[0].value == 9, "an answer belongs to its model"


def test_what_cannot_be_read_is_asked_again_and_then_missing(asking):
    llm = ScriptedLLM(lambda text, number: "5" if "could not be read: no number" in text else "five")
    reply = dict(asking().ask_all(llm, questions("how many?")))[0]
    assert (reply.value, reply.n_asked, reply.n_malformed) == (5, 2, 1)
    assert llm.asked[1][:2] == (("user", "how many?"), ("assistant", "five"))
    stubborn = ScriptedLLM(lambda text, number: "many")
    stubborn.name = "stubborn"
    reply = dict(asking().ask_all(stubborn, questions("how many?")))[0]
    assert (reply.value, reply.n_asked, reply.n_malformed) == (None, 3, 3)
    dict(asking().ask_all(stubborn, questions("how many?")))
    assert len(stubborn.asked) == 3, "nor is a bad answer paid for twice"


def test_a_model_that_cannot_be_asked_again_leaves_it_missing(asking):
    llm = ScriptedLLM(lambda text, number: ValueError("too long") if "could not be read" in text else "five")
    reply = dict(asking().ask_all(llm, questions("how many?")))[0]
    assert (reply.value, reply.n_asked, reply.n_malformed) == (None, 1, 1)


def test_after_a_hitch_it_waits_longer_and_longer(asking, waits):
    llm = ScriptedLLM(lambda text, number: Hitch("broken") if number < 3 else "1")
    assert dict(asking().ask_all(llm, questions("1")))[0].value == 1
    pauses = [seconds for seconds in waits if seconds]
    assert len(pauses) == 3
    assert all(0.75 * 2**place <= seconds <= 1.25 * 2**place for place, seconds in enumerate(pauses))


def test_it_waits_as_long_as_the_server_asks(asking, waits):
    llm = ScriptedLLM(lambda text, number: Hitch("slow down", wait=40.0) if number == 0 else "1")
    assert dict(asking(parallel=1).ask_all(llm, questions("1")))[0].value == 1
    assert 39 < max(waits) <= 40


def test_a_server_that_asks_for_too_long_ends_the_run(asking):
    llm = ScriptedLLM(lambda text, number: Hitch("come back tomorrow", wait=80_000.0))
    with pytest.raises(ValueError, match="come back tomorrow; it asks to wait 80000 s"):
        list(asking().ask_all(llm, questions("1")))


def test_one_request_that_never_works_is_missing(asking):
    llm = ScriptedLLM(lambda text, number: Hitch("broken") if text == "2" else text)
    found = dict(asking(parallel=1, tries=2).ask_all(llm, questions("1", "2", "3", "4")))
    assert [found[place].value for place in range(4)] == [1, None, 3, 4]
    healed = ScriptedLLM(lambda text, number: text)
    assert dict(asking().ask_all(healed, questions("1", "2")))[1].value == 2, "a failure is not remembered"
    assert len(healed.asked) == 1


def test_when_nobody_answers_the_run_ends(asking):
    llm = ScriptedLLM(lambda text, number: Hitch("http://here does not answer"))
    with pytest.raises(ValueError, match="does not answer; 2 tries each of 3 requests failed"):
        list(asking(parallel=1, tries=2).ask_all(llm, questions(*"12345")))
    assert len(llm.asked) == 6


def test_a_refusal_ends_the_run_and_what_was_answered_stays(asking):
    llm = ScriptedLLM(lambda text, number: ValueError("the key is refused") if number == 2 else text)
    with pytest.raises(ValueError, match="the key is refused"):
        list(asking(parallel=1).ask_all(llm, questions("1", "2", "3")))
    again = ScriptedLLM(lambda text, number: text)
    list(asking().ask_all(again, questions("1", "2", "3")))
    assert len(again.asked) == 1


def taken(replies, into: dict) -> None:
    for place, reply in replies:
        into[place] = reply.value


def test_the_budget_counts_tries_and_is_never_overspent(asking):
    llm = ScriptedLLM(lambda text, number: Hitch("broken") if number == 0 else text)
    found: dict[int, int] = {}
    with pytest.raises(BudgetSpent, match="5 requests"):
        taken(asking(budget=Budget(5), parallel=3).ask_all(llm, questions(*"12345678")), found)
    assert len(llm.asked) == 5
    assert len(found) == 4, "whatever was paid for is handed out"
    taken(asking(budget=Budget(4)).ask_all(llm, questions(*"12345678")), found)
    assert [found[place] for place in range(8)] == list(range(1, 9)), "the rest fits into another budget"


def test_the_gate_keeps_a_pace():
    gate = Gate(per_minute=6)
    delays = [gate.delay() for _ in range(4)]
    assert delays[0] == 0
    assert all(abs(delay - 10 * place) < 1 for place, delay in enumerate(delays))
    assert [Gate().delay() for _ in range(3)] == [0, 0, 0]


def test_ctrl_c_in_the_middle_loses_nothing(asking):
    llm = ScriptedLLM(lambda text, number: text)
    replies = asking(parallel=1).ask_all(llm, questions(*"123456789"))
    next(replies)
    with pytest.raises(KeyboardInterrupt):
        replies.throw(KeyboardInterrupt)
    before = len(llm.asked)
    assert before >= 1
    list(asking().ask_all(llm, questions(*"123456789")))
    assert len(llm.asked) == 9, f"{before} were answered before"


def test_ctrl_c_that_another_thread_takes_is_seen(asking):
    """As one that comes just before the wait begins: nothing wakes the thread that waits."""
    until_noticed, noticed = threading.Event(), []

    def script(text, number):
        time.sleep(0.5)  # the other thread is asleep by now
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        noticed.append(until_noticed.wait(20))  # the answer does not come before
        return text

    def notice(number, frame):
        until_noticed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, notice)  # whatever a shell in the background has set
    try:
        with pytest.raises(KeyboardInterrupt):
            list(asking(parallel=1).ask_all(ScriptedLLM(script), questions("1")))
        assert noticed == [True], "while the answer was still waited for"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_line_cut_short_is_no_answer(tmp_path):
    path = tmp_path / "answers.jsonl"
    cache = AnswerCache(path)
    cache.put("a", "1")
    cache.put("b", "2")
    path.write_bytes(path.read_bytes()[:-5])
    cache = AnswerCache(path)
    assert (cache.get("a"), cache.get("b")) == ("1", None)
    cache.put("c", "3")
    assert [AnswerCache(path).get(name) for name in "abc"] == ["1", None, "3"]


def test_the_hash_is_of_model_words_and_length():
    llm, other = ScriptedLLM(None), ScriptedLLM(None)
    other.name = "another"
    words = (("user", "a"),)
    hashes = {request_hash(llm, words, 5), request_hash(other, words, 5), request_hash(llm, words, 6),
              request_hash(llm, (("user", "b"),), 5)}  # fmt: skip
    assert len(hashes) == 4


CHILD = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs the tests in the background
import analysis.explaining.asking
analysis.explaining.asking.GRACE = 0.2
from analysis.explaining.asking import Asking, Question
from analysis.explaining.cache import AnswerCache
from analysis.explaining.endpoint import open_endpoint
asking = Asking(AnswerCache(sys.argv[2]), parallel=1)
asked = [Question((("user", str(number)),), int, "a number") for number in range(8)]
print(sum(reply.value for _, reply in asking.ask_all(open_endpoint(sys.argv[1]), asked)))
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_after_a_stop_no_answered_request_is_asked_again(tmp_path, stop):
    reached = threading.Event()

    def script(body, number):
        if number == 4:  # the fifth request is under way when the process is stopped
            reached.set()
            server.released.wait(20)
        return body["messages"][0]["content"]

    def start():
        words = [sys.executable, "-c", CHILD, f"{server.url}/m", str(tmp_path / "answers.jsonl")]
        return subprocess.Popen(
            words, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with serving(script) as server:
        first = start()
        assert reached.wait(20)
        os.kill(first.pid, stop)
        _, said = first.communicate(timeout=10)  # a server that hangs does not keep it
        assert ("KeyboardInterrupt" in said) == (stop == signal.SIGINT)
        said, _ = start().communicate(timeout=30)
        asked = [body["messages"][0]["content"] for body in server.bodies]
    assert said.strip() == str(sum(range(8)))
    assert asked == [*"01234", *"4567"]
