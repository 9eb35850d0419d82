"""One language model with its dictionary, held by one thread, and a queue in front of it.

engine = Engine(study)
job = engine.submit(work, tell)     # work(subject, emit); tell(event) is called from the engine's thread
job.cancel()                        # at the next token

Whoever waits hears its place whenever that changes. `import analysis.browser.live.engine` loads no torch: the model is
opened by the engine's own thread.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.browser.live.asked import Limits
from analysis.browser.live.runs import Runs
from analysis.study import Study

if TYPE_CHECKING:
    from analysis.browser.live.subject import Subject


@dataclass(frozen=True)
class Event:
    """Something that happened to a job. The last one of a job is "done", "error" or "cancelled"."""

    kind: str
    data: dict[str, Any]

    @property
    def last(self) -> bool:
        return self.kind in ("done", "error", "cancelled")


Emit = Callable[[str, dict[str, Any]], None]
"""Tells whoever asked what happened; raises Cancelled where nobody listens any more."""
Work = Callable[["Subject", Emit], dict[str, Any]]
"""What a job does with the model; its answer is the data of "done"."""


class Busy(Exception):
    """The queue is full, or the model cannot be opened; the text says so."""


class Cancelled(Exception):
    """Whoever asked is gone."""


@dataclass(eq=False)
class Job:
    """One request, from the queue to its last event."""

    work: Work
    tell: Callable[[Event], None]
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ends it: at once where it waits, at the next token where it runs."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        if self.cancelled:
            raise Cancelled
        self._told(Event(kind, data))

    def _told(self, event: Event) -> None:
        try:
            self.tell(event)
        except RuntimeError:  # the loop that listened is closed
            self.cancel()


@dataclass(frozen=True)
class State:
    """Where the engine stands, for a page."""

    model: str
    ready: bool
    problem: str | None
    """Why the model could not be opened."""
    waiting: int
    """Requests in the queue, the one that is being served included."""
    chat: bool
    """Whether the model can be talked to in turns."""
    context: int | None
    """Tokens that a prompt and what is written after it may have together; None while the model is being opened."""


class Engine:
    """See above. The model is the study's own unless another is given."""

    def __init__(
        self, study: str | Path | Study, model: str | None = None, device: str = "auto", limits: Limits | None = None
    ):
        self.study = study if isinstance(study, Study) else Study.open(study)
        self.model, self.device, self.limits = model, device, limits or Limits()
        self.subject: Subject | None = None
        self.problem: str | None = None
        self.runs = Runs()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="live model", daemon=True)
        self._thread.start()

    @property
    def state(self) -> State:
        subject = self.subject
        with self._changed:
            waiting = len(self._waiting) + (self._running is not None)
        name = self.model or self.study.info.model
        if subject is None:
            return State(name, False, self.problem, waiting, False, None)
        return State(name, True, None, waiting, subject.chat, subject.model.context)

    def submit(self, work: Work, tell: Callable[[Event], None]) -> Job:
        """Puts ``work`` into the queue. Raises Busy where that is full."""
        job = Job(work, tell)
        with self._changed:
            if self.problem is not None:
                raise Busy(self.problem)
            self._waiting = deque(one for one in self._waiting if not one.cancelled)
            if self._closed or len(self._waiting) >= self.limits.queue:
                raise Busy(f"{len(self._waiting)} requests wait for the model already: try again in a while")
            self._waiting.append(job)
            place = len(self._waiting) - (self._running is None)
            if place or self.subject is None:
                job._told(Event("queued", {"place": place, "loading": self.subject is None}))
            self._changed.notify_all()
        return job

    def close(self) -> None:
        """Ends what runs and what waits, and the thread."""
        with self._changed:
            self._closed = True
            for job in [*self._waiting, *([self._running] if self._running else [])]:
                job.cancel()
            self._changed.notify_all()
        self._thread.join(timeout=30)

    # ---- the engine's own thread

    def _serve(self) -> None:
        try:
            from analysis.browser.live.subject import Subject

            self.subject = Subject.open(self.study, self.model, self.device)
        except Exception as error:  # whatever it is stands on the page: the rest of the app needs no model
            with self._changed:
                self.problem = f"the model cannot be opened: {_sentence(error)}"
                for waiting in self._waiting:
                    waiting._told(Event("error", {"message": self.problem}))
                self._waiting.clear()
            return
        while (job := self._next()) is not None:
            job._told(self._done(job))
            with self._changed:
                self._running = None

    def _next(self) -> Job | None:
        with self._changed:
            while True:
                if self._closed:
                    return None
                while self._waiting:
                    first = self._waiting.popleft()
                    if first.cancelled:
                        first._told(Event("cancelled", {}))
                        continue
                    self._running = first
                    for place, other in enumerate(self._waiting, start=1):
                        other._told(Event("queued", {"place": place, "loading": False}))
                    return first
                self._changed.wait()

    def _done(self, job: Job) -> Event:
        assert self.subject is not None
        try:
            return Event("done", job.work(self.subject, job.emit))
        except Cancelled:
            return Event("cancelled", {})
        except (ValueError, FileNotFoundError, PermissionError) as error:
            return Event("error", {"message": _sentence(error)})
        except Exception as error:  # the next in the queue must not suffer for it
            import traceback

            traceback.print_exc()
            return Event("error", {"message": f"failed with {type(error).__name__}; the terminal says where"})


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
