"""A study in SAEDashboard's layout: `batch-N.json` with the features, as its Neuronpedia runner writes them.

Field by field as in `sae_dashboard/neuronpedia/neuronpedia_dashboard.py` of jbloomAus/SAEDashboard 0.8 (May 2026).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from analysis.exports.directions import Dictionary, Written, directions
from analysis.labelling.excerpts import AFTER, BEFORE
from analysis.records import Excerpt, FeatureCard
from analysis.study import Study, write_whole

AT_ONCE = 128
"""Features in a file."""
DIGITS = 5
LEFT_OUT = (
    "activations over a general corpus: excerpts, density and histogram are of the concept set's texts",
    "excerpts of weaker firings: only the strongest are kept",
    "correlations with neurons and with other features",
)
"""What the layout has a place for and no study holds."""


@dataclass(frozen=True)
class Dashboards:
    """Everything that both layouts share."""

    study: Study
    model_id: str
    layer: int
    sae_set: str
    features: list[dict[str, Any]]
    nearest: dict[int, tuple[list[int], list[float]]]
    """Latent -> the latents whose directions are nearest, and the cosines."""
    dictionary: Dictionary | None
    left_out: list[str]

    @property
    def source_id(self) -> str:
        return f"{self.layer}-{self.sae_set}"

    @property
    def dataset(self) -> str:
        return f"{self.study.info.concept_set} ({self.study.info.concept_hash})"


def dashboards(study: Study, name: str | None = None, model: str | None = None, device: str = "auto") -> Dashboards:
    """Of every latent that has a card. `name` is the set's, else the SAE folder's.

    The directions and what they do to the logits are read off the SAE and the model, where these are at hand; they are
    left out, and named in `left_out`, where not, unless a `model` was asked for. ValueError where there is no card or the place has no layer.
    """
    cards = sorted(study.read("cards", FeatureCard), key=lambda one: one.latent)
    if not cards:
        raise ValueError(f"{study.folder} has no feature cards, so there is nothing to export: label the SAE first")
    hook_name = str(study.info.settings.get("hook_name") or study.info.site.rpartition("/")[2])
    found = re.search(r"blocks\.(\d+)\.", hook_name)
    if not found:
        raise ValueError(f"{hook_name} is in no layer, and both layouts number features by layer: nothing is exported")
    left_out, known = list(LEFT_OUT), None
    try:
        known = directions(study, [card.latent for card in cards], model, device)
    except (FileNotFoundError, ValueError) as error:
        if model is not None:
            raise
        left_out.append(f"directions, values and histograms of logits ({error})")
    excerpts: dict[int, list[Excerpt]] = {}
    for one in study.read("excerpts", Excerpt):
        if one.drawn != "top":  # the layouts know no others
            continue
        excerpts.setdefault(one.latent, []).append(one)
    made = Dashboards(
        study,
        slug(Path(study.info.model).name),
        int(found.group(1)),
        slug(name or Path(study.info.sae_folder).name),
        [],
        {card.latent: (card.nearest, card.nearest_cosine) for card in cards},
        known,
        left_out,
    )
    n_texts = _n_texts(study)
    if n_texts is None:
        made.left_out.append("the number of texts: the concept set is not at hand, or another than the study's")
    for card in cards:
        written = known.written[card.latent] if known else None
        made.features.append(_feature(card, excerpts.get(card.latent, []), written, n_texts or 0, made.dataset))
    return made


def write_dashboards(made: Dashboards, folder: str | Path) -> list[Path]:
    """Writes `batch-N.json`, `skipped_indexes.json` and `run_settings.json`; the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, Any] = {
        f"batch-{number}.json": {
            "model_id": made.model_id,
            "layer": made.layer,
            "sae_set": made.sae_set,
            "sae_id_suffix": None,
            "features": features,
        }
        for number, features in enumerate(batches(made.features))
    }
    exported = {feature["feature_index"] for feature in made.features}
    contents["skipped_indexes.json"] = {
        "model_id": made.model_id,
        "layer": str(made.layer),
        "sae_set": made.sae_set,
        "log_sparsity": None,
        "skipped_indexes": [one for one in range(made.dictionary.d_sae) if one not in exported]
        if made.dictionary
        else [],
    }
    info = made.study.info
    contents["run_settings.json"] = {
        "sae_set": made.sae_set,
        "sae_path": info.sae_folder,
        "np_set_name": made.sae_set,
        "model_id": made.model_id,
        "layer": made.layer,
        "huggingface_dataset_path": made.dataset,
        "n_prompts_total": made.features[0]["n_prompts_total"],
        "n_tokens_in_prompt": made.features[0]["n_tokens_in_prompt"],
        "n_features_at_a_time": AT_ONCE,
        "provenance": info.as_dict(),
        "left_out": made.left_out,
    }
    clear(folder, set(contents))
    for name, content in contents.items():
        write_whole(folder / name, json.dumps(content, allow_nan=False).encode())
    return [folder / name for name in contents]


def clear(folder: Path, kept: set[str]) -> None:
    """Takes away the batches that an earlier export of more features left."""
    for path in folder.glob("batch-*.json*"):
        if path.name not in kept:
            path.unlink()


def batches(rows: Sequence[dict[str, Any]], size: int = AT_ONCE) -> list[list[dict[str, Any]]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def slug(text: str) -> str:
    """Letters, digits, dots and dashes: what stands in both tools' addresses."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def _feature(
    card: FeatureCard, excerpts: Sequence[Excerpt], written: Written | None, n_texts: int, dataset: str
) -> dict[str, Any]:
    raised = written.raised if written else [(token, None) for token in card.promoted]
    lowered = written.lowered if written else [(token, None) for token in card.suppressed]
    aligned = written.coordinates if written else []
    return {
        "feature_index": card.latent,
        "neuron_alignment_indices": [at for at, _, _ in aligned],
        "neuron_alignment_values": _rounded(value for _, value, _ in aligned),
        "neuron_alignment_l1": _rounded(share for _, _, share in aligned),
        "correlated_neurons_indices": [],
        "correlated_neurons_l1": [],
        "correlated_neurons_pearson": [],
        "correlated_features_indices": [],
        "correlated_features_l1": [],
        "correlated_features_pearson": [],
        "neg_str": [token for token, _ in lowered],
        "neg_values": _rounded(value for _, value in lowered if value is not None),
        "pos_str": [token for token, _ in raised],
        "pos_values": _rounded(value for _, value in raised if value is not None),
        "frac_nonzero": card.density,
        "freq_hist_data_bar_values": _middles(card.histogram_edges),
        "freq_hist_data_bar_heights": list(card.histogram_counts),
        "logits_hist_data_bar_heights": list(written.logit_counts) if written else [],
        "logits_hist_data_bar_values": _middles(written.logit_edges) if written else [],
        "n_prompts_total": n_texts,
        "n_tokens_in_prompt": BEFORE + AFTER,
        "dataset": dataset,
        "decoder_weights_dist": [],
        "activations": [_activation(one, card.peak) for one in sorted(excerpts, key=lambda one: -one.peak)],
        "vector": _rounded(written.direction) if written else [],
    }


def _activation(one: Excerpt, peak: float) -> dict[str, Any]:
    """A bin from -1 says in that layout that it is one of the strongest."""
    return {
        "bin_min": -1,
        "bin_max": round(peak, DIGITS),
        "bin_contains": -1,
        "tokens": list(one.tokens),
        "values": _rounded(one.values),
        "qualifying_token_index": max(range(len(one.values)), key=lambda at: one.values[at]),
    }


def _middles(edges: Sequence[float]) -> list[float]:
    return _rounded((low + high) / 2 for low, high in pairwise(edges))


def _rounded(values) -> list[float]:
    return [round(float(value), DIGITS) for value in values]


def _n_texts(study: Study) -> int | None:
    """How many texts density and histogram are of; None where the concept set is not the study's."""
    from analysis.labelling.split import text_table

    found = study.concepts_at_hand()
    return None if found is None else len(text_table(found).texts)
