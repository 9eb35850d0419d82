"""dictionary_learning's autoencoders: a folder with config.json and ae.pt, which is opened as plain tensors only.

A BatchTopK or Matryoshka one is read as its own reader uses it: by the threshold that training left. An AutoEncoder's
latents are rescaled to directions of length one, as its own reader does; all else keeps its lengths.
"""

import pickle
from typing import Any

import torch
from torch import Tensor

from saes.formats.hook_names import hook_name_of_submodule
from saes.formats.json_file import json_object
from saes.formats.layout import Layout
from saes.formats.weights_file import guarded

CLASSES = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard",
    "GatedAutoEncoder": "gated",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu",
}
"""Their classes, and SAELens' architecture that computes the same."""

RENAMED = {
    "encoder.bias": "b_enc",
    "bias": "b_dec",
    "decoder.bias": "b_dec",
    "decoder_bias": "b_dec",
    "gate_bias": "b_gate",
    "mag_bias": "b_mag",
}
"""Their tensors that mean the same under another name; linear layers are transposed beside this."""


def read(layout: Layout) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SAELens' settings and tensors for it; ValueError for what they cannot say."""
    assert layout.config is not None
    told = json_object(layout.config).get("trainer")
    if not isinstance(told, dict) or told.get("dict_class") not in CLASSES:
        kind = told.get("dict_class") if isinstance(told, dict) else None
        raise ValueError(f"{layout.config} names the dict_class {kind!r}; these can be read: {', '.join(CLASSES)}")
    kind = told["dict_class"]
    packed = _tensors(layout)
    weights = {RENAMED.get(name, name): tensor for name, tensor in packed.items()}
    for theirs, ours in (("encoder.weight", "W_enc"), ("decoder.weight", "W_dec")):
        if theirs in weights:
            weights[ours] = weights.pop(theirs).T
    if "W_enc" not in weights or "W_dec" not in weights:
        raise ValueError(f"{layout.weights.name} is no {kind}: it holds {', '.join(sorted(packed))}")
    d_in, d_sae = weights["W_enc"].shape
    config: dict[str, Any] = {"architecture": CLASSES[kind], "d_in": d_in, "d_sae": d_sae}
    config["apply_b_dec_to_input"] = kind not in ("AutoEncoderNew", "JumpReluAutoEncoder")
    config["metadata"] = _metadata(told)
    budget, threshold = weights.pop("k", None), weights.pop("threshold", None)
    groups = weights.pop("group_sizes", None)
    if groups is not None:
        config["metadata"]["prefixes"] = groups.cumsum(0).tolist()
    if kind == "AutoEncoderTopK":
        config["k"] = int(told["k"] if budget is None else budget)
    elif CLASSES[kind] == "jumprelu":
        weights["threshold"] = _threshold(threshold, d_sae)
    if kind == "AutoEncoder":
        _to_unit_directions(weights)
    return config, weights


def _tensors(layout: Layout) -> dict[str, Tensor]:
    try:
        with guarded(layout.weights):
            packed = torch.load(layout.weights, map_location="cpu", weights_only=True)
    except ValueError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        raise ValueError(f"{layout.weights} holds more than tensors, and could run code: refused") from error
    if not isinstance(packed, dict) or not all(isinstance(one, Tensor) for one in packed.values()):
        raise ValueError(f"{layout.weights} is no state dict of tensors")
    return packed


def _threshold(threshold: Tensor | None, d_sae: int) -> Tensor:
    """One for each latent. A negative one stands for none: the training never set it."""
    if threshold is None:
        raise ValueError("it has no threshold, by which a BatchTopK dictionary is read: written by too old a version")
    return threshold.float().clamp(min=0).expand(d_sae)


def _to_unit_directions(weights: dict[str, Tensor]) -> None:
    """The same reconstruction with directions of length one: a value is then a distance in the activations' space."""
    norms = weights["W_dec"].norm(dim=1)
    if bool((norms == 0).any()):
        raise ValueError("a latent has a direction of length zero")
    weights["W_dec"] = weights["W_dec"] / norms[:, None]
    weights["W_enc"], weights["b_enc"] = weights["W_enc"] * norms, weights["b_enc"] * norms


def _metadata(told: dict[str, Any]) -> dict[str, Any]:
    metadata = {"format": "dictionary_learning", "training_architecture": told["dict_class"]}
    metadata |= {
        "model_name": told.get("lm_name"),
        "hook_name": hook_name_of_submodule(str(told.get("submodule_name"))),
    }
    return {name: value for name, value in metadata.items() if value is not None}
