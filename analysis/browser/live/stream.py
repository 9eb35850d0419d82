"""A job's events on their way to whoever asked: as a stream of server-sent events, or the last one alone.

The job ends with the connection: whoever closes the tab, or stops reading, frees the model for the next in the queue.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from analysis.browser.live.engine import Busy, Engine, Event, Job, Work
from analysis.browser.rendering import Problem, json_response, plain

HEARTBEAT = 10.0
"""Seconds without an event after which a line is sent that says nothing, so that nobody in between closes the line."""
LOOK = 0.5
"""Seconds at most between two looks at whether whoever waits for a whole answer is still there."""


class Listener:
    """Events of one job, handed from the engine's thread to the loop of the server."""

    def __init__(self, engine: Engine, work: Work):
        """Raises Busy."""
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Event] = asyncio.Queue()
        self.job: Job = engine.submit(work, self._tell)

    def _tell(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._arrived.put_nowait, event)

    async def next(self, seconds: float) -> Event | None:
        """The next event; None where none came in so long."""
        try:
            return await asyncio.wait_for(self._arrived.get(), seconds)
        except TimeoutError:
            return None


class Stream(StreamingResponse):
    """All events of a job as `text/event-stream`. The job ends with the answer."""

    def __init__(self, listener: Listener):
        super().__init__(_lines(listener), media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._job = listener.job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # not in the lines: of a client that is gone before the headers are out, none is ever asked for
            self._job.cancel()


def streamed(engine: Engine, work: Work) -> Stream:
    """All events of a job on their way. Raises Busy."""
    return Stream(Listener(engine, work))


async def _lines(listener: Listener) -> AsyncIterator[str]:
    while True:
        event = await listener.next(HEARTBEAT)
        if event is None:
            yield ": waiting\n\n"
            continue
        yield as_text(event)
        if event.last:
            return


def as_text(event: Event) -> str:
    """An event as the standard writes it; JSON holds no line break, so that its data is one line."""
    return f"event: {event.kind}\ndata: {json.dumps(plain(event.data), ensure_ascii=False, allow_nan=False)}\n\n"


async def whole(engine: Engine, work: Work, request: Request) -> tuple[list[Event], Event]:
    """What happened, and the last event. Raises Busy."""
    listener = Listener(engine, work)
    before: list[Event] = []
    try:
        while True:
            event = await listener.next(LOOK)
            if event is not None and event.last:
                return before, event
            if await request.is_disconnected():  # at events, too: where they come fast, nothing is ever waited for
                return before, Event("cancelled", {})
            if event is not None:
                before.append(event)
    finally:
        listener.job.cancel()


def engine_of(request: Request) -> Engine:
    """The app's engine; Busy, with what would do, where it has none."""
    engine: Any = request.app.state.engine
    if engine is None:
        raise Busy(
            f"this app runs without the model: start it with `saes browse {request.app.state.store.folder} --live`"
        )
    return engine


def refused(error: Exception) -> Response:
    """The answer to a request that cannot be served, for scripts and programs: one sentence, as JSON."""
    status, title = (503, "Not now") if isinstance(error, Busy) else (400, "That cannot be used")
    return json_response(Problem(status, title, " ".join(str(error).split())), status)
