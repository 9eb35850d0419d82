"""Notes and thumbs: what the user wrote, all of it on one page, and the box on each feature's and concept's page."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import parse_qs, quote

from fastapi import Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from analysis.browser.notes import THUMBS, Note, Notes, as_csv, as_json
from analysis.browser.queries.store import Store
from analysis.browser.rendering import NotHere, Pages, StoreHere, WrongInput, json_response

Kind = Literal["feature", "concept"]
MOST_FIELDS = 20
FORM = {
    "requestBody": {
        "content": {
            kind: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "text": {"type": "string", "maxLength": 10_000},
                        "thumb": {"type": "string", "enum": list(THUMBS)},
                        "remove": {"type": "string"},
                    },
                }
            }
            for kind in ("application/x-www-form-urlencoded", "application/json")
        }
    }
}


@dataclass(frozen=True)
class NoteRow:
    note: Note
    path: str
    """Of the page that it is about."""
    of_other_sae: bool
    """Whether it was written when the study was about another SAE."""


@dataclass(frozen=True)
class NotesPage:
    rows: list[NoteRow]
    total: int
    """Notes, whatever is asked for."""
    file: str
    kind: str
    thumb: str


@dataclass(frozen=True)
class NoteHere:
    """The box by itself, as it stands after a change."""

    note_kind: str
    note_name: str


async def form_here(request: Request) -> dict[str, str]:
    """The fields of a posted form, or of a JSON object."""
    body = (await request.body()).decode("utf-8", "replace")
    sort = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if sort == "application/json":
            held = json.loads(body)
            if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
                raise WrongInput("a note is an object of texts: text, thumb")
            return held
        if sort not in ("", "application/x-www-form-urlencoded"):
            raise WrongInput("a note comes as a form (application/x-www-form-urlencoded) or as JSON")
        fields = parse_qs(body, keep_blank_values=True, max_num_fields=MOST_FIELDS)
        return {name: values[-1] for name, values in fields.items()}
    except (ValueError, RecursionError) as error:
        raise WrongInput(f"this is no form of a note: {str(error)[:200]}") from error


FormHere = Annotated[dict[str, str], Depends(form_here)]


def register(pages: Pages) -> None:
    @pages.page("/notes", "notes.html.j2", NotesPage)
    def notes_page(
        request: Request, store: StoreHere, kind: Literal["", "feature", "concept"] = "",
        thumb: Annotated[Literal["", "up", "down", "none"], Query()] = "",
    ) -> NotesPage:  # fmt: skip
        notes: Notes = request.app.state.notes
        found = notes.all()
        shown = [
            one for one in found if (not kind or one.kind == kind) and (not thumb or one.thumb == THUMBS[thumb])
        ]  # fmt: skip
        rows = [NoteRow(one, path_of(one.kind, one.name), one.sae_hash != store.info.sae_hash) for one in shown]
        return NotesPage(rows, len(found), notes.path.name, kind, thumb)

    @pages.router.get("/notes/download/{kind}", response_class=Response, tags=["data"])
    def notes_file(request: Request, kind: Literal["csv", "json"]) -> Response:
        """All notes as a file."""
        found = request.app.state.notes.all()
        text, media = (as_csv(found), "text/csv") if kind == "csv" else (as_json(found), "application/json")
        headers = {"content-disposition": f'attachment; filename="notes.{kind}"'}
        return Response(text, media_type=f"{media}; charset=utf-8", headers=headers)

    @pages.router.post("/notes/{kind}/{name}", tags=["data"], openapi_extra=FORM, response_model=Note)
    def keep_note(request: Request, store: StoreHere, kind: Kind, name: str, form: FormHere) -> Response:
        """Replaces the note on a feature or concept; `remove` takes it away. A form leads back to the page."""
        name = known_thing(store, kind, name)
        notes: Notes = request.app.state.notes
        if form.get("remove"):
            notes.remove(kind, name)
            return answer(pages, request, Note(kind, name))
        thumb = form.get("thumb", "none")
        if thumb not in THUMBS:
            raise WrongInput(f"a thumb is {', '.join(THUMBS)}, got {thumb[:40]!r}")
        try:
            kept = notes.put(kind, name, form.get("text", ""), THUMBS[thumb])
        except ValueError as error:
            if type(error) is not ValueError:  # the file's own trouble is no wrong input
                raise
            raise WrongInput(str(error)) from error
        return answer(pages, request, kept)

    @pages.router.delete("/notes/{kind}/{name}", tags=["data"], response_model=Note)
    def remove_note(request: Request, store: StoreHere, kind: Kind, name: str) -> Response:
        """Takes the note on a feature or concept away."""
        name = name if kind == "concept" else str(latent_in(name))
        request.app.state.notes.remove(kind, name)
        return answer(pages, request, Note(kind, name))


def answer(pages: Pages, request: Request, note: Note) -> Response:
    """The box anew for htmx, the note for programs, the page for a form that was sent without scripts."""
    if request.headers.get("hx-request") == "true":
        return pages.html(request, "notes_box.html.j2", NoteHere(note.kind, note.name))
    wants = request.headers.get("accept", "")
    if request.method == "DELETE" or ("application/json" in wants and "text/html" not in wants):
        return json_response(note)
    return RedirectResponse(path_of(note.kind, note.name) + "#note", 303)


def path_of(kind: str, name: str) -> str:
    """The page of what a note is about."""
    return f"/{'features' if kind == 'feature' else 'concepts'}/{quote(name, safe='')}"


def known_thing(store: Store, kind: Kind, name: str) -> str:
    """The name of a latent or concept that the study knows, as its notes are filed; NotHere for another."""
    if kind == "concept":
        if store.value("SELECT 1 FROM labels WHERE concept = ? LIMIT 1", [name]) is None:
            raise NotHere(f"no label of this study is of the concept {name[:80]!r}")
        return name
    latent = latent_in(name)
    if store.value("SELECT 1 FROM cards WHERE latent = ? LIMIT 1", [latent]) is None:
        raise NotHere(f"nothing is known of latent {latent}")
    return str(latent)


def latent_in(name: str) -> int:
    """A latent's number; NotHere for what is none."""
    if not (name.isascii() and name.isdecimal() and len(name) < 19):
        raise NotHere(f"{name[:40]!r} is no latent's number")
    return int(name)
