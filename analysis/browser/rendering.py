"""How a page is made: the Jinja environment, the formats of numbers, and `Pages`, which gives each page its JSON twin."""

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from markupsafe import Markup

from analysis.browser.queries.store import Store
from analysis.browser.sparks import curve_spark, histogram_spark
from analysis.records import StudyInfo
from analysis.report.svg import legend_mark

STATIC = Path(__file__).parent / "static"
OTHER = "/other"
"""Where the pages of the second study stand."""

SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}


class NotHere(Exception):
    """What was asked for does not exist; the text says what there is instead. Becomes a page or JSON with status 404."""


class WrongInput(Exception):
    """What the visitor sent cannot be used; the text says what would do. Becomes a page or JSON with status 400."""


@dataclass(frozen=True)
class Problem:
    """What a page, or its twin, says when there is nothing to show."""

    status: int
    title: str
    sentence: str


def store_here(request: Request) -> Store:
    """The study that the address is about: the second one below /other/, else the first."""
    path = request.url.path
    state = request.app.state
    return state.other if state.other and (path == OTHER or path.startswith(OTHER + "/")) else state.store


StoreHere = Annotated[Store, Depends(store_here)]


@dataclass(frozen=True)
class WebLinks:
    """How the pages of the running app point at each other; the static export has its own way."""

    prefix: str = ""
    interactive: bool = True
    """Whether there is a server that forms, filters and streams can ask."""

    def url(self, path: str, **query: Any) -> str:
        """The address of a page of the same study: ``url("/features/307")``, ``url("/features", q="afraid")``."""
        return self.prefix + path + _query(query)

    def static(self, name: str) -> str:
        """A file under static/, with its version, so that browsers may keep it for ever."""
        return f"/static/{name}?v={version(name)}"

    def twin(self, path: str, query: str) -> str | None:
        """The page's data as JSON."""
        return twin_of(self.prefix + path) + (f"?{query}" if query else "")


@dataclass(frozen=True)
class Chapter:
    """One entry of the navigation."""

    name: str
    path: str


CHAPTERS = (
    Chapter("Overview", "/"),
    Chapter("Features", "/features"),
    Chapter("Concepts", "/concepts"),
    Chapter("Clamp bench", "/bench"),
    Chapter("Monitor", "/monitor"),
    Chapter("Cases", "/cases"),
    Chapter("Compare", "/compare"),
    Chapter("Notes", "/notes"),
)


class Pages:
    """Registers pages: each has an address, a template, and a JSON twin that shows the same values.

    A page is a function that returns a frozen dataclass. It may ask for path and query parameters, `StoreHere` and
    `Request` as any FastAPI endpoint does. Other routes (posts, streams, downloads) go on `.router` directly.
    """

    def __init__(self, environment: Environment, prefix: str = ""):
        self.environment, self.prefix = environment, prefix
        self.router = APIRouter(prefix=prefix)

    def page(self, path: str, template: str, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """GET ``path`` (HTML) and its twin (`twin_of`): the dataclass ``kind`` that the function returns."""
        assert is_dataclass(kind)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            signature = inspect.signature(function)
            asked = next((name for name, one in signature.parameters.items() if one.annotation is Request), None)
            parameters = [one for name, one in signature.parameters.items() if name != asked]
            first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
            ordered = signature.replace(
                parameters=[first, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters)]
            )

            def called(request: Request, values: dict[str, Any]) -> Any:
                return function(**values, **({asked: request} if asked else {}))

            @wraps(function)
            def as_json(request: Request, **values: Any) -> Response:
                return json_response(called(request, values))

            @wraps(function)
            def as_html(request: Request, **values: Any) -> Response:
                return self.html(request, template, called(request, values))

            for endpoint in (as_json, as_html):
                endpoint.__signature__ = ordered  # type: ignore[attr-defined]
                del endpoint.__wrapped__  # type: ignore[attr-defined]
            # the twin first: "/features/{latent}" would take "307.json" for a latent
            self.router.get(twin_of(path), response_model=kind, name=f"{function.__name__}_json", tags=["data"])(
                as_json
            )
            self.router.get(path, response_class=HTMLResponse, name=function.__name__, tags=["pages"])(as_html)
            return function

        return register

    def html(self, request: Request, template: str, page: Any, status: int = 200, **more: Any) -> HTMLResponse:
        """A template with the page's values, as the running app serves it."""
        links = WebLinks(self.prefix)
        path = request.url.path.removeprefix(self.prefix) or "/"
        text = self.render(
            template, page, links, path, request.url.query, store=store_here(request), live=request.app.state.engine,
            other=request.app.state.other, notes=None if self.prefix else request.app.state.notes, **more,
        )  # fmt: skip
        return HTMLResponse(text, status)

    def render(
        self, template: str, page: Any, links: Any, path: str, query: str = "", *, store: Store | None,
        live: Any = None, other: Store | None = None, **more: Any,
    ) -> str:  # fmt: skip
        """A template as text. Templates see ``page``, ``url``, ``static``, ``path``, ``twin``, ``info``, ``live``."""
        return self.environment.get_template(template).render(
            page=page,
            links=links,
            url=links.url,
            static=links.static,
            path=path,
            twin=links.twin(path, query),
            info=_info(store),
            live=live is not None,
            other=_info(other),
            in_other=self.prefix == OTHER,
            chapters=CHAPTERS,
            **more,
        )


def _info(store: Store | None) -> StudyInfo | None:
    """None also where study.json was damaged since: the page that says so has to be shown all the same."""
    try:
        return store.info if store else None
    except (ValueError, FileNotFoundError):
        return None


def twin_of(path: str) -> str:
    """Where a page's JSON is: "/" → "/index.json", "/features/307" → "/features/307.json"."""
    return (path.rstrip("/") or "/index") + ".json"


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Dataclasses and plain values as JSON; a number that could not be computed is null."""
    body = json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode()
    return Response(body, status, dict(headers or {}), media_type="application/json")


def plain(value: Any) -> Any:
    """JSON's own types: dataclasses become objects, NaN and infinities null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


@cache
def version(name: str) -> str:
    """The beginning of a static file's hash."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


@cache
def environment() -> Environment:
    """The templates: everything is escaped, an unknown name is an error."""
    made = Environment(
        loader=PackageLoader("analysis.browser"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "signed": signed,
        "interval": interval,
        "count": count,
        "percent": percent,
        "kind": css_kind,
        "legend_mark": lambda status: Markup(legend_mark(status)),
        "json_block": json_block,
        "visible": visible,
        "token": token,
        "histogram_spark": lambda row: histogram_spark(row.histogram, f"firing strengths of latent {row.latent}"),
        "curve_spark": lambda row: curve_spark(
            list(zip(row.doses, row.judged, strict=True)), f"dose curve of {row.concepts[0]}" if row.concepts else ""
        ),
        "segment": lambda text: quote(str(text), safe=""),
    }
    made.globals["changed"] = changed
    return made


def number(value: float | None, digits: int = 2) -> str:
    """0.84; what is not known is a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """+0.84, \u22120.84; what is nothing once it is rounded has no sign."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:+.{digits}f}".replace("-", "\u2212") if round(value, digits) else f"{0:.{digits}f}"


def interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """0.84 [0.78, 0.90]."""
    if value is None or low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def count(value: int | None) -> str:
    """131 072, with a narrow space that does not break."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def percent(value: float | None, digits: int = 1) -> str:
    """4.2 %, with as many digits as a small share needs."""
    if value is None or not math.isfinite(value):
        return "–"
    share = 100 * value
    return f"{share:.2g}\u202f%" if 0 < abs(share) < 1 else f"{share:.{digits}f}\u202f%"


def visible(token: str) -> str:
    """A token's text with the characters that nobody would see, or that would turn the line round, as signs."""
    return "".join(
        SIGNS.get(letter) or (letter if letter.isprintable() else f"\\u{ord(letter):04x}") for letter in token
    )


def token(text: str) -> str:
    """A token by itself: a space at its edge and a line's end are seen."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥")
    inner = shown.strip(" ")
    return shown if inner == shown else shown.replace(" ", "␣")


def css_kind(status: str) -> str:
    """A status as the end of a class name: "no effect" → "no-effect"."""
    return "".join(letter if letter.isalnum() else "-" for letter in status.lower())


def json_block(value: Any, name: str) -> Markup:
    """Data for a static script: an inert block that no text in it can end."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(text))


@pass_context
def changed(context: Any, given: Mapping[str, Any], **changes: Any) -> str:
    """The page's own address with some of its query changed; None takes a parameter out."""
    return context["links"].url(context["path"], **{**given, **changes})


def _query(values: Mapping[str, Any]) -> str:
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if one is not None and one != "":
                pairs.append((key, str(one)))
    return "?" + urlencode(pairs) if pairs else ""
