"""A card holds every figure that the study has of its concept, and none of another's."""

from dataclasses import replace

import pytest

from analysis.records import Label
from analysis.report.card import concept_card, latents_card
from analysis.report.table import plain
from analysis.report.terminal import drawn
from tests.analysis.report.filled_study import CONCEPTS, HOSTILE, filled


@pytest.fixture
def study(tmp_path):
    return filled(tmp_path / "study")


def words(card) -> str:
    shown = [*card.tables, *(one.table for one in card.latents), card.provenance]
    return " ".join(" ".join([table.title, *(plain(cell) for row in table.rows for cell in row)]) for table in shown)


def test_the_card_of_a_clamped_label(study):
    said = words(concept_card(study, "calm"))
    for part in (
        "0.90 [0.62, 0.97]", "n = 12 against 180", "against sad", "0.004", "21%",  # as a detector
        "difference of means", "sparse probe, k = 4", "0.83 [0.70, 0.90]", "0.61 [0.52, 0.73]",  # beside it, confounds
        "+0.40 [+0.30, +0.50]", "p = 0.013 among 79", "q = 0.020", "\u22124.0 to +3.3", "0.17 of the way", "2 of 5 concepts",
        "\u22120.20 [\u22120.30, \u22120.10]", "direction 2", "+0.190 [+0.100, +0.300]",  # as a clamp
        "Ablations", "0.02 [0.01, 0.03]",
        "1.23% of tokens", "4 (0.50), 5 (0.25)", "ab" * 32, "cd" * 8, "commit 1234567", "saes demo",  # latents, provenance
    ):  # fmt: skip
        assert part in said, part


def test_the_latents_that_write_it_stand_as_a_second_claim(study):
    card = concept_card(study, "sad")
    said = words(card)
    for part in ("Latents that write a concept", "61, 62", "4, 1", "0.71", "0.66 [0.60, 0.72]",
                 "As a clamp: the latents that write it", "validated; in a clamp: sad/written=+2", "+0.60 [+0.50, +0.70]", "+0.33"):  # fmt: skip
        assert part in said, part
    assert {(one["claim"], one["arm"]) for one in card.data["clamps"]} == {
        ("label", "label"), ("label", "diff_means"), ("written", "written"), ("written", "diff_means"),
    }  # fmt: skip
    assert card.data["status"] == "no effect", "the label's own"
    assert "write" not in words(concept_card(study, "calm")).lower()


def test_the_card_is_whole_as_data(study):
    data = concept_card(study, "calm").data
    assert data["status"] == "validated"
    assert {one["check"] for one in data["confounds"]} == {"named", "unnamed", "masked", "contrast"}
    assert [one["k"] for one in data["probes"]] == [1, 4]
    assert len(data["controls"]) == 3
    assert {one["arm"] for one in data["clamps"]} == {"label", "diff_means"}
    assert {one["concept"] for name in ("baselines", "confounds", "curves") for one in data[name]} == {"calm"}
    assert data["info"]["sae_hash"] == "ab" * 32


@pytest.mark.parametrize("concept", CONCEPTS)
def test_every_status_has_a_card_with_its_reason(study, concept):
    card = concept_card(study, concept)
    assert card.title == f"{concept}: {CONCEPTS[concept]}"
    assert any("why" in row and len(plain(row[1])) > 10 for row in card.tables[0].rows)


def test_a_held_label_says_which_bars_it_passed(study):
    said = words(concept_card(study, "happy"))
    assert "AUROC on checking texts 0.90 reaches 0.80, q = 0.004 is at most 0.05" in said
    assert "not clamped" in said


def test_a_detector_of_the_name_says_so(study):
    study.write("labels", [
        replace(one, lexical=True, lexical_share=0.81, auroc_masked=0.55) if one.concept == "afraid" else one
        for one in study.read("labels", Label)
    ])  # fmt: skip
    assert "81% of its firing falls on it" in concept_card(study, "afraid").data["why"]


def test_a_latent_with_all_labels_that_hold_it(study):
    card = latents_card(study, 41)
    assert card.title == "latent 41: happy"
    assert [row[0] for row in card.tables[0].rows] == ["happy"]


def test_a_latent_that_only_goes_with_valence(study):
    assert "+0.31 [+0.20, +0.40]" in words(latents_card(study, 99))
    with pytest.raises(ValueError, match="no card for latent 98; it has: 1"):
        latents_card(study, 98)


def test_hostile_strings_stay_in_their_cells(study):
    card = concept_card(study, "calm")
    shown = "\n".join(drawn(table) for table in (*card.tables, *(one.table for one in card.latents)))
    assert HOSTILE[:8] in shown
    assert all(line.isprintable() for line in shown.splitlines())
