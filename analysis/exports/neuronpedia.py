"""A study in Neuronpedia's upload layout: `MODEL/SOURCE/` with features, activations and explanations as gzipped JSON lines.

Field by field as in `utils/neuronpedia-utils/neuronpedia_utils/db_models` of hijohnnylin/neuronpedia (August 2026), whose
importer reads release, model, sourceset and source, then `features/`, `activations/` and `explanations/`.
"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from analysis.exports.dashboard import Dashboards, batches, clear
from analysis.records import ClampResult, Explanation, Label
from analysis.report.reasons import why
from analysis.report.table import Chance, Estimate
from analysis.study import write_whole

CREATOR_ID = "clkht01d40000jv08hvalcvly"
"""The author that their own tools write where none is given."""


FOLDERS = ("features", "activations", "explanations")


def write_neuronpedia(made: Dashboards, folder: str | Path, creator: str = "", creator_id: str = CREATOR_ID) -> Path:
    """Writes the whole layout below `folder`; the source's folder."""
    place = Path(folder) / made.model_id / made.source_id
    for name in FOLDERS:
        (place / name).mkdir(parents=True, exist_ok=True)
    about = _About(made, creator, creator_id)
    for name, row in (("release", about.release()), ("model", about.model()), ("sourceset", about.source_set()),
                      ("source", about.source())):  # fmt: skip
        write_whole(place / f"{name}.jsonl", _lines([row]))
    explanations = _by_latent(about.explanations())
    files: dict[Path, list[dict[str, Any]]] = {}
    for number, batch in enumerate(batches(made.features)):
        rows = {
            "features": [about.feature(one) for one in batch],
            "activations": [about.activation(one, rank) for one in batch for rank in range(len(one["activations"]))],
            "explanations": [row for one in batch for row in explanations.get(str(one["feature_index"]), [])],
        }
        files |= {place / name / f"batch-{number}.jsonl.gz": found for name, found in rows.items() if found}
    for name in FOLDERS:
        clear(place / name, {path.name for path in files if path.parent.name == name})
    for path, found in files.items():
        write_whole(path, gzip.compress(_lines(found), 5, mtime=0))
    return place


class _About:
    """The rows of the layout's tables, by the table's name."""

    def __init__(self, made: Dashboards, creator: str, creator_id: str):
        self._made, self._info = made, made.study.info
        self._creator, self._creator_id = creator or "unnamed", creator_id
        self._strongest = {
            one["feature_index"]: max((max(found["values"]) for found in one["activations"]), default=0.0)
            for one in made.features
        }

    def release(self) -> dict[str, Any]:
        title = f"Emotion concepts in {self._info.model}"
        return {
            "name": self._made.sae_set, "description": title, "creatorName": self._creator, "creatorId": self._creator_id,
            "visibility": "PUBLIC", "isNewUi": False, "featured": False, "descriptionShort": title, "urls": [],
            "creatorEmail": None, "creatorNameShort": self._creator, "defaultSourceSetName": self._made.sae_set,
            "defaultSourceId": self._made.source_id, "defaultUmapSourceIds": [], "createdAt": self._info.created,
        }  # fmt: skip

    def model(self) -> dict[str, Any]:
        return {
            "id": self._made.model_id, "instruct": False, "creatorId": self._creator_id, "displayNameShort": self._made.model_id,
            "displayName": self._made.model_id, "tlensId": None, "dimension": None, "visibility": "PUBLIC",
            "defaultSourceSetName": None, "defaultSourceId": None, "inferenceEnabled": False, "layers": 0, "neuronsPerLayer": 0,
            "createdAt": self._info.created, "owner": "", "updatedAt": self._info.created, "website": None,
        }  # fmt: skip

    def source_set(self) -> dict[str, Any]:
        return {
            "modelId": self._made.model_id, "name": self._made.sae_set, "creatorId": self._creator_id, "hasDashboards": True,
            "visibility": "PUBLIC", "description": f"Latents of emotion labels, {self._info.site}", "type": "",
            "creatorName": self._creator, "urls": [], "creatorEmail": None, "releaseName": self._made.sae_set,
            "defaultOfModelId": None, "defaultRange": 1, "defaultShowBreaks": True, "showDfa": False, "showCorrelated": False,
            "showHeadAttribution": False, "showUmap": False, "createdAt": self._info.created,
        }  # fmt: skip

    def source(self) -> dict[str, Any]:
        first = self._made.features[0]
        notes = {"provenance": self._info.as_dict(), "left_out": self._made.left_out}
        return {
            "id": self._made.source_id, "modelId": self._made.model_id, "setName": self._made.sae_set,
            "creatorId": self._creator_id, "hasDashboards": True, "inferenceEnabled": False, "inferenceHosts": [],
            "saelensConfig": None, "saelensRelease": self._info.settings.get("sae_lens_release"), "saelensSaeId": None,
            "hfRepoId": None, "hfFolderId": None, "visibility": "PUBLIC", "defaultOfModelId": None, "hasUmap": False,
            "hasUmapLogSparsity": False, "hasUmapClusters": False, "num_prompts": first["n_prompts_total"],
            "num_tokens_in_prompt": first["n_tokens_in_prompt"], "dataset": self._made.dataset, "notes": json.dumps(notes),
            "createdAt": self._info.created,
        }  # fmt: skip

    def feature(self, one: dict[str, Any]) -> dict[str, Any]:
        latent = one["feature_index"]
        near, cosine = self._made.nearest[latent]
        same = (
            "neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1", "correlated_neurons_indices",
            "correlated_neurons_pearson", "correlated_neurons_l1", "correlated_features_indices", "correlated_features_pearson",
            "correlated_features_l1", "neg_str", "neg_values", "pos_str", "pos_values", "frac_nonzero",
            "freq_hist_data_bar_heights", "freq_hist_data_bar_values", "logits_hist_data_bar_heights",
            "logits_hist_data_bar_values", "decoder_weights_dist",
        )  # fmt: skip
        return {
            "modelId": self._made.model_id, "layer": self._made.source_id, "index": str(latent), "creatorId": self._creator_id,
            "createdAt": self._info.created, "maxActApprox": self._strongest[latent], "hasVector": bool(one["vector"]),
            "vector": one["vector"], "vectorLabel": None, "vectorDefaultSteerStrength": self._strongest[latent],
            "hookName": self._info.settings.get("hook_name"), "topkCosSimIndices": near, "topkCosSimValues": cosine,
            **{name: one[name] for name in same}, "sourceSetName": self._made.sae_set,
        }  # fmt: skip

    def activation(self, one: dict[str, Any], rank: int) -> dict[str, Any]:
        latent, shown = one["feature_index"], one["activations"][rank]
        values = shown["values"]
        return {
            "id": self._id("activation", latent, rank), "tokens": shown["tokens"], "index": str(latent),
            "layer": self._made.source_id, "modelId": self._made.model_id, "maxValue": max(values),
            "maxValueTokenIndex": values.index(max(values)), "minValue": min(values), "values": values,
            "creatorId": self._creator_id, "dataSource": None, "dataIndex": None, "dfaValues": [], "dfaTargetIndex": None,
            "dfaMaxValue": None, "createdAt": self._info.created, "lossValues": [], "logitContributions": None,
            "binMin": shown["bin_min"], "binMax": shown["bin_max"], "binContains": shown["bin_contains"],
            "qualifyingTokenIndex": shown["qualifying_token_index"], "zIndices": None, "zValues": None,
        }  # fmt: skip

    def explanations(self) -> list[dict[str, Any]]:
        """The chosen labels of each latent with status and scores, and a language model's sentence where there is one.

        Whose model and prompts a sentence is from stands in the notes: the layout's own fields for it name rows of
        Neuronpedia's tables.
        """
        study = self._made.study
        clamps, rules = study.read("clamps", ClampResult), self._info.settings.get("rules") or {}
        rows = []
        for label in study.labels():
            reason = why(label, clamps, rules)
            for latent in label.latents:
                notes = {"label": label.__dict__, "why": reason}
                rows.append(self._explanation(latent, label.concept, described(label, latent), notes))
        for said in study.read("explanations", Explanation):
            if said.text and said.latent in self._made.nearest:
                rows.append(self._explanation(said.latent, "sentence", said.text, {"explanation": said.__dict__}))
        return rows

    def _explanation(self, latent: int, key: str, text: str, notes: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id("explanation", latent, key), "modelId": self._made.model_id, "layer": self._made.source_id,
            "index": str(latent), "description": text, "authorId": self._creator_id, "embedding": None, "triggeredById": None,
            "typeName": None, "explanationModelName": None, "notes": json.dumps(notes), "createdAt": self._info.created,
        }  # fmt: skip

    def _id(self, *parts: object) -> str:
        """As long as theirs; the same for the same study, so that a second export writes the same rows."""
        key = "/".join(map(str, (self._info.sae_hash, self._info.concept_hash, self._info.created, *parts)))
        return "c" + hashlib.sha256(key.encode()).hexdigest()[:24]


def described(label: Label, latent: int) -> str:
    """A label as a sentence about one of its latents, its status first."""
    many = len(label.latents)
    what = (
        f"represents {label.concept}" if many == 1 else f"one of {many} latents that together represent {label.concept}"
    )
    claim = what if label.is_held else f"candidate for {label.concept}"
    checking = Estimate(label.auroc_checking, label.auroc_checking_low, label.auroc_checking_high)
    return (
        f"{claim} ({label.status}): AUROC {checking} on held-out texts, n = {label.n_positive} against {label.n_negative}, "
        f"implicit {Estimate(label.auroc_implicit)}, {Chance(label.q).of('q')}"
    )


def _by_latent(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["index"], []).append(row)
    return found


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
