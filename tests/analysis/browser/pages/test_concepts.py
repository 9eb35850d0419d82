"""The concepts' pages and their twins: rows, order, matrix, one concept with its rivals and what its clamp does."""

import base64
import re

import pytest
from fastapi.testclient import TestClient

from analysis.browser.app import create_app
from analysis.study import Study
from tests.analysis.report.filled_study import CONCEPTS


@pytest.fixture
def client(small_study):
    return TestClient(create_app(small_study), base_url="http://127.0.0.1")


def found(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.json() if ".json" in path else answer.text


def test_every_concept_has_a_row_with_its_interval_and_rival(client):
    rows = {row["concept"]: row for row in found(client, "/concepts.json")["rows"]}
    assert set(rows) == set(CONCEPTS)
    assert rows["calm"]["diff_means"] == 0.8
    assert (rows["calm"]["effect_low"], rows["calm"]["n_prompts"]) == (pytest.approx(0.3), 6)
    assert rows["happy"]["effect"] is None
    page = found(client, "/concepts")
    assert '0.90 <span class="ci">[0.62, 0.97]</span>' in page


def test_the_order_is_what_is_asked_for(client):
    by = {
        sort: [row["concept"] for row in found(client, f"/concepts.json?sort={sort}")["rows"]]
        for sort in ("auroc", "status", "effect")
    }
    assert by["auroc"][-1] == "afraid"
    assert set(by["status"][-3:]) != set(by["status"][:3])
    assert set(by["effect"][:4]) <= {"angry", "calm", "desperate", "sad", "proud"}
    assert client.get("/concepts?sort=colour").status_code == 422


def test_the_matrix_has_the_labels_effects_and_a_picture_of_them(client):
    matrix = found(client, "/concepts.json")["matrix"]
    row = matrix["effects"][matrix["labels"].index("calm")]
    assert row[matrix["concepts"].index("calm")] == 0.4
    assert row[matrix["concepts"].index("sad")] == -0.1
    picture = re.search(r'class="matrix whole" src="data:image/png;base64,([^"]+)"', found(client, "/concepts"))
    assert base64.b64decode(picture.group(1)).startswith(b"\x89PNG\r\n\x1a\n")


def test_a_concept_stands_with_its_features_probes_rivals_and_moves(client):
    twin = found(client, "/concepts/calm.json")
    assert twin["features"][0]["latent"] == 21
    assert [one["k"] for one in twin["together"]] == [1, 4]
    assert twin["moves"][0]["name"] == "calm"
    assert twin["moves"][0]["own"]
    assert {one["name"] for one in twin["moved_by"]} == {"angry", "calm", "desperate", "sad", "proud"}
    page = found(client, "/concepts/calm")
    for words in (
        "Best features",
        "difference of means",
        "What its clamp does to every concept",
        "Clamps and their verdicts",
    ):
        assert words in page, words
    assert " style=" not in page


def test_the_latents_that_write_a_concept_stand_beside_its_label(client):
    twin = found(client, "/concepts/sad.json")
    assert twin["evidence"]["label"]["status"] == "no effect"
    assert (twin["evidence"]["writer"]["status"], twin["evidence"]["writer"]["latents"]) == ("validated", [61, 62])
    assert twin["evidence"]["doses"]["written"]["judge"] == 0.6
    assert {one["role"] for one in twin["features"] if one["latent"] in (61, 62)} == {"writes it"}
    page = found(client, "/concepts/sad")
    for words in ("The latents that write it", "sad/written", "clamp=sad%2Fwritten", "+0.60", "among 79 controls"):
        assert words in page, words
    assert "write it" not in found(client, "/concepts/calm")
    assert "It helps to write" in found(client, "/features/61")
    figures = [one["about"] for one in found(client, "/index.json")["figures"]]
    assert "concepts validated, by their label or by the latents that write them" in figures


def test_the_dose_curve_of_a_row_is_the_labels_own(client):
    rows = found(client, "/features.json?q=sad")["rows"]
    (doses,) = {tuple(one["doses"]) for one in rows if "sad" in one["concepts"]}
    assert doses == (-4.0, 1.0, 2.0, 4.0)


def test_an_unclamped_concept_says_so_and_an_unknown_one_is_not_here(client):
    assert "was not clamped" in found(client, "/concepts/happy")
    answer = client.get("/concepts/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert answer.status_code == 404
    assert client.get("/concepts/nobody.json").status_code == 404
    assert "<script>alert" not in client.get("/concepts/%3Cscript%3Ealert(1)").text


def test_a_concept_whose_name_wants_escaping_has_a_page(small_study):
    from dataclasses import replace

    study = Study.open(small_study)
    labels = study.read("labels")
    study.write("labels", [*labels, replace(labels[0], concept='on edge & "so"?')])
    client = TestClient(create_app(small_study), base_url="http://127.0.0.1")
    address = re.search(r'href="(/concepts/on[^"]+)"', found(client, "/concepts")).group(1)
    assert "on edge &amp; &#34;so&#34;?" in found(client, address)


def test_an_empty_study_says_what_makes_labels(empty_study):
    client = TestClient(create_app(empty_study), base_url="http://127.0.0.1")
    page = found(client, "/concepts")
    assert "saes label" in page
    assert "saes validate" in page
