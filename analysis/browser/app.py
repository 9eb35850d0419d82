"""create_app: the web app over one study, or over two side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from analysis.browser.head import Head
from analysis.browser.notes import Notes
from analysis.browser.pages import (
    bench,
    cases,
    comparison,
    concepts,
    feature,
    features,
    method,
    monitor,
    notes,
    overview,
)
from analysis.browser.queries.store import DamagedTable, Store
from analysis.browser.rendering import OTHER, STATIC, NotHere, Pages, Problem, WrongInput, environment, json_response
from analysis.browser.safety import LOOPBACK, Safety

EVERY_STUDY = (overview, features, feature, concepts, cases, method)
"""Pages that each of two studies has."""
ONCE = (comparison, notes, bench, monitor)
TITLES = {
    400: "That cannot be used",
    404: "Not here",
    405: "Not that way",
    422: "That cannot be used",
    500: "Our mistake",
    503: "This part of the study cannot be read",
}


def create_app(
    study: str | Path,
    *,
    other: str | Path | None = None,
    live: Any = None,
    token: str | None = None,
    hosts: Sequence[str] = LOOPBACK,
    notes_file: str | Path | None = None,
) -> FastAPI:
    """The app over a study folder. Opens no model, and loads no torch, unless ``live`` brings one.

    other: a second study, shown under /other/ and compared. live: the engine that writes clamped text, or None. token:
    wanted from every visitor where given. hosts: names that a request may call this machine by. notes_file: the
    user's notes, by default notes.sqlite in the study. Raises FileNotFoundError and ValueError as `Study.open` does.
    """
    app = FastAPI(
        title="emotion-saes",
        summary="Emotion features of a sparse autoencoder: every page's data as JSON.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.store = Store(study)
    app.state.other = Store(other) if other is not None else None
    app.state.engine = live
    beside = app.state.store.folder / "notes.sqlite"
    app.state.notes = Notes(notes_file if notes_file is not None else beside, app.state.store.info.sae_hash)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    first = Pages(environment())
    for part in (*EVERY_STUDY, *ONCE):
        part.register(first)
    app.include_router(first.router)
    if other is not None:
        second = Pages(environment(), OTHER)
        for part in EVERY_STUDY:
            part.register(second)
        app.include_router(second.router)
    _answer_errors(app, first)
    app.add_middleware(Safety, hosts=tuple(hosts), token=token)
    app.add_middleware(Head)  # the last one is the outermost
    return app


def _answer_errors(app: FastAPI, pages: Pages) -> None:
    """Each error as one sentence: a page for people, JSON for programs."""

    def answer(request: Request, status: int, sentence: str) -> Response:
        problem = Problem(status, TITLES.get(status, f"Status {status}"), sentence)
        wants = request.headers.get("accept", "")
        if request.url.path.endswith(".json") or ("application/json" in wants and "text/html" not in wants):
            return json_response(problem, status)
        return pages.html(request, "problem.html.j2", problem, status)

    @app.exception_handler(NotHere)
    def not_here(request: Request, error: NotHere) -> Response:
        return answer(request, 404, str(error))

    @app.exception_handler(WrongInput)
    def wrong_input(request: Request, error: WrongInput) -> Response:
        return answer(request, 400, str(error))

    @app.exception_handler(DamagedTable)
    def damaged(request: Request, error: DamagedTable) -> Response:
        return answer(request, 503, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg'].lower()}" for one in error.errors())
        return answer(request, 422, said)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        sentence = f"there is no page {request.url.path}" if error.status_code == 404 else str(error.detail).lower()
        found = answer(request, error.status_code, sentence)
        found.headers.update(error.headers or {})
        return found

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        return answer(request, 500, f"failed with {type(error).__name__}; the terminal says where")
