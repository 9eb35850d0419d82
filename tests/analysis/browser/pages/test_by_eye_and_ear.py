"""Cases, comparison, notes and method in a browser: axe finds no serious fault, nothing is wider than a phone."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe

from analysis.browser.app import create_app
from analysis.study import Study
from tests.analysis.browser.case_material import with_cases, with_other_cases

PATHS = (
    "/cases", "/cases/workshop", "/cases/dose", "/cases/coding", "/cases/apology", "/cases/workshop/episodes/0",
    "/cases/coding/episodes/0", "/cases/apology/episodes/1", "/compare", "/notes", "/method", "/other/cases/harsh-or-sweet",
)  # fmt: skip


@pytest.fixture
def address(small_study, built_study, tmp_path, served):
    with_other_cases(with_cases(Study.open(small_study)))
    app = create_app(small_study, other=shutil.copytree(built_study, tmp_path / "other"))
    app.state.notes.put("feature", 4711, "a word", 1)
    return served(app)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_no_serious_fault_and_nothing_is_too_wide(address, browser_page, colours):
    browser_page.emulate_media(color_scheme=colours)
    browser_page.set_viewport_size({"width": 390, "height": 800})
    for path in PATHS:
        browser_page.goto(address + path)
        found = Axe().run(browser_page).response["violations"]
        serious = [
            (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
        ]  # fmt: skip
        assert serious == [], path
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_episodes_are_walked_by_keys(address, browser_page):
    browser_page.goto(f"{address}/cases/workshop?outcome=cheated")
    browser_page.keyboard.press("j")
    browser_page.keyboard.press("Enter")
    browser_page.get_by_role("heading", name="Episode 0").wait_for()
    browser_page.keyboard.press("n")
    browser_page.get_by_role("heading", name="Episode 1").wait_for()
    assert browser_page.url.endswith("?outcome=cheated")
    browser_page.keyboard.press("ArrowLeft")
    assert browser_page.locator(".part:visible").count() == 2
