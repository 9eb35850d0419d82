"""Both layouts, field by field, as the tools that read them name and type them."""

import gzip
import json

import pytest

from analysis.exports.dashboard import Dashboards, dashboards, slug, write_dashboards
from analysis.exports.directions import Dictionary, Written
from analysis.exports.neuronpedia import described, write_neuronpedia
from analysis.records import Explanation, FeatureCard
from analysis.study import Study
from tests.analysis.report.filled_study import CONCEPTS, HOSTILE, filled, info, label

NUMBERS, STRINGS = [float, int], [str]
BATCH = {"model_id": str, "layer": int, "sae_set": str, "sae_id_suffix": None, "features": list}
FEATURE = {
    "feature_index": int, "neuron_alignment_indices": NUMBERS, "neuron_alignment_values": NUMBERS, "neuron_alignment_l1": NUMBERS,
    "correlated_neurons_indices": NUMBERS, "correlated_neurons_l1": NUMBERS, "correlated_neurons_pearson": NUMBERS,
    "correlated_features_indices": NUMBERS, "correlated_features_l1": NUMBERS, "correlated_features_pearson": NUMBERS,
    "neg_str": STRINGS, "neg_values": NUMBERS, "pos_str": STRINGS, "pos_values": NUMBERS, "frac_nonzero": float,
    "freq_hist_data_bar_values": NUMBERS, "freq_hist_data_bar_heights": NUMBERS, "logits_hist_data_bar_heights": NUMBERS,
    "logits_hist_data_bar_values": NUMBERS, "n_prompts_total": int, "n_tokens_in_prompt": int, "dataset": str,
    "decoder_weights_dist": NUMBERS, "activations": list, "vector": NUMBERS,
}  # fmt: skip
ACTIVATION = {
    "bin_min": int,
    "bin_max": float,
    "bin_contains": int,
    "tokens": STRINGS,
    "values": NUMBERS,
    "qualifying_token_index": int,
}
TABLES = {
    "release": {
        "name": str, "description": str, "creatorName": str, "creatorId": str, "visibility": str, "isNewUi": bool, "featured": bool,
        "descriptionShort": str, "urls": list, "creatorEmail": None, "creatorNameShort": str, "defaultSourceSetName": str,
        "defaultSourceId": str, "defaultUmapSourceIds": list, "createdAt": str,
    },
    "model": {
        "id": str, "instruct": bool, "creatorId": str, "displayNameShort": str, "displayName": str, "tlensId": None,
        "dimension": None, "visibility": str, "defaultSourceSetName": None, "defaultSourceId": None, "inferenceEnabled": bool,
        "layers": int, "neuronsPerLayer": int, "createdAt": str, "owner": str, "updatedAt": str, "website": None,
    },
    "sourceset": {
        "modelId": str, "name": str, "creatorId": str, "hasDashboards": bool, "visibility": str, "description": str, "type": str,
        "creatorName": str, "urls": list, "creatorEmail": None, "releaseName": str, "defaultOfModelId": None, "defaultRange": int,
        "defaultShowBreaks": bool, "showDfa": bool, "showCorrelated": bool, "showHeadAttribution": bool, "showUmap": bool,
        "createdAt": str,
    },
    "source": {
        "id": str, "modelId": str, "setName": str, "creatorId": str, "hasDashboards": bool, "inferenceEnabled": bool,
        "inferenceHosts": list, "saelensConfig": None, "saelensRelease": None, "saelensSaeId": None, "hfRepoId": None,
        "hfFolderId": None, "visibility": str, "defaultOfModelId": None, "hasUmap": bool, "hasUmapLogSparsity": bool,
        "hasUmapClusters": bool, "num_prompts": int, "num_tokens_in_prompt": int, "dataset": str, "notes": str, "createdAt": str,
    },
}  # fmt: skip
ROWS = {
    "features": {
        "modelId": str, "layer": str, "index": str, "creatorId": str, "createdAt": str, "maxActApprox": float, "hasVector": bool,
        "vector": NUMBERS, "vectorLabel": None, "vectorDefaultSteerStrength": float, "hookName": str, "topkCosSimIndices": NUMBERS,
        "topkCosSimValues": NUMBERS, "sourceSetName": str,
        **{name: kind for name, kind in FEATURE.items()
           if name not in ("feature_index", "n_prompts_total", "n_tokens_in_prompt", "dataset", "activations", "vector")},
    },
    "activations": {
        "id": str, "tokens": STRINGS, "index": str, "layer": str, "modelId": str, "maxValue": float, "maxValueTokenIndex": int,
        "minValue": float, "values": NUMBERS, "creatorId": str, "dataSource": None, "dataIndex": None, "dfaValues": NUMBERS,
        "dfaTargetIndex": None, "dfaMaxValue": None, "createdAt": str, "lossValues": NUMBERS, "logitContributions": None,
        "binMin": int, "binMax": float, "binContains": int, "qualifyingTokenIndex": int, "zIndices": None, "zValues": None,
    },
    "explanations": {
        "id": str, "modelId": str, "layer": str, "index": str, "description": str, "authorId": str, "embedding": None,
        "triggeredById": None, "typeName": None, "explanationModelName": None, "notes": str, "createdAt": str,
    },
}  # fmt: skip


def check(row: dict, kinds: dict) -> None:
    assert set(row) == set(kinds)
    for name, kind in kinds.items():
        if kind is None:
            assert row[name] is None, name
        elif isinstance(kind, list):
            assert isinstance(row[name], list), name
            assert all(type(one) in kind for one in row[name]), name
        else:
            assert type(row[name]) is kind, name


@pytest.fixture
def study(tmp_path) -> Study:
    made = filled(tmp_path / "study")
    made.update_info(settings={"hook_name": "blocks.2.hook_resid_post"})
    return made


def written() -> Written:
    ends = [(" up", 1.5), (HOSTILE, 0.5)]
    return Written([0.6, -0.8], ends, [(" down", -1.5)], [-1.0, 0.0, 1.0], [7, 3], [(0, 0.6, 0.43)])


@pytest.fixture
def made(study, monkeypatch) -> Dashboards:
    """With the directions at hand."""

    def known(study, latents, *_):
        return Dictionary(100, {latent: written() for latent in latents})

    monkeypatch.setattr("analysis.exports.dashboard.directions", known)
    return dashboards(study, "my set")


def lines(path) -> list[dict]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in raw.decode().splitlines()]


def test_sae_dashboard_batches(made, study, tmp_path):
    paths = write_dashboards(made, tmp_path / "out")
    assert {path.name for path in paths} == {"batch-0.json", "skipped_indexes.json", "run_settings.json"}
    batch = json.loads((tmp_path / "out" / "batch-0.json").read_text())
    check(batch, BATCH)
    assert (batch["model_id"], batch["layer"], batch["sae_set"]) == ("storyteller", 2, "my-set")
    cards = {card.latent: card for card in study.read("cards", FeatureCard)}
    assert [one["feature_index"] for one in batch["features"]] == sorted(cards)
    for one in batch["features"]:
        check(one, FEATURE)
        for shown in one["activations"]:
            check(shown, ACTIVATION)
            assert len(shown["tokens"]) == len(shown["values"])
    first = batch["features"][0]
    assert first["frac_nonzero"] == 0.0123
    assert first["freq_hist_data_bar_values"] == [0.5, 1.5, 2.5]
    assert first["freq_hist_data_bar_heights"] == [120, 30, 4]
    assert (first["pos_str"], first["pos_values"]) == ([" up", HOSTILE], [1.5, 0.5])
    assert (first["logits_hist_data_bar_values"], first["logits_hist_data_bar_heights"]) == ([-0.5, 0.5], [7, 3])
    assert first["vector"] == [0.6, -0.8]
    assert first["activations"][0]["qualifying_token_index"] == 2
    assert (first["activations"][0]["bin_min"], first["activations"][0]["bin_max"]) == (-1, 8.5)
    skipped = json.loads((tmp_path / "out" / "skipped_indexes.json").read_text())
    assert set(skipped) == {"model_id", "layer", "sae_set", "log_sparsity", "skipped_indexes"}
    assert set(skipped["skipped_indexes"]) == set(range(100)) - set(cards)


def test_neuronpedia(made, tmp_path):
    place = write_neuronpedia(made, tmp_path / "out", "Somebody")
    assert place == tmp_path / "out" / "storyteller" / "2-my-set"
    for name, kinds in TABLES.items():
        (row,) = lines(place / f"{name}.jsonl")
        check(row, kinds)
    found = {name: lines(place / name / "batch-0.jsonl.gz") for name in ROWS}
    for name, kinds in ROWS.items():
        for row in found[name]:
            check(row, kinds)
            assert (row["modelId"], row["layer"]) == ("storyteller", "2-my-set")
    features = {row["index"]: row for row in found["features"]}
    assert all(row["index"] in features for name in ("activations", "explanations") for row in found[name])
    assert features["1"]["maxActApprox"] == 8.5
    assert (features["1"]["topkCosSimIndices"], features["1"]["topkCosSimValues"]) == ([4, 5], [0.5, 0.25])
    ids = [row["id"] for name in ("activations", "explanations") for row in found[name]]
    assert len(ids) == len(set(ids))
    assert {len(one) for one in ids} == {25}
    shown = next(row for row in found["activations"] if row["index"] == "1")
    assert (shown["maxValue"], shown["maxValueTokenIndex"], shown["minValue"]) == (8.5, 2, 0.0)


def test_labels_go_out_as_explanations_with_status_and_scores(made, study, tmp_path):
    place = write_neuronpedia(made, tmp_path / "out")
    found = lines(place / "explanations" / "batch-0.jsonl.gz")
    said = {json.loads(row["notes"])["label"]["concept"]: row["description"] for row in found}
    assert set(said) == set(CONCEPTS), "rejected ones as well"
    assert said["calm"].startswith("represents calm (validated): AUROC 0.90 [0.62, 0.97]")
    assert said["afraid"].startswith("candidate for afraid (rejected)"), "which does not say that it represents it"
    notes = json.loads(found[0]["notes"])
    assert notes["label"]["null_finding"] == 0.66
    assert notes["why"]


def test_a_recipe_says_that_it_is_not_one_latent_alone():
    assert described(label("angry", "held", [3, 4]), 3).startswith(
        "one of 2 latents that together represent angry (held)"
    )


def test_sentences_of_a_language_model_go_out_too(made, study, tmp_path):
    card = study.read("cards", FeatureCard)[0]
    study.write(
        "explanations",
        [sentence(card.latent, "fires at fear"), sentence(9999, "of no exported latent"), sentence(11, None)],
    )
    place = write_neuronpedia(made, tmp_path / "out")
    said = [
        row for row in lines(place / "explanations" / "batch-0.jsonl.gz") if "explanation" in json.loads(row["notes"])
    ]
    assert [row["description"] for row in said] == ["fires at fear"]
    assert json.loads(said[0]["notes"])["explanation"]["detection"] == 0.8


def sentence(latent: int, text: str | None) -> Explanation:
    return Explanation(
        latent, text, "a-model", "a-model", "1", 8, 0.8, 0.7, 0.9, 0.75, 0.7, 0.5, 0.1, 0.3, 16, 16, None, None, None, None, None,
        None, None, 0, 0, 3, 4, 0, 0,
    )  # fmt: skip


def test_what_is_not_at_hand_is_left_out_and_said(study, tmp_path):
    made = dashboards(study)  # its SAE is nowhere
    assert any("logits" in one for one in made.left_out)
    write_dashboards(made, tmp_path / "out")
    first = json.loads((tmp_path / "out" / "batch-0.json").read_text())["features"][0]
    check(first, FEATURE)
    assert first["pos_str"] == [" fear", HOSTILE], "the study knows the tokens"
    assert first["pos_values"] == first["vector"] == first["logits_hist_data_bar_heights"] == []
    settings = json.loads((tmp_path / "out" / "run_settings.json").read_text())
    assert settings["left_out"] == made.left_out
    (source,) = lines(write_neuronpedia(made, tmp_path / "np") / "source.jsonl")
    assert json.loads(source["notes"])["left_out"] == made.left_out
    with pytest.raises((FileNotFoundError, ValueError)):
        dashboards(study, model="no-such-model")


def test_a_second_export_leaves_nothing_of_the_first(made, study, tmp_path):
    place = write_neuronpedia(made, tmp_path / "out")
    before = {path: path.read_bytes() for path in place.rglob("*.gz")}
    stale = place / "features" / "batch-7.jsonl.gz"
    stale.write_bytes(b"")
    assert write_neuronpedia(made, tmp_path / "out") == place
    assert {path: path.read_bytes() for path in place.rglob("*.gz")} == before


def test_nothing_to_export(tmp_path, study):
    empty = Study.create(tmp_path / "empty", info())
    with pytest.raises(ValueError, match="has no feature cards"):
        dashboards(empty)
    study.update_info(settings={"hook_name": "hook_embed"})
    with pytest.raises(ValueError, match="hook_embed is in no layer"):
        dashboards(study)


def test_names_become_addresses():
    assert slug("/a b/../c") == "a-b-..-c"
    assert slug("///") == "unnamed"
