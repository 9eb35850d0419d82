"""The static site: every link leads to a file, nothing of a hostile study runs, and it opens from disk in a browser."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from analysis.browser import static_site
from analysis.browser.static_site import MARK, file_of, single_name, slug, write_site
from analysis.records import FeatureCard
from analysis.study import Study
from tests.analysis.browser.case_material import with_cases
from tests.analysis.browser.conftest import PLANTED, build
from tests.analysis.report.filled_study import HOSTILE


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The small study, with cases, as files; read only."""
    folder = tmp_path_factory.mktemp("site")
    study = with_cases(build(folder / "study"))
    return write_site(study.folder, folder / "out", progress=False)


class Addresses(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        self.links += [given[name] for name in ("href", "src", "action") if given.get(name)]


def pages(folder):
    return {path: Addresses(path.read_text()) for path in folder.rglob("*.html")}


def test_every_link_leads_to_a_file(site):
    found = pages(site.folder)
    assert len(found) == site.files
    for path, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            assert (parts.scheme, parts.netloc, parts.path[:1] == "/") == ("", "", False), (path, link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)


def test_every_page_but_single_ones_has_its_values_beside_it(site):
    for path in site.folder.rglob("*.html"):
        if "single" not in path.parts:
            json.loads(path.with_suffix(".json").read_text())
    feature = json.loads((site.folder / "features" / f"{PLANTED}.json").read_text())
    assert feature["latent"] == PLANTED


def test_nothing_of_a_hostile_study_is_markup(site):
    for path in site.folder.rglob("*.html"):
        assert HOSTILE not in path.read_text(), path


def test_live_parts_say_how_to_start_them(site):
    assert "saes browse study --live" in (site.folder / "bench.html").read_text()
    assert "--compare OTHER_STUDY" in (site.folder / "compare.html").read_text()


def test_a_single_page_needs_nothing_beside_it(site):
    text = (site.folder / "single" / f"latent-{PLANTED}.html").read_text()
    page = Addresses(text)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert re.search(r"<script\b[^>]*\bsrc=", text) is None
    assert "script-src 'sha256-" in text
    assert "<style>" in text


def test_only_labelled_features_when_asked(built_study, tmp_path):
    found = write_site(built_study, tmp_path / "out", "labelled", progress=False)
    assert not (tmp_path / "out" / "features" / f"{PLANTED}.html").exists()
    assert 0 < found.features < 60
    for page in pages(tmp_path / "out").values():
        assert not any(f"{PLANTED}.html" in link for link in page.links)


def test_many_features_are_paged(built_study, tmp_path, monkeypatch):
    monkeypatch.setattr(static_site, "EMBEDDED", 10)
    monkeypatch.setattr(static_site, "PAGED", 40)
    found = write_site(built_study, tmp_path / "out", progress=False)
    first = (tmp_path / "out" / "features.html").read_text()
    assert first.count("<tr data-row>") == 40
    assert 'rel="next" href="features-page-2.html"' in first
    assert (tmp_path / "out" / f"features-page-{-(-found.features // 40)}.html").exists()
    assert not (tmp_path / "out" / f"features-page-{-(-found.features // 40) + 1}.html").exists()


def test_more_transcripts_than_pages_are_said(small_study, tmp_path, monkeypatch):
    monkeypatch.setattr(static_site, "MOST_TRANSCRIPTS", 4)
    monkeypatch.setattr("analysis.browser.queries.cases.ROWS", 3)
    with_cases(Study.open(small_study))
    found = write_site(small_study, tmp_path / "out", "labelled", progress=False)
    assert found.left_out == ["workshop: the first 4 of 9 transcripts have pages"]
    assert sorted(path.name for path in (tmp_path / "out/cases/workshop/episodes").glob("*.html")) == [
        "0.html", "1.html", "2.html", "3.html",
    ]  # fmt: skip
    for path, page in pages(tmp_path / "out").items():
        for link in page.links:
            if "episodes" in link:
                assert (path.parent / urlsplit(link).path).resolve().is_file()


def test_an_older_site_is_replaced_and_nothing_else_is(empty_study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_site(empty_study, out, progress=False)
    (out / "left.html").write_text("older")
    write_site(empty_study, out, progress=False)
    assert (out / MARK).exists()
    assert not (out / "left.html").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("mine")
    with pytest.raises(ValueError, match="no site that this tool wrote"):
        write_site(empty_study, other, progress=False)
    assert (other / "chapter.txt").read_text() == "mine"
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(ValueError, match="no site that this tool wrote"):
        write_site(empty_study, tmp_path / "link", progress=False)
    (tmp_path / "link").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "out", "thesis"]


def test_a_failure_leaves_the_older_site_and_no_rest(built_study, empty_study, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write_site(empty_study, out, progress=False)
    before = (out / "index.html").read_text()
    monkeypatch.setattr(static_site, "alone", lambda text: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_site(built_study, out, progress=False)
    assert (out / "index.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "out"]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/", "index.html"), ("/features", "features.html"), ("/features?page=2", "features-page-2.html"),
        ("/features/307", "features/307.html"), ("/concepts/..%2F..%2Fetc", "concepts/_2e__2e__2f__2e__2e__2f_etc.html"),
        ("/concepts/Ärger", "concepts/_c4_rger.html"),
    ],
)  # fmt: skip
def test_an_addresss_file(address, file):
    assert file_of(address) == file


def test_no_two_names_get_one_file():
    names = ["a", "A", "a/b", "a_2f_b", "a b", "a%20b", "x" * 300, "x" * 301, "é", "e\u0301"]
    assert len({slug(name).lower() for name in names}) == len(names)
    assert all(len(slug(name)) < 120 for name in names)
    assert single_name(307, ["afraid", "calm"]) == "afraid-307.html"


def test_it_opens_from_disk_with_a_working_filter(site, browser_page):
    browser_page.goto((site.folder / "index.html").as_uri())
    browser_page.get_by_role("navigation", name="Pages").get_by_role("link", name="Features").click()
    rows = browser_page.locator("#features tbody tr:visible")
    assert rows.count() == site.features
    browser_page.get_by_role("searchbox").fill("quokka")
    browser_page.get_by_text(f"1 of {site.features} features").wait_for()
    assert rows.count() == 1
    assert "q=quokka" in browser_page.url
    browser_page.reload()
    browser_page.get_by_text(f"1 of {site.features} features").wait_for()
    browser_page.get_by_role("button", name="clear all").click()
    browser_page.get_by_role("button", name="latent", exact=True).click()
    numbers = [int(one) for one in browser_page.locator("#features tbody th a").all_inner_texts()]
    assert numbers == sorted(numbers)
    browser_page.get_by_label("Concept").select_option("angry")
    browser_page.get_by_text(f" of {site.features} features").wait_for()
    rows.first.get_by_role("link").first.click()
    browser_page.get_by_role("heading", level=1).get_by_text("Latent").wait_for()
    browser_page.goto((site.folder / "features.html").as_uri() + "?status=rejected")
    assert 0 < rows.count() < site.features


def test_single_pages_cases_and_episodes_open_from_disk(site, browser_page):
    browser_page.goto((site.folder / "single" / f"latent-{PLANTED}.html").as_uri())
    assert browser_page.get_by_role("heading", level=1).inner_text().startswith("Latent")
    browser_page.locator("#theme").click()
    assert browser_page.evaluate("document.documentElement.dataset.theme") == "light"
    browser_page.goto((site.folder / "cases" / "workshop.html").as_uri())
    browser_page.get_by_role("link", name="4 → 7").first.click()
    browser_page.get_by_role("button", name="← attempt").click()
    browser_page.get_by_text("attempt 2, step 2 of 3").wait_for()
    assert browser_page.locator(".part:visible").count() == 2
    assert "#step-2" in browser_page.url
    browser_page.keyboard.press("ArrowLeft")
    assert browser_page.locator(".part:visible").count() == 1
    browser_page.get_by_role("button", name="all", exact=True).click()
    assert browser_page.locator(".part:visible").count() == 3


def test_a_table_of_no_cards_is_said(empty_study, tmp_path):
    assert Study.open(empty_study).read("cards", FeatureCard) == []
    write_site(empty_study, tmp_path / "out", progress=False)
    assert "no cards yet" in (tmp_path / "out" / "features.html").read_text()
