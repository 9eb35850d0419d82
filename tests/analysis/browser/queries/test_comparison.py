"""Two studies side by side: a planted pair of directions is found and decoys are not; every way not to compare is said."""

import json
import shutil

import numpy as np
import pytest

from analysis.browser.queries.comparison import comparison
from analysis.browser.queries.directions import NoDirections, decoder_of, nearest, unit
from analysis.browser.queries.store import Store
from analysis.records import Agreement, Label
from analysis.study import Study

D_SAE, D_IN = 5000, 24


def sae(folder, W_dec, dtype="F32"):
    """A folder in SAELens' layout that holds a decoder alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard"}))
    data = W_dec.astype("<f4")
    raw = (
        (data.view(np.uint32) >> 16).astype("<u2")
        if dtype == "BF16"
        else data.astype("<f2")
        if dtype == "F16"
        else data
    )
    other = np.zeros(3, "<f4").tobytes()
    about = {
        "b_dec": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "W_dec": {"dtype": dtype, "shape": list(W_dec.shape), "data_offsets": [12, 12 + raw.nbytes]},
    }
    header = json.dumps(about).encode()
    (folder / "sae_weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + other + raw.tobytes())


def relabelled(study, changes):
    study.write(
        "labels",
        [Label(**{**vars(one), **changes.get(one.concept, {})}) for one in study.read("labels") if one.chosen],
    )  # fmt: skip


@pytest.fixture
def pair(built_study, tmp_path):
    """Two studies with SAEs around them: the label of angry writes nearly the same in both, that of sad does not."""
    studies = [Study.open(shutil.copytree(built_study, tmp_path / name / "study")) for name in ("one", "two")]
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((D_SAE, D_IN)) for _ in range(2))
    mine = {one.concept: one for one in studies[0].labels()}
    second[4321] = 7 * first[mine["angry"].latents[0]] + 0.01 * rng.standard_normal(D_IN)
    relabelled(studies[0], {"angry": {"latents": mine["angry"].latents[:1], "weights": [1.0], "scales": [1.0]}})
    relabelled(studies[1], {"angry": {"latents": [4321], "weights": [1.0], "scales": [3.0], "status": "held"}})
    sae(tmp_path / "one", first)
    sae(tmp_path / "two", second)
    return studies


def compared(pair):
    return comparison(*(Store(one.folder) for one in pair))


def test_a_planted_pair_is_found_and_a_decoy_is_not(pair):
    found = compared(pair)
    rows = {one.concept: one for one in found.matched}
    assert found.why_no_directions == ""
    assert rows["angry"].cosine == pytest.approx(1, abs=0.01)
    assert rows["sad"].cosine < found.nearest_null < 0.9
    near = {one.latent: one for one in found.nearest}[pair[0].label("angry").latents[0]]
    assert (near.other_latent, near.other_concepts, near.mutual, near.has_page) == (4321, ["angry"], True, False)
    assert near.cosine == pytest.approx(1, abs=0.01)
    assert sum(one.cosine > 0.95 for one in found.nearest) == 1


def test_each_sides_status_and_auroc_stand_beside_each_other(pair):
    relabelled(pair[1], {"calm": {"auroc_checking": 0.61, "concept": "serene"}})
    rows = {one.concept: one for one in compared(pair).matched}
    assert (rows["angry"].status, rows["angry"].other_status) == ("validated", "held")
    assert (rows["calm"].other_status, rows["calm"].other_auroc, rows["calm"].cosine) == (None, None, None)
    assert (rows["serene"].auroc, rows["serene"].other_auroc, rows["serene"].latents) == (None, 0.61, [])


def test_only_facts_that_differ_are_shown(pair):
    pair[1].update_info(created="2027-01-01T00:00:00+00:00", settings={"rules": {"k": 3}})
    found = compared(pair)
    assert [(one.name, one.own, one.other) for one in found.facts] == [
        ("created", "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"), ("rules.k", "–", "3"),
    ]  # fmt: skip
    assert "model" in found.same
    assert (found.own.name, found.other.name) == ("one/study", "two/study")


def test_what_stability_found_of_the_two_is_shown(pair, built_study):
    def agreement(other, r):
        return Agreement(
            "angry", str(pair[1].folder), str(other), True, True, 0.5, 0.3, 0.6, 0.4, r, r - 0.1, r + 0.1, 0.2, 90
        )

    pair[1].write("agreements", [agreement(built_study, 0.1), agreement(pair[0].folder, 0.8)])
    found = compared(pair)
    assert ({one.concept: one.r for one in found.matched}["angry"], found.r_null) == (0.8, 0.2)


def test_other_places_and_missing_or_spoilt_weights_are_said(pair, tmp_path):
    weights = tmp_path / "two" / "sae_weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "cut short" in compared(pair).why_no_directions
    weights.write_bytes(b"\xff" * 100)
    assert "cannot be read" in compared(pair).why_no_directions
    weights.write_bytes(whole)
    relabelled(pair[1], {"sad": {"latents": [D_SAE + 1]}})
    assert "not of the SAE" in compared(pair).why_no_directions
    sae(tmp_path / "two", np.ones((8, D_IN + 1)))
    assert "24 and 25 numbers" in compared(pair).why_no_directions
    weights.unlink()
    (tmp_path / "two" / "cfg.json").unlink()
    assert "nor beside the study" in compared(pair).why_no_directions
    pair[1].update_info(site="storyteller/blocks.3.hook_resid_post")
    found = compared(pair)
    assert "write different places" in found.why_no_directions
    assert found.nearest == []
    assert all(one.cosine is None for one in found.matched)


def test_one_study_says_how_to_compare(pair):
    found = comparison(Store(pair[0].folder), None)
    assert found.other is None
    assert found.command.endswith("--compare OTHER_STUDY")


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_directions_are_read_as_they_were_written(pair, tmp_path, dtype):
    W_dec = np.random.default_rng(1).standard_normal((300, D_IN))
    sae(tmp_path / "one", W_dec, dtype)
    found = decoder_of(pair[0])
    assert np.allclose(found.rows(slice(0, 300)), W_dec, atol=0.02 if dtype == "BF16" else 1e-2)
    assert np.allclose(found.rows([7, 3]), W_dec[[7, 3]], atol=0.02)
    where, cosine = nearest(unit(W_dec[[5, 250]]).astype(np.float32), found)
    assert (where.tolist(), cosine.round(2).tolist()) == ([5, 250], [1, 1])


def test_the_nearest_is_found_in_every_block(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.browser.queries.directions.ROWS", 7)
    W_dec = np.random.default_rng(1).standard_normal((30, D_IN)).astype(np.float32)
    sae(tmp_path / "one", W_dec)
    assert nearest(unit(W_dec), decoder_of(pair[0]))[0].tolist() == list(range(30))


def test_no_sae_is_no_directions(built_study):
    with pytest.raises(NoDirections, match="nor beside the study"):
        decoder_of(Study.open(built_study))
