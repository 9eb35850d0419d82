"""create_app: every page and its twin, errors in sentences, two studies side by side."""

from fastapi.testclient import TestClient

from analysis.browser.app import create_app


def client(app) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_a_real_browser_opens_the_overview(small_study, served, browser_page):
    browser_page.goto(served(create_app(small_study)) + "/")
    assert "Overview" in browser_page.title()
    assert browser_page.locator("nav a[aria-current=page]").inner_text() == "Overview"
