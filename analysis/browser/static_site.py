"""A study as files: the app's own pages as a site that opens from disk, and each feature as one page by itself."""

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from posixpath import dirname, relpath
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode

from tqdm import tqdm

from analysis.browser import case_figures
from analysis.browser.pages.feature import the_feature
from analysis.browser.pages.method import the_method
from analysis.browser.queries.cases import Filters, case_list, case_page
from analysis.browser.queries.concept_facts import concept_facts
from analysis.browser.queries.concepts import concept, concept_list
from analysis.browser.queries.episodes import episode
from analysis.browser.queries.features import FeatureRow, Wanted, feature_rows, feature_table, ordered_latents
from analysis.browser.queries.overview import overview
from analysis.browser.queries.store import Store
from analysis.browser.rendering import STATIC, Pages, environment, plain
from analysis.cases.figures import THEMES

MARK = "saes-site.json"
"""Stands in every site of ours: nothing else is ever replaced."""
EMBEDDED = 5000
"""Up to so many features the table is one page that a script filters and sorts; beyond, pages of PAGED rows."""
PAGED = 500
MOST_TRANSCRIPTS = 2000
"""Of each case."""
GONE = "gone:"
"""Stands for the address of a page that is not among the files; such a link becomes plain text."""
LINKS = re.compile(rf'<a\b[^>]*\bhref="{GONE}[^"]*"[^>]*>(.*?)</a>', re.S)
LIVE = {
    "/bench": ("Clamp bench", "Clamped text is written by the model itself, so this page needs the app", "saes browse {study} --live"),
    "/monitor": ("Monitor", "A text is read by the model itself, so this page needs the app", "saes browse {study} --live"),
    "/compare": ("Compare", "Two studies stand side by side in the app", "saes browse {study} --compare OTHER_STUDY"),
    "/notes": ("Notes", "Notes are kept by the app, beside the study", "saes browse {study}"),
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    folder: Path
    features: int
    files: int
    """Pages, with those of single features."""
    left_out: list[str]
    """What the site does not hold, in sentences."""


@dataclass(frozen=True)
class LivePage:
    """What stands where the app has a page that files cannot be."""

    title: str
    sentence: str
    command: str


@dataclass(frozen=True)
class StaticFeatures:
    """The table of features, all of it or one page of many."""

    rows: list[FeatureRow]
    total: int
    page: int
    pages: int
    concepts: list[str]
    families: list[str]
    statuses: list[str]
    has_curves: bool
    filtered: bool
    """Whether a script filters and sorts: all rows are here."""
    values: list[dict[str, Any]] = field(default_factory=list)
    """What a row is filtered and sorted by; empty where the table is paged."""


@dataclass(frozen=True)
class Links:
    """How pages that are files point at each other."""

    here: str
    """This page's file."""
    files: Mapping[str, str]
    """address -> file, from the site's root."""
    alone: bool = False
    """Whether the page goes without the others."""
    interactive: bool = False

    def url(self, path: str, **query: Any) -> str:
        pairs = [(name, value) for name, value in query.items() if value not in (None, "")]
        exact = path + ("?" + urlencode(pairs, doseq=True) if pairs else "")
        file = self.files.get(exact) or self.files.get(path)
        if self.alone or file is None:
            return GONE
        found = quote(relpath(file, dirname(self.here) or "."))
        filtered = path == "/features" and pairs and exact not in self.files  # the table's script reads them
        return found + ("?" + urlencode(pairs, doseq=True) if filtered else "")

    def static(self, name: str) -> str:
        return f"{GONE}{name}" if self.alone else quote(relpath(f"static/{name}", dirname(self.here) or "."))

    def twin(self, path: str, query: str) -> str | None:
        return None if self.alone else quote(_twin(self.here).rpartition("/")[2])


@dataclass(frozen=True)
class Sheet:
    """One page to be written."""

    address: str
    template: str
    make: Any
    """A function without arguments: what the page shows."""


def write_site(
    study: str | Path, out: str | Path, only: Literal["all", "labelled"] = "all", progress: bool = True
) -> Site:
    """Writes the site whole: it is made beside ``out`` and takes its place at the end.

    only: "labelled" leaves out the features of latents that are in no chosen label. Raises ValueError where ``out`` is there
    and is no site of ours, FileNotFoundError and ValueError as `Study.open` does.
    """
    out = Path(out)
    _refuse(out)
    store = Store(study)
    part = out.with_name(f"{out.name}.part-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        found = replace(_write(store, part, only, progress), folder=out)
        _take_place(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        store.close()
    return found


def _write(store: Store, folder: Path, only: str, progress: bool) -> Site:
    latents = [int(one) for one in ordered_latents(store, Wanted())]
    if only == "labelled":
        held = {one for row in store.rows("SELECT latents FROM labels WHERE chosen") for one in row["latents"]}
        latents = [one for one in latents if one in held]
    figures = _write_figures(store, folder)
    left_out: list[str] = []
    sheets = [*_table(store, latents), *_sheets(store, latents, figures, left_out)]
    files = {sheet.address: file_of(sheet.address) for sheet in sheets} | figures
    pages = Pages(environment())
    shutil.copytree(STATIC, folder / "static", ignore=shutil.ignore_patterns("__pycache__"))
    for sheet in tqdm(sheets, desc="pages", unit="page", disable=not progress):
        page = sheet.make()
        text = _rendered(pages, store, sheet, page, Links(files[sheet.address], files))
        _put(folder / files[sheet.address], _unlinked(text))
        twin = json.dumps(plain(page), ensure_ascii=False, allow_nan=False)
        _put(folder / _twin(files[sheet.address]), twin)
        if sheet.template == "feature.html.j2":
            text = _rendered(pages, store, sheet, page, Links("alone.html", files, alone=True))
            _put(folder / "single" / single_name(page.latent, page.card.concepts if page.card else []), alone(text))
    info = store.info
    mark = {
        "study": info.site,
        "sae_hash": info.sae_hash,
        "version": info.version,
        "features": len(latents),
        "left_out": left_out,
    }
    _put(folder / MARK, json.dumps(mark, indent=1) + "\n")
    return Site(folder, len(latents), len(sheets) + len(latents), left_out)


def _sheets(
    store: Store, latents: Sequence[int], figures: Mapping[str, str], left_out: list[str]
) -> Iterator[Sheet]:  # fmt: skip
    """Every page but the table of features."""
    yield Sheet("/", "overview.html.j2", lambda: overview(store))
    yield Sheet("/method", "method.html.j2", lambda: the_method(store))
    for path, (title, sentence, command) in LIVE.items():
        page = LivePage(title, sentence, command.format(study=store.folder.name))
        yield Sheet(path, "live.html.j2", lambda page=page: page)
    for latent in latents:
        yield Sheet(f"/features/{latent}", "feature.html.j2", lambda latent=latent: the_feature(store, latent))
    yield Sheet("/concepts", "concepts.html.j2", lambda: concept_list(store))
    for row in store.rows("SELECT DISTINCT concept FROM labels WHERE chosen ORDER BY concept"):
        name = row["concept"]
        yield Sheet(f"/concepts/{quote(name, safe='')}", "concept.html.j2", lambda name=name: concept(store, name))
    yield Sheet("/cases", "cases.html.j2", lambda: _with_figures(store, figures))
    for head in case_list(store).cases:
        yield from _case_sheets(store, head.name, figures, left_out)


def _case_sheets(store: Store, name: str, figures: Mapping[str, str], left_out: list[str]) -> Iterator[Sheet]:
    address = f"/cases/{quote(name, safe='')}"
    first = case_page(store, name, Filters(), 1)
    assert first is not None
    drawn = f"{address}.svg?theme=light" in figures
    some = first.transcripts
    for number in range(1, (some.pages if some else 1) + 1):
        yield Sheet(
            address if number == 1 else f"{address}?page={number}", "case.html.j2",
            lambda number=number: _case(store, name, number, drawn),
        )  # fmt: skip
        if some and (number - 1) * len(some.rows) >= MOST_TRANSCRIPTS:
            break
    if not some:
        return
    if some.found > MOST_TRANSCRIPTS:
        left_out.append(f"{name}: the first {MOST_TRANSCRIPTS:,} of {some.found:,} transcripts have pages")
    for number in range(min(some.found, MOST_TRANSCRIPTS)):
        yield Sheet(
            f"{address}/episodes/{number}", "episode.html.j2", lambda number=number: episode(store, name, number, Filters())
        )  # fmt: skip


def _case(store: Store, name: str, number: int, drawn: bool) -> Any:
    found = case_page(store, name, Filters(), number)
    assert found is not None
    return replace(found, figure=drawn)


def _with_figures(store: Store, figures: Mapping[str, str]) -> Any:
    """The list of cases, with the figures that could be drawn."""
    found = case_list(store)
    return replace(
        found, cases=[replace(one, figure=f"/cases/{quote(one.name, safe='')}.svg?theme=light" in figures) for one in found.cases]
    )  # fmt: skip


def _write_figures(store: Store, folder: Path) -> dict[str, str]:
    """Draws the cases' figures; address -> file."""
    found = {}
    for head in case_list(store).cases:
        for theme in THEMES:
            drawn = case_figures.figure(store, head.name, theme) if head.ran else None
            if drawn is not None:
                address = f"/cases/{quote(head.name, safe='')}.svg?theme={theme}"
                found[address] = f"cases/{slug(head.name)}-{theme}.svg"
                (folder / "cases").mkdir(exist_ok=True)
                (folder / found[address]).write_bytes(drawn)
    return found


def _table(store: Store, latents: Sequence[int]) -> Iterator[Sheet]:
    """The table of features: one page with a script, or pages in the order of AUROC."""
    about = feature_table(store, Wanted())
    per = max(1, len(latents)) if len(latents) <= EMBEDDED else PAGED
    pages = max(1, -(-len(latents) // per))

    def page(number: int) -> StaticFeatures:
        rows = feature_rows(store, list(latents[(number - 1) * per : number * per]))
        return StaticFeatures(
            rows, len(latents), number, pages, about.concepts, about.families, [one.name for one in about.statuses], about.has_curves,
            pages == 1, _values(store, rows) if pages == 1 else [],
        )  # fmt: skip

    for number in range(1, pages + 1):
        address = "/features" if number == 1 else f"/features?page={number}"
        yield Sheet(address, "static_features.html.j2", lambda number=number: page(number))


def _values(store: Store, rows: Sequence[FeatureRow]) -> list[dict[str, Any]]:
    facts = concept_facts(store)
    found = []
    for row in rows:
        about = [facts[name] for name in row.concepts if name in facts]
        found.append(
            {
                "latent": row.latent, "concept": row.concepts, "family": [one.family for one in about if one.family],
                "status": row.status or "no label", "auroc": row.auroc, "effect": row.effect, "lexical": row.lexical,
                "density": row.density, "peak": row.peak, "valence": [one.valence for one in about if one.valence is not None],
                "arousal": [one.arousal for one in about if one.arousal is not None],
                "text": " ".join([str(row.latent), *row.concepts, row.explanation or "", *row.promoted]).lower(),
            }
        )  # fmt: skip
    return found


def _rendered(pages: Pages, store: Store, sheet: Sheet, page: Any, links: Links) -> str:
    return pages.render(sheet.template, page, links, sheet.address.partition("?")[0], store=store)


def _unlinked(text: str) -> str:
    """Links to pages that are not there become their text. Text of a study cannot look like one: it is escaped."""
    return LINKS.sub(r"\1", text)


def alone(text: str) -> str:
    """A page in one file: styles and scripts inside, no way to other pages, and a policy that lets nothing else in."""
    text = re.sub(r"<nav\b[^>]*>.*?</nav>", "", text, flags=re.S)
    text = re.sub(rf'<a class="button" href="{GONE}[^"]*">.*?</a>', "", text, flags=re.S)
    text = _unlinked(text)
    hashes = []

    def style(found: re.Match[str]) -> str:
        return f"<style>\n{(STATIC / found[1]).read_text(encoding='utf-8')}</style>"

    def script(found: re.Match[str]) -> str:
        if found[1].startswith("vendor/htmx"):
            return ""
        content = (STATIC / found[1]).read_text(encoding="utf-8")
        assert "</script" not in content, found[1]
        hashes.append(base64.b64encode(hashlib.sha256(content.encode()).digest()).decode())
        return f"<script>{content}</script>"

    text = re.sub(rf'<link rel="stylesheet" href="{GONE}([^"]+)">', style, text)
    text = re.sub(rf'<script src="{GONE}([^"]+)"(?: defer)?></script>', script, text)
    text = re.sub(rf'<link rel="icon" href="{GONE}[^"]+"[^>]*>\n?', "", text)
    text = re.sub(r'<meta name="htmx-config"[^>]*>\n?', "", text)
    scripts = " ".join(f"'sha256-{one}'" for one in hashes) or "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}; img-src data:; base-uri 'none'; form-action 'none'"
    return text.replace(
        '<meta charset="utf-8">', f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1
    )  # fmt: skip


def file_of(address: str) -> str:
    """Where an address's page is: "/" → "index.html", "/features/307" → "features/307.html"."""
    path, _, query = address.partition("?")
    parts = [slug(unquote(one)) for one in path.split("/") if one] or ["index"]
    return "/".join(parts) + ("-" + slug(query.replace("=", "-")) if query else "") + ".html"


def single_name(latent: int, concepts: Sequence[str]) -> str:
    """ "afraid-307.html"."""
    return f"{slug(concepts[0]) if concepts else 'latent'}-{latent}.html"


def slug(name: str) -> str:
    """A name of which every file system and every address makes the same; other names never get the same one."""
    found = "".join(one if one in "abcdefghijklmnopqrstuvwxyz0123456789-" else f"_{ord(one):x}_" for one in name)
    return found if len(found) <= 100 else f"{found[:60]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _twin(file: str) -> str:
    return file.removesuffix(".html") + ".json"


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _refuse(out: Path) -> None:
    """ValueError where something stands there that is no site of ours."""
    if out.is_dir() and not out.is_symlink() and ((out / MARK).is_file() or not any(out.iterdir())):
        return
    if out.exists() or out.is_symlink():
        raise ValueError(f"{out} is there and is no site that this tool wrote: name a folder that is not there yet")


def _take_place(part: Path, out: Path) -> None:
    old = out.with_name(f"{out.name}.old-{os.getpid()}")
    if out.exists():
        os.replace(out, old)
    try:
        os.replace(part, out)
    except OSError:
        if old.exists():
            os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
