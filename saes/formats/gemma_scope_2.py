"""Gemma Scope 2's SAEs and transcoders: config.json and params.safetensors with w_enc, b_enc, threshold, w_dec and b_dec of
a JumpReLU; an affine transcoder's affine_skip_connection is [d_in, d_out]."""

from typing import Any

from torch import Tensor

from saes.formats.hook_names import hook_name_of_module
from saes.formats.json_file import json_object
from saes.formats.layout import Layout
from saes.formats.weights_file import tensors_in

_NEEDED = ("w_enc", "b_enc", "threshold", "w_dec", "b_dec")
_AROUND_THE_MLP = {
    "pre_feedforward_layernorm.output": "mlp.hook_in",
    "post_feedforward_layernorm.output": "hook_mlp_out",
}
"""Hugging Face's places after the norms around the MLP."""


def read(layout: Layout) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SAELens' settings and tensors for it; ValueError for what they cannot say."""
    assert layout.config is not None
    told = json_object(layout.config)
    if told.get("architecture") != "jump_relu":
        raise ValueError(f"its architecture is {told.get('architecture')!r}; jump_relu can be read")
    packed = tensors_in(layout.weights)
    skip = packed.pop("affine_skip_connection", None)
    if set(packed) != set(_NEEDED) or packed["w_enc"].dim() != 2 or packed["w_dec"].dim() != 2:
        raise ValueError(
            f"{layout.weights.name} holds {', '.join(sorted(packed))}; one layer's has {', '.join(_NEEDED)}"
        )
    weights = {name.replace("w_", "W_"): tensor for name, tensor in packed.items()}
    d_in, d_sae = weights["W_enc"].shape
    config: dict[str, Any] = {"architecture": "jumprelu", "d_in": d_in, "d_sae": d_sae, "apply_b_dec_to_input": False}
    config["metadata"] = _metadata(told)
    if told.get("hf_hook_point_out") not in (None, told.get("hf_hook_point_in")):
        config |= {"architecture": "jumprelu_transcoder", "d_out": weights["W_dec"].shape[1]}
        if skip is not None:
            config["architecture"], weights["W_skip"] = "jumprelu_skip_transcoder", skip.T
    elif skip is not None:
        raise ValueError(
            "it passes x on past its latents (affine_skip_connection) and names no other place that it writes: only a "
            "transcoder, whose hf_hook_point_out is another than its hf_hook_point_in, may"
        )
    return config, weights


def _metadata(told: dict[str, Any]) -> dict[str, Any]:
    model = str(told.get("model_name") or "")
    metadata = {
        "format": "gemma_scope_2",
        "model_name": model if "/" in model else model and f"google/{model}",
        "hook_name": _hook_name(told.get("hf_hook_point_in")),
        "hook_name_out": _hook_name(told.get("hf_hook_point_out")),
        "l0": told.get("l0"),
    }
    return {name: value for name, value in metadata.items() if value}


def _hook_name(place: str | None) -> str | None:
    """``model.layers.22.output`` is blocks.22.hook_resid_post; None for a place that no model here shows."""
    for norm, hook_name in _AROUND_THE_MLP.items():
        if place and place.endswith(norm):
            block = hook_name_of_module(place.removesuffix(f".{norm}"))
            return block and block.replace("hook_resid_post", hook_name)
    return hook_name_of_module(place.removesuffix(".output")) if place and place.endswith(".output") else None
