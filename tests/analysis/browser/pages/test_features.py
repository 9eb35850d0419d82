"""The table of features as a page and as files; its keys, search and filters in a real browser."""

import csv
import io
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from tests.analysis.browser.conftest import PLANTED


@pytest.fixture
def client(small_study):
    return TestClient(create_app(small_study), base_url="http://127.0.0.1")


@pytest.fixture
def address(small_study, served):
    return served(create_app(small_study))


def test_fields_of_the_form_that_are_empty_ask_for_nothing(client):
    everything = client.get("/features.json").json()
    assert client.get("/features.json?q=&concept=&auroc_from=&density_to=&family=").json() == everything


@pytest.mark.parametrize(
    "query",
    ["auroc_from=nan", "auroc_from=inf", "page=0", "page=x", "sort=secret", "per=7", f"q={'x' * 201}", "sort=--auroc"],
)
def test_what_cannot_be_asked_is_said(client, query):
    assert client.get(f"/features.json?{query}").status_code == 422


def test_links_share_the_view(client):
    text = client.get("/features?q=lamp&sort=density&per=25").text
    following = re.search(r'<a rel="next" href="([^"]+)"', text)
    assert parse_qs(urlsplit(unescape(following[1])).query) == {
        "q": ["lamp"],
        "sort": ["density"],
        "per": ["25"],
        "page": ["2"],
    }
    assert 'name="q" value="lamp"' in text
    assert "/features/500?q=lamp&amp;sort=density&amp;per=25" in text


def test_downloads_hold_every_row_of_the_view_in_its_order(client):
    query = "?q=lamp&sort=-density"
    expected = []
    for page in (1, 2, 3):
        expected += [row["latent"] for row in client.get(f"/features.json{query}&per=25&page={page}").json()["rows"]]
    expected = list(dict.fromkeys(expected))
    as_csv = list(csv.DictReader(io.StringIO(client.get(f"/features/download/csv{query}").text)))
    as_json = client.get(f"/features/download/json{query}").json()
    parquet = client.get(f"/features/download/parquet{query}")
    as_parquet = pq.read_table(io.BytesIO(parquet.content)).to_pylist()
    assert [int(row["latent"]) for row in as_csv] == expected
    assert [row["latent"] for row in as_json] == expected
    assert [row["latent"] for row in as_parquet] == expected
    assert as_json == as_parquet
    assert 'filename="features.parquet"' in parquet.headers["content-disposition"]


def test_a_download_of_nothing_is_an_empty_file(client):
    assert client.get("/features/download/json?q=nowhereatall").json() == []
    assert client.get("/features/download/csv?q=nowhereatall").text.startswith("latent,")
    assert pq.read_table(io.BytesIO(client.get("/features/download/parquet?q=nowhereatall").content)).num_rows == 0


def test_typing_searches_and_the_address_holds_it(address, browser_page):
    browser_page.goto(f"{address}/features")
    browser_page.fill("#q", "wombat")
    browser_page.wait_for_url("**/features?q=wombat")
    row = browser_page.locator("tr[data-row]")
    row.first.wait_for()
    assert row.count() == 1
    assert str(PLANTED) in row.inner_text()
    browser_page.reload()
    assert browser_page.input_value("#q") == "wombat"
    assert browser_page.locator("tr[data-row]").count() == 1


def test_a_filter_is_applied_at_once_and_can_be_gone_back_from(address, browser_page):
    browser_page.goto(f"{address}/features")
    before = browser_page.locator("#found [role=status]").inner_text()
    browser_page.click("summary:has-text('Filters')")
    browser_page.check("input[name=status][value=validated]")
    browser_page.wait_for_url("**status=validated*")
    browser_page.wait_for_function(
        "before => document.querySelector('#found [role=status]').innerText !== before", arg=before
    )
    shown = browser_page.locator("tr[data-row] .status").all_inner_texts()
    assert {text.strip() for text in shown} == {"validated"}
    browser_page.go_back()
    browser_page.wait_for_function(
        "before => document.querySelector('#found [role=status]').innerText === before", arg=before
    )


def test_keys_move_over_the_rows_and_open_one(address, browser_page):
    browser_page.goto(f"{address}/features?sort=latent")
    browser_page.keyboard.press("/")
    assert browser_page.evaluate("document.activeElement.id") == "q"
    browser_page.keyboard.press("Escape")
    for _ in range(3):
        browser_page.keyboard.press("j")
    browser_page.keyboard.press("k")
    latent = browser_page.locator("tr[data-row] th a").nth(1).inner_text()
    assert browser_page.evaluate("document.activeElement.innerText") == latent
    browser_page.keyboard.press("Enter")
    browser_page.wait_for_url(f"**/features/{latent}?**")


def test_the_table_works_without_scripts(address, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/features")
    page.fill("#q", "wombat")
    page.click("button:has-text('Search')")
    assert page.locator("tr[data-row]").count() == 1
    context.close()
