"""The monitor: a pasted text or chat, coloured by what it wakes, with turns, alarms, and a gallery of scenes."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import Response

from analysis.browser.live.asked import Limits
from analysis.browser.live.engine import Busy, Engine, State
from analysis.browser.live.reading import Pasted, reading_work
from analysis.browser.live.stream import engine_of, refused, streamed, whole
from analysis.browser.queries.bench import Choice, choices
from analysis.browser.rendering import NotHere, Pages, StoreHere, json_response

Form = Literal["story", "chat"]


@dataclass(frozen=True)
class SceneLink:
    """A scene of the gallery."""

    kind: str
    name: str
    expected: list[str]
    """Concepts that it should wake, and its twin should not."""


@dataclass(frozen=True)
class MonitorPage:
    """What the page shows before anything is read."""

    engine: State | None
    start: str
    text: str
    """Of the scene in the address, or the address' own."""
    scene: SceneLink | None
    form: str
    twin: bool
    rules: list[str]
    shown: list[str]
    """Concepts to colour by, strongest wish first."""
    choices: list[Choice]
    scenes: list[SceneLink]
    limits: Limits


@dataclass(frozen=True)
class TokenLevels:
    text: str
    document: int
    turn: int
    """-1 for a template's marks."""
    token: int
    levels: dict[int, float]
    """{place in `concepts`: dose units}, as far as above zero."""
    percentiles: dict[int, float]
    """The share of the reference's tokens, in percent, whose level is lower; silence is at 0."""


@dataclass(frozen=True)
class Parted:
    concept: str
    kind: str
    inside: float
    outside: float


@dataclass(frozen=True)
class TurnLevels:
    document: int
    turn: int
    speaker: str
    n_tokens: int
    mean: dict[str, float]
    peak: dict[str, float]
    peak_percentile: dict[str, float]
    diverges: list[Parted]


@dataclass(frozen=True)
class AlarmSeen:
    document: int
    token: int
    turn: int
    rule: str
    mean: float
    threshold: float
    at: int
    """The place in `tokens`."""


@dataclass(frozen=True)
class Usual:
    source: str
    tokens: int


@dataclass(frozen=True)
class Reading:
    """A text as the monitor reads it."""

    concepts: list[str]
    tokens: list[TokenLevels]
    turns: list[TurnLevels]
    alarms: list[AlarmSeen]
    reference: Usual
    usual: list[list[float]]
    """Of each concept the 95th and the 99th percentile of means over five tokens of the reference, dose units."""


def register(pages: Pages) -> None:
    @pages.page("/monitor", "monitor.html.j2", MonitorPage)
    def monitor(
        request: Request,
        store: StoreHere,
        scene: Annotated[str, Query(max_length=100)] = "",
        form: Form = "story",
        twin: bool = False,
        text: Annotated[str, Query(max_length=8000)] = "",
        rule: Annotated[list[str] | None, Query()] = None,
        concept: Annotated[list[str] | None, Query()] = None,
    ) -> MonitorPage:
        engine: Engine | None = request.app.state.engine
        scenes: list[SceneLink] = []
        shown_scene = None
        if engine is not None:
            text, scenes, shown_scene = _gallery(scene, form, twin, text)
        shown = concept or (shown_scene.expected if shown_scene else [])
        return MonitorPage(
            engine.state if engine else None, f"saes browse {store.folder.name} --live", text, shown_scene, form, twin,
            rule or [], shown, choices(store), scenes, engine.limits if engine else Limits(),
        )  # fmt: skip

    @pages.router.post("/monitor/stream", tags=["live"], responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(request: Request, pasted: Pasted) -> Response:
        """Server-sent events: queued, progress, and at last done (with what /monitor.json answers), error or cancelled."""
        try:
            engine = engine_of(request)
            return streamed(engine, reading_work(pasted.checked(engine.limits), engine.limits))
        except (ValueError, Busy) as error:
            return refused(error)

    @pages.router.post("/monitor.json", response_model=Reading, tags=["live"])
    async def read(request: Request, pasted: Pasted) -> Response:
        """The same in one answer."""
        try:
            engine = engine_of(request)
            _, last = await whole(engine, reading_work(pasted.checked(engine.limits), engine.limits), request)
        except (ValueError, Busy) as error:
            return refused(error)
        if last.kind != "done":
            return refused(ValueError(last.data.get("message", "the request was cancelled")))
        return json_response(last.data)


def _gallery(name: str, form: Form, twin: bool, text: str) -> tuple[str, list[SceneLink], SceneLink | None]:
    """The text to read, all scenes, and the one that is meant."""
    from analysis.cases.scenes import load_scenes  # loads torch, which an app with a model has anyway

    scenes = load_scenes()
    links = [SceneLink(one.kind.replace("_", " "), one.name, list(one.expected)) for one in scenes]
    if not name:
        return text, links, None
    if name not in [one.name for one in links]:
        raise NotHere(f"there is no scene {name!r}: the gallery on /monitor lists them")
    at = [one.name for one in links].index(name)
    held: Any = scenes[at]
    if form == "story":
        return (held.story_twin if twin else held.story), links, links[at]
    messages = held.chat_twin if twin else held.chat
    return "\n".join(json.dumps(message, ensure_ascii=False) for message in messages), links, links[at]
