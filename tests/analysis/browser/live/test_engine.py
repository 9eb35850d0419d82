"""One job at a time, in order; everybody hears where they stand; a failure or a stop is nobody else's."""

import queue
import threading

import pytest

from analysis.browser.live.asked import Limits
from analysis.browser.live.engine import Busy, Engine
from analysis.browser.live.subject import Subject


class Heard:
    """Somebody who asked."""

    def __init__(self):
        self.events = queue.Queue()

    def until(self, *kinds):
        """All events up to one of these."""
        found = []
        while not found or found[-1].kind not in kinds:
            found.append(self.events.get(timeout=20))
        return found


class Writing:
    """A job that emits as often as it is let."""

    def __init__(self, name, log):
        self.name, self.log, self.go = name, log, threading.Semaphore(0)

    def __call__(self, subject, emit):
        self.log.append(self.name)
        for step in range(100):
            emit("new", {"step": step})
            assert self.go.acquire(timeout=20)
        return {}


@pytest.fixture
def made(live_folder, monkeypatch):
    monkeypatch.setattr(Subject, "open", lambda study, model, device: "the model")
    engine = Engine(live_folder, limits=Limits(queue=2))
    yield engine
    engine.close()


def test_jobs_run_one_after_another_and_hear_their_places(made):
    log, people = [], [Heard() for _ in range(3)]
    works = [Writing(name, log) for name in "abc"]
    jobs = [made.submit(works[0], people[0].events.put)]
    people[0].until("new")
    jobs += [made.submit(work, one.events.put) for work, one in zip(works[1:], people[1:], strict=True)]
    assert people[1].until("queued")[-1].data["place"] == 1
    assert people[2].until("queued")[-1].data["place"] == 2
    with pytest.raises(Busy, match="2 requests wait"):
        made.submit(Writing("d", log), Heard().events.put)
    jobs[0].cancel()
    works[0].go.release()
    assert people[0].until("cancelled")
    assert people[2].until("queued")[-1].data["place"] == 1
    people[1].until("new")
    assert log == ["a", "b"]
    for work in works[1:]:
        work.go.release(200)
    assert people[1].until("done")
    assert people[2].until("done")
    assert log == ["a", "b", "c"]


def test_a_stop_ends_the_writing_at_the_next_token(made):
    person, work = Heard(), Writing("a", [])
    job = made.submit(work, person.events.put)
    person.until("new")
    work.go.release()
    person.until("new")
    job.cancel()
    work.go.release()
    assert [event.kind for event in person.until("cancelled")] == ["cancelled"]


def test_who_gave_up_waiting_is_passed_over_and_makes_room(made):
    log, people = [], [Heard() for _ in range(4)]
    works = [Writing(name, log) for name in "abcd"]
    made.submit(works[0], people[0].events.put)
    people[0].until("new")
    gone = made.submit(works[1], people[1].events.put)
    made.submit(works[2], people[2].events.put)
    gone.cancel()
    made.submit(works[3], people[3].events.put)
    for work in works:
        work.go.release(200)
    people[3].until("done")
    assert log == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("too\nlong"), "too long"), (KeyError("x"), "failed with KeyError")]
)
def test_a_failure_is_one_sentence_and_the_next_is_served(made, error, said, capsys):
    def fails(subject, emit):
        raise error

    person, next_one = Heard(), Heard()
    made.submit(fails, person.events.put)
    assert said in person.until("error")[-1].data["message"]
    made.submit(lambda subject, emit: {"subject": subject}, next_one.events.put)
    assert next_one.until("done")[-1].data == {"subject": "the model"}


def test_a_listener_that_is_gone_ends_its_job(made):
    told = threading.Event()

    def deaf(event):
        told.set()
        raise RuntimeError("Event loop is closed")

    person = Heard()
    work = Writing("a", [])
    made.submit(work, deaf)
    assert told.wait(20)
    work.go.release()
    made.submit(lambda subject, emit: {}, person.events.put)
    assert person.until("done")


def test_a_model_that_cannot_be_opened_is_said(live_folder, monkeypatch):
    def fails(study, model, device):
        raise FileNotFoundError("there is no model")

    monkeypatch.setattr(Subject, "open", fails)
    engine = Engine(live_folder)
    engine._thread.join(20)
    assert engine.state.problem == "the model cannot be opened: there is no model"
    with pytest.raises(Busy, match="there is no model"):
        engine.submit(lambda subject, emit: {}, print)
