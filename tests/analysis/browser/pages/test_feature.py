"""The feature page and its twin: what is planted stands there, hostile text stays text, the table's order travels along."""

import json
import re

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.records import BenchRun, Excerpt
from analysis.study import Study
from tests.analysis.browser.conftest import PLANTED
from tests.analysis.report.filled_study import HOSTILE


@pytest.fixture
def client(small_study):
    return TestClient(create_app(small_study), base_url="http://127.0.0.1")


def found(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.json() if ".json" in path else answer.text


def test_a_planted_feature_stands_on_its_page_and_no_other_does(client):
    page = found(client, f"/features/{PLANTED}")
    assert page.count("wombat") >= 6
    assert "quokka" in page
    assert "marsupials" in page
    assert "> lamp<" not in page
    other = found(client, "/features/501")
    assert "> lamp<" in other
    assert "wombat" not in other


def test_excerpts_stand_in_groups_and_by_concept(client):
    twin = found(client, f"/features/{PLANTED}.json")
    assert [group["name"] for group in twin["groups"]] == ["top", "middling", "chance"]
    (top, _), (middling, _), (chance, _) = (group["excerpts"] for group in twin["groups"])
    assert [token["shade"] for token in top["tokens"]] == [0, 5, 20, 0]
    assert max(token["shade"] for token in middling["tokens"]) == 7
    assert not any(token["shade"] for token in chance["tokens"])
    grouped = found(client, f"/features/{PLANTED}.json?excerpts=concept")["groups"]
    assert {group["name"]: len(group["excerpts"]) for group in grouped} == {"afraid": 2, "calm": 2, "neutral": 2}
    page = found(client, f"/features/{PLANTED}")
    assert 'data-value="6.00"' in page
    assert 'data-text="Mia saw wombat&#10;"' in page or 'data-text="Mia saw wombat\n"' in page


def test_a_label_stands_with_every_check_its_rivals_controls_and_reasons(client):
    page = found(client, "/features/21")
    for words in ("checking texts", "difference of means", "Confound panel", "Dose curve of calm", "As a clamp", "Controls",
                  "Necessity", "Provenance", "validated", "safe doses", "sparse probe, k = 4"):  # fmt: skip
        assert words in page, words
    twin = found(client, "/features/21.json")
    (claim,) = twin["evidence"]
    assert claim["label"]["auroc_checking_low"] == 0.62
    assert claim["doses"]["chosen"]["n_controls"] == 79
    assert [point["dose"] for point in claim["doses"]["points"]] == [-4.0, 1.0, 2.0, 4.0]
    assert claim["doses"]["rival"]["arm"] == "diff_means"


def test_hostile_text_stays_text(client):
    for path in (f"/features/{PLANTED}", "/features/11", "/features/21", "/features/1?excerpts=concept"):
        page = found(client, path)
        assert HOSTILE not in page
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
        assert " style=" not in page
        assert not re.search(r"\son[a-z]+=", page.replace(HOSTILE, ""))
    assert HOSTILE in json.dumps(found(client, f"/features/{PLANTED}.json")["card"]["promoted"]).encode().decode(
        "unicode_escape"
    )


def test_previous_and_next_follow_the_table_that_one_comes_from(client):
    asked = "q=lamp&sort=-latent"
    twin = found(client, f"/features/540.json?{asked}")["walk"]
    assert (twin["before"], twin["after"]) == (541, 539)
    assert twin["total"] == 60
    page = found(client, f"/features/540?{asked}")
    assert re.search(r'rel="next" href="/features/539\?q=lamp&amp;sort=-latent"', page)
    outside = found(client, f"/features/{PLANTED}.json?{asked}")["walk"]
    assert outside["place"] is None


def test_neighbours_are_links(client):
    page = found(client, f"/features/{PLANTED}")
    assert '<a href="/features/500">500</a>' in page
    assert [one["latent"] for one in found(client, f"/features/{PLANTED}.json")["neighbours"]] == [500, 501]


@pytest.mark.parametrize("latent", ["999", "-1", "99999999999999999999999999"])
def test_an_unknown_latent_is_said_in_a_sentence(client, latent):
    for path in (f"/features/{latent}", f"/features/{latent}.json"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "saes label --cards all" in answer.text


def test_words_in_place_of_numbers_are_refused(client):
    assert client.get("/features/afraid").status_code == 422
    assert client.get(f"/features/{PLANTED}?excerpts=colour").status_code == 422


def test_a_text_kept_on_the_bench_stands_on_the_pages_of_its_latents(client, small_study):
    run = BenchRun(
        "r", "2026-01-01T00:00:00", "Mia", ["500=2dose"], [500], "all", 0.7, 0, " sat.", f" ran {HOSTILE}", ""
    )
    Study.open(small_study).write("bench", [run])
    assert "Kept from the bench" in found(client, "/features/500")
    assert "Kept from the bench" not in found(client, "/features/501")


def test_a_study_without_excerpts_or_clamps_says_so(client, small_study):
    for table in ("excerpts", "clamps", "curves", "trials", "effects", "necessity"):
        (small_study / f"{table}.parquet").unlink()
    page = found(client, "/features/21")
    assert "None kept" in page
    assert "Not clamped" in page
    assert "validated" in page


def test_signs_stand_for_characters_that_nobody_sees(client, small_study):
    turned = Excerpt(500, 1, "afraid", "checking", ["a\u202eb", "\n"], [0.0, 6.0], 6.0)
    Study.open(small_study).write("excerpts", [turned])
    page = found(client, "/features/500")
    assert "\u202e" not in re.sub(r'data-text="[^"]*"', "", page)
    assert "↵" in page


def test_values_by_keyboard_and_copying_in_a_browser(small_study, served, browser_page):
    """The strongest token of an excerpt takes the focus, the arrows walk on, and the copy is the text itself."""
    from axe_playwright_python.sync_playwright import Axe

    address = served(create_app(small_study))
    browser_page.goto(f"{address}/features/{PLANTED}?q=wombat")
    browser_page.evaluate("() => { window.ran = false; window.alert = () => { window.ran = true; }; }")
    strongest = browser_page.locator(".excerpt .t.heat-20").first
    strongest.focus()
    assert "6.00" in browser_page.evaluate("getComputedStyle(document.activeElement, '::after').content")
    browser_page.keyboard.press("ArrowLeft")
    assert browser_page.evaluate("document.activeElement.dataset.value") == "1.50"
    browser_page.locator(".copy").first.click()
    browser_page.wait_for_function("document.querySelector('.copy').textContent === 'copied'")
    assert browser_page.evaluate("navigator.clipboard.readText()") == "Mia saw wombat\n"
    assert not browser_page.evaluate("window.ran")
    for path in (f"/features/{PLANTED}", "/features/21", "/concepts/calm", "/concepts"):
        browser_page.goto(address + path)
        found = Axe().run(browser_page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], (path, [node["html"] for one in found for node in one["nodes"]][:5])
        browser_page.set_viewport_size({"width": 390, "height": 800})
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= 390, path
        browser_page.set_viewport_size({"width": 1280, "height": 900})
