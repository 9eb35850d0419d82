"""Many questions to a language model: several at once, at a pace, again after a hitch or an answer that cannot be read."""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from analysis.explaining.cache import AnswerCache, request_hash
from analysis.explaining.llm import LLM, Hitch, Messages

LONGEST_WAIT = 300.0
"""Seconds; a server that asks for more (a daily quota) ends the run."""
FAILED_IN_A_ROW = 3
"""So many requests that failed for good, without one answered between them: nobody is there."""
GRACE = 5.0
"""Seconds that answers under way get after Ctrl-C."""
LOOK_UP = 0.2
"""Seconds between two looks up from waiting. A wait without end sleeps through a Ctrl-C that arrives just before it
begins, or that the system hands to another thread: only a signal that reaches this thread as it sleeps wakes it."""


@dataclass(frozen=True)
class Question:
    messages: Messages
    read: Callable[[str], Any]
    """The answer's value; ValueError says what is wrong with an answer that cannot be read."""
    form: str
    """What an answer should look like: said again after one that cannot be read."""
    max_tokens: int = 512


@dataclass(frozen=True)
class Reply:
    value: Any
    """None where no answer could be read, or none came."""
    n_asked: int
    """Answers that it took, from the cache or not."""
    n_malformed: int


class BudgetSpent(Exception):
    """As many requests were sent as the run may send."""


class Budget:
    """Counts the requests that are sent, tries included."""

    def __init__(self, most: int | None = None):
        self.most, self.spent = most, 0
        self._lock = threading.Lock()

    def take(self) -> None:
        with self._lock:
            if self.most is not None and self.spent >= self.most:
                raise BudgetSpent(f"the budget of {self.most} requests is spent")
            self.spent += 1


class Gate:
    """Lets one request through every so many seconds, and none for a while after a server asked for quiet."""

    def __init__(self, per_minute: float | None = None):
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def delay(self) -> float:
        """Seconds that the next request has to wait; its turn is then taken."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
            return start - now

    def hold(self, seconds: float) -> None:
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


@dataclass
class Asking:
    """How a run asks; shared by all its questions, whichever model they go to."""

    cache: AnswerCache
    budget: Budget = field(default_factory=Budget)
    gate: Gate = field(default_factory=Gate)
    parallel: int = 4
    tries: int = 6
    """Of one request, while it meets hitches; waits between them double from one second on."""
    readings: int = 3
    """Answers to one question, while they cannot be read."""
    wait: Callable[[threading.Event, float], Any] = threading.Event.wait
    """Waits so many seconds, or until the run is stopped."""

    def __post_init__(self) -> None:
        self._failed_in_a_row = 0

    def ask_all(self, llm: LLM, questions: Iterable[Question]) -> Iterator[tuple[int, Reply]]:
        """(place of the question, its reply), as they come.

        What is answered is in the cache at once. Raises BudgetSpent after the last reply that it paid for, and
        ValueError when the model cannot be asked; then, and after Ctrl-C, answers under way are waited for a little.
        """
        waiting, lock, stop = iter(enumerate(questions)), threading.Lock(), threading.Event()
        done: queue.SimpleQueue[tuple[int, Reply] | BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                while not stop.is_set():
                    with lock:
                        place, question = next(waiting, (-1, None))
                    if question is None:
                        break
                    done.put((place, self._reply(llm, question, stop)))
                done.put(None)
            except BaseException as error:
                done.put(error)

        threads = [
            threading.Thread(target=work, daemon=True) for _ in range(max(1, self.parallel) if llm.parallel else 1)
        ]
        for thread in threads:
            thread.start()
        finished, spent = 0, None
        try:
            while finished < len(threads):
                found = _next(done)
                if found is None or isinstance(found, BudgetSpent):
                    finished, spent = finished + 1, found or spent
                elif isinstance(found, BaseException):
                    raise found
                else:
                    yield found
        finally:
            stop.set()
            until = time.monotonic() + GRACE
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
        if spent is not None:
            raise spent

    def _reply(self, llm: LLM, question: Question, stop: threading.Event) -> Reply:
        """The question's value; an answer that cannot be read is asked for again, with what was wrong with it."""
        messages = question.messages
        for malformed in range(self.readings):
            try:
                answer = self._answer(llm, messages, question.max_tokens, stop)
            except ValueError:
                if not malformed:
                    raise
                answer = (
                    None  # the talk has grown too long for the model; whatever else it is, the next question meets it
                )
            if answer is None:
                return Reply(None, malformed, malformed)
            try:
                return Reply(question.read(answer), malformed + 1, malformed)
            except ValueError as error:
                again = f"That could not be read: {error}. Answer again, with nothing but {question.form}"
                messages = (*messages, ("assistant", answer[:2000]), ("user", again))
        return Reply(None, self.readings, self.readings)

    def _answer(self, llm: LLM, messages: Messages, max_tokens: int, stop: threading.Event) -> str | None:
        """From the cache, else from the model; None where every try met a hitch."""
        request = request_hash(llm, messages, max_tokens)
        if (known := self.cache.get(request)) is not None:
            return known
        reason = ""
        for attempt in range(self.tries):
            self.wait(stop, self.gate.delay())
            if stop.is_set():
                return None
            self.budget.take()
            try:
                answer = llm.ask(messages, max_tokens)
            except Hitch as hitch:
                reason = str(hitch)
                if hitch.wait is not None and hitch.wait > LONGEST_WAIT:
                    raise ValueError(f"{reason}; it asks to wait {hitch.wait:.0f} s") from None
                if attempt + 1 < self.tries:
                    self._pause(hitch.wait, attempt, stop)
                continue
            self._failed_in_a_row = 0
            self.cache.put(request, answer)
            return answer
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILED_IN_A_ROW:
            raise ValueError(f"{reason}; {self.tries} tries each of {FAILED_IN_A_ROW} requests failed")
        return None

    def _pause(self, asked: float | None, attempt: int, stop: threading.Event) -> None:
        """Before another try: as long as the server asked (then every request waits), else twice as long each time."""
        if asked:
            self.gate.hold(asked)
        else:
            self.wait(stop, 2.0**attempt * random.uniform(0.75, 1.25))


def _next(done: queue.SimpleQueue[Any]) -> Any:
    """What comes next; a Ctrl-C is noticed within LOOK_UP.

    A function of its own: where a loop begins with `try`, CPython 3.11 leaves the instruction at which a signal's handler
    is run out of the `finally` around the loop.
    """
    while True:
        try:
            return done.get(timeout=LOOK_UP)
        except queue.Empty:
            pass
