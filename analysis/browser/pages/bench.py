"""The clamp bench: a prompt, sliders for labels and latents, and the text left alone and clamped beside each other."""

from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from analysis.browser.live.asked import Asked, Limits, whole_letters
from analysis.browser.live.engine import Busy, Emit, Engine, State, Work
from analysis.browser.live.stream import engine_of, refused, streamed, whole
from analysis.browser.queries.bench import Choice, Pushable, choices, pushable, safe, saved, statistics
from analysis.browser.queries.store import Store
from analysis.browser.rendering import NotHere, Pages, StoreHere, WebLinks, WrongInput, json_response
from analysis.records import BenchRun
from saes.written_intervention import MODES, NAMED_POSITIONS

REACH = 4.0
"""Dose units that a slider reaches either way at least."""
AT_FIRST = 2.0
"""Dose units at which a label begins, where that is safe."""


@dataclass(frozen=True)
class Slider:
    """A clamp of the address, or one that was just chosen."""

    what: Pushable
    mode: str
    value: float
    unit: str
    """"dose" or "raw"; of a scale "factor"."""
    low: float
    high: float
    """Where the slider ends."""


@dataclass(frozen=True)
class Bench:
    """What the page shows before anything is written."""

    engine: State | None
    """None where the app runs without the model."""
    start: str
    """The command that starts it with the model."""
    asked: Asked
    sliders: list[Slider]
    problem: str | None
    """Why the address cannot be used as it is."""
    choices: list[Choice]
    modes: list[str]
    positions: list[str]
    limits: Limits
    saved: list[BenchRun]


@dataclass(frozen=True)
class Lines:
    """What was asked, in other words."""

    address: str
    """Of this page: it shares the whole state."""
    command_line: str
    python: str | None
    """None where the app runs without the model."""
    problem: str | None
    """Why it cannot be written so; None where it can."""


@dataclass(frozen=True)
class Token:
    text: str
    levels: dict[str, float]
    """Of labels that read more than zero, in dose units; before the clamp acts."""


@dataclass(frozen=True)
class Written:
    """The text left alone, and clamped."""

    baseline: str
    clamped: str
    tokens_baseline: list[Token]
    tokens_clamped: list[Token]
    seconds: float
    run: str
    """Under which it can be saved."""


def asked_in_address(
    prompt: str = "",
    turn: Annotated[list[str] | None, Query()] = None,
    clamp: Annotated[list[str] | None, Query()] = None,
    positions: str = "all",
    temperature: float = 0.7,
    top_p: float = 0.95,
    seed: int = 0,
    tokens: int = 60,
    beyond: bool = False,
) -> Asked:
    return Asked(prompt, turn or [], clamp or [], positions, temperature, top_p, seed, tokens, beyond)


def slider_of(store: Store, text: str) -> Slider:
    """A clamp as the address writes it. ValueError for what is none, or names nothing."""
    if "=" not in text and ":" not in text:  # a name that was just chosen
        what = pushable(store, text)
        most = what.safe_high if what.safe_high and what.safe_high > 0 else 1.0
        return _slider(what, "set", floor(100 * min(AT_FIRST, most)) / 100, "dose" if what.unit else "raw")
    (edit,) = Asked(clamp=[text]).edits()
    what = pushable(store, edit.label or str(edit.latents[0]))
    value, unit = (edit.value.number, edit.value.unit) if edit.value else (0.0, "dose")
    return _slider(what, edit.mode, value, unit)


def _slider(what: Pushable, mode: str, value: float, unit: str) -> Slider:
    if mode == "scale":
        return Slider(what, mode, value, unit, 0.0, max(REACH, value))
    reach = REACH if unit == "dose" else 5 * REACH
    low = min(-reach, 1.25 * (what.safe_low or 0.0), value)
    high = max(reach, 1.25 * (what.safe_high or 0.0), value)
    return Slider(what, mode, value, unit, round(low, 1), round(high, 1))


def register(pages: Pages) -> None:
    @pages.page("/bench", "bench.html.j2", Bench)
    def bench(request: Request, store: StoreHere, asked: Annotated[Asked, Depends(asked_in_address)]) -> Bench:
        engine: Engine | None = request.app.state.engine
        sliders, problem = [], None
        for text in asked.clamp:
            try:
                sliders.append(slider_of(store, text))
            except ValueError as error:
                problem = str(error)
        return Bench(
            engine.state if engine else None, f"saes browse {_shown(store.folder)} --live", asked, sliders, problem,
            choices(store), list(MODES), list(NAMED_POSITIONS), engine.limits if engine else Limits(), saved(store),
        )  # fmt: skip

    @pages.router.get("/bench/slider", response_class=HTMLResponse, tags=["pages"])
    def slider(request: Request, store: StoreHere, name: Annotated[str, Query(max_length=200)]) -> Response:
        """A slider as a piece of the page."""
        try:
            return pages.html(request, "slider.html.j2", slider_of(store, name), modes=MODES)
        except ValueError as error:
            raise WrongInput(str(error)) from None

    @pages.router.get("/bench/feature.json", response_model=Pushable, tags=["data"])
    def feature(store: StoreHere, name: Annotated[str, Query(max_length=200)]) -> Response:
        """What one dose unit of a label or a latent is, and which doses are safe."""
        try:
            return json_response(pushable(store, name))
        except ValueError as error:
            raise NotHere(str(error)) from None

    @pages.router.get("/bench/engine.json", response_model=State | None, tags=["data"])
    def engine_state(request: Request) -> Response:
        """Where the model stands, and how many wait for it; null where the app runs without."""
        engine: Engine | None = request.app.state.engine
        return json_response(engine.state if engine else None)

    @pages.router.post("/bench/lines.json", response_model=Lines, tags=["data"])
    def lines(request: Request, store: StoreHere, asked: Asked) -> Response:
        """The same as an address, as a line for the terminal, and as Python."""
        engine: Engine | None = request.app.state.engine
        place, model = _shown(store.folder), engine.model if engine else None
        address = ""
        try:
            whole_letters(asked.prompt, asked.positions, *asked.turn, *asked.clamp)
            address = "/bench" + _query(asked)
            asked.checked(engine.limits if engine else Limits())
            line = asked.command_line(place, model)
            if engine is None:
                return json_response(Lines(address, line, None, None))
            clamps = asked.clamps(statistics(store, asked.latents()), safe(store))
            return json_response(Lines(address, line, asked.python(place, clamps, model), None))
        except ValueError as error:
            return json_response(Lines(address, "", None, str(error)))

    @pages.router.post("/bench/stream", tags=["live"], responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(request: Request, store: StoreHere, asked: Asked) -> Response:
        """Server-sent events: queued, concepts, prompt, new (a step's tokens), read (their levels), and at last done,
        error or cancelled. The writing ends with the connection."""
        try:
            engine = engine_of(request)
            return streamed(engine, _work(engine, store, asked))
        except (ValueError, Busy) as error:
            return refused(error)

    @pages.router.post("/bench.json", response_model=Written, tags=["live"])
    async def written(request: Request, store: StoreHere, asked: Asked) -> Response:
        """The same in one answer."""
        try:
            engine = engine_of(request)
            before, last = await whole(engine, _work(engine, store, asked), request)
        except (ValueError, Busy) as error:
            return refused(error)
        if last.kind != "done":
            return refused(ValueError(last.data.get("message", "the request was cancelled")))
        return json_response(_gathered(before, last.data))

    @pages.router.post("/bench/save.json", response_model=BenchRun, tags=["live"])
    def save(request: Request, run: Annotated[str, Body(embed=True, max_length=40)]) -> Response:
        """Keeps a text that was just written in the study's table `bench`."""
        try:
            engine = engine_of(request)
            return json_response(engine.runs.save(engine.study, run))
        except KeyError:
            raise NotHere(f"there is no run {run[:40]!r} that could be saved: write the text again") from None
        except PermissionError:
            return refused(Busy("the study cannot be written to"))
        except Busy as error:
            return refused(error)


def _work(engine: Engine, store: Store, asked: Asked) -> Work:
    """Raises ValueError for what cannot be done."""
    asked.checked(engine.limits)
    known = statistics(store, asked.latents())
    ranges = safe(store)

    def work(subject: Any, emit: Emit) -> dict[str, Any]:
        from analysis.browser.live.bench import write

        pushed = asked.clamps(known, ranges)
        found = write(subject, emit, asked, known, engine.limits)
        latents = sorted({latent for clamp in pushed for latent in clamp.latents})
        prompt = asked.prompt or "\n".join(asked.turn)
        run = BenchRun("", "", prompt, asked.clamp, latents, asked.positions, asked.temperature, asked.seed,
                       found["baseline"], found["clamped"], _query(asked))  # fmt: skip
        return {**found, "run": engine.runs.remember(run)}

    return work


def _gathered(events: list[Any], last: dict[str, Any]) -> Written:
    """What a stream told, row by row."""
    names = next(event.data["concepts"] for event in events if event.kind == "concepts")
    texts: list[list[str]] = [[], []]
    levels: list[list[dict[str, float]]] = [[], []]
    for event in events:
        if event.kind == "again":
            texts = [[], []]
        if event.kind == "new":
            for row, text in enumerate(event.data["text"]):
                if text is not None:
                    texts[row].append(text)
        if event.kind == "read":
            for row, some in enumerate(event.data["levels"]):
                if some is not None:
                    levels[row].append({names[label]: level for label, level in some.items()})
    rows = [
        [Token(text, some) for text, some in zip(mine, [*read, {}], strict=False)]
        for mine, read in zip(texts, levels, strict=True)
    ]
    return Written(last["baseline"], last["clamped"], rows[0], rows[1], last["seconds"], last["run"])


def _query(asked: Asked) -> str:
    return WebLinks().url("", **asked.query())


def _shown(folder: Path) -> str:
    """As a person in this terminal would write it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
