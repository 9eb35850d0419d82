"""The first page: what it counts, and its map in a real browser."""

from collections import Counter

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.study import Study


@pytest.fixture
def address(small_study, served):
    return served(create_app(small_study))


def test_counts_are_the_tables_own(small_study):
    page = TestClient(create_app(small_study), base_url="http://127.0.0.1").get("/index.json").json()
    labels = [one for one in Study.open(small_study).read("labels") if one.chosen]
    assert {one["status"]: one["n"] for one in page["statuses"]} == dict(Counter(one.status for one in labels))
    assert page["n_labels"] == len(labels) == len(page["marks"]) + len(page["unrated"])
    assert {one["concept"]: one["status"] for one in page["marks"]}.items() <= {
        one.concept: one.status for one in labels
    }.items()
    rejected = {one.concept for one in labels if one.status == "rejected"}
    assert {name for reason in page["rejected"] for name in reason["concepts"]} <= rejected


def test_the_map_draws_a_mark_for_each_label_and_says_what_it_is(address, browser_page):
    browser_page.goto(address + "/")
    browser_page.locator("#map svg").wait_for()
    marks = browser_page.evaluate("saesChart.data('map-data').marks")
    at = browser_page.evaluate(
        """() => { const chart = echarts.getInstanceByDom(document.getElementById('map')),
        mark = saesChart.data('map-data').marks[0];
        return chart.convertToPixel('grid', [mark.valence, mark.arousal]); }"""
    )
    box = browser_page.locator("#map").bounding_box()
    browser_page.mouse.move(box["x"] + at[0], box["y"] + at[1])
    tip = browser_page.locator(".tip")
    tip.wait_for()
    assert tip.locator("b").inner_text() in {mark["concept"] for mark in marks}
    browser_page.mouse.click(box["x"] + at[0], box["y"] + at[1])
    browser_page.wait_for_url(lambda url: "/features/" in url or "/concepts/" in url)


def test_a_marked_region_leads_to_its_features(address, browser_page):
    browser_page.goto(address + "/")
    browser_page.locator("#map svg").wait_for()
    browser_page.click("#brush")
    box = browser_page.locator("#map").bounding_box()
    browser_page.mouse.move(box["x"] + 60, box["y"] + 50)
    browser_page.mouse.down()
    browser_page.mouse.move(box["x"] + box["width"] - 40, box["y"] + box["height"] - 60, steps=5)
    browser_page.mouse.up()
    link = browser_page.locator("#brushed a")
    link.wait_for()
    marked = int(browser_page.locator("#brushed").inner_text().split()[0])
    assert marked > 0
    link.click()
    browser_page.wait_for_url("**/features?valence_from=*")
    assert browser_page.locator("tr[data-row]").count() > 0


def test_the_switch_of_colours_is_remembered(address, browser_page):
    browser_page.goto(address + "/")
    ground = "getComputedStyle(document.body).backgroundColor"
    browser_page.click("#theme")
    light = browser_page.evaluate(ground)
    browser_page.click("#theme")
    dark = browser_page.evaluate(ground)
    assert light != dark
    browser_page.goto(address + "/features")
    assert browser_page.evaluate(ground) == dark
    assert browser_page.get_attribute("#theme", "aria-label") == "Colours: dark"
