"""The page of two studies, the pages of the second one, and the method's page."""

import shutil

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.study import Study
from tests.analysis.report.filled_study import HOSTILE


@pytest.fixture
def other_study(built_study, tmp_path):
    other = shutil.copytree(built_study, tmp_path / "other")
    Study.open(other).update_info(model=f"other {HOSTILE}")
    return other


def test_one_study_says_how_to_start_the_page(small_study):
    with TestClient(create_app(small_study), base_url="http://127.0.0.1") as client:
        assert "--compare OTHER_STUDY" in client.get("/compare").text
        assert client.get("/compare.json").json()["other"] is None
        assert client.get("/other/features").status_code == 404


def test_two_studies_stand_beside_each_other(small_study, other_study):
    with TestClient(create_app(small_study, other=other_study), base_url="http://127.0.0.1") as client:
        text = client.get("/compare").text
        assert HOSTILE not in text
        assert 'href="/features/' in text
        assert 'href="/other/features/' in text
        latent = client.get("/compare.json").json()["matched"][0]["other_latents"][0]
        page = client.get(f"/other/features/{latent}")
        assert page.status_code == 200
        assert "Clamp it" not in page.text  # the live model is of the first study
        assert client.get("/other/method").status_code == 200
        for path in ("/bench", "/compare", "/notes"):
            assert f'href="{path}"' in page.text
        assert 'id="note"' not in page.text  # notes are of the first study


def test_the_scatter_is_drawn_and_leads_to_the_table(small_study, other_study, served, browser_page):
    browser_page.goto(f"{served(create_app(small_study, other=other_study))}/compare")
    browser_page.locator("#scatter").get_by_text("AUROC in small").wait_for()
    assert browser_page.locator("#scatter").get_by_text("afraid").count() >= 1


def test_the_method_is_said_in_words(small_study, empty_study):
    for study in (small_study, empty_study):
        with TestClient(create_app(study), base_url="http://127.0.0.1") as client:
            found = client.get("/method.json").json()
            assert found["passages"][0]["title"] == "What is claimed"
            assert "Nothing here says that a model has experiences" in client.get("/method").text
