"""Every page for everybody: axe finds no serious fault, light or dark; nothing scrolls sideways on a narrow screen."""

import pytest

from analysis.browser.app import create_app
from analysis.browser.rendering import CHAPTERS
from tests.analysis.browser.conftest import PLANTED, running

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
PAGES = [
    *(chapter.path for chapter in CHAPTERS), "/features/1", f"/features/{PLANTED}", "/features?q=nothingatall&auroc_from=0.5",
    "/concepts/angry", "/cases/workshop", "/method", "/other/", "/nowhere",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def address(built_study, tmp_path_factory):
    """Both studies are the same one: every part of the app has something to show."""
    notes = tmp_path_factory.mktemp("notes") / "notes.sqlite"
    with running(create_app(built_study, other=built_study, notes_file=notes)) as found:
        yield found


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_serious_fault(address, page, path):
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        page.goto(address + path)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        found = [one for one in axe.Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert [(colours, one["id"], one["nodes"][0]["html"]) for one in found] == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_scrolls_sideways_on_a_narrow_screen(address, page, path):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address + path)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("path", PAGES)
def test_the_first_key_leads_past_the_navigation(address, page, path):
    page.goto(address + path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
