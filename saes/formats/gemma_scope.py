"""Gemma Scope's SAEs (arXiv:2408.05147): params.npz with W_enc, b_enc, threshold, W_dec and b_dec of a JumpReLU.

What it reads is told by the folders' names alone: google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71. The
shapes come from the tensors.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saes.formats.layout import Layout
from saes.formats.weights_file import arrays_in, guarded

_NEEDED = ("W_enc", "b_enc", "threshold", "W_dec", "b_dec")
_REPOSITORY = re.compile(r"gemma-scope-(2b|9b|27b)-(pt|it)-(res|mlp|att|transcoders)")
_PLACES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}


def read(layout: Layout) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SAELens' settings and tensors for it; ValueError for what they cannot say."""
    arrays = arrays_in(layout.weights)
    with guarded(layout.weights):  # arrays of texts are no weights
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
    scale = weights.pop("scaling_factor", None)
    if scale is not None and not bool((scale == 1).all()):
        raise ValueError("it rescales its code by a scaling_factor other than 1, which cannot be read")
    if set(weights) != set(_NEEDED):
        raise ValueError(f"params.npz holds {', '.join(sorted(weights))}; a Gemma Scope SAE has {', '.join(_NEEDED)}")
    metadata = _metadata(layout.weights.resolve())
    if metadata.get("kind") == "transcoders":
        raise ValueError(
            "it is a transcoder of Gemma Scope, which reads the norm before the MLP without that norm's gain: no place "
            "of a Hugging Face model passes that"
        )
    if weights["W_enc"].dim() != 2:
        raise ValueError(f"W_enc has the shape {list(weights['W_enc'].shape)}, expected [d_in, d_sae]")
    d_in, d_sae = weights["W_enc"].shape
    config = {"architecture": "jumprelu", "d_in": d_in, "d_sae": d_sae, "apply_b_dec_to_input": False}
    return config | {"metadata": metadata}, weights


def _metadata(path: Path) -> dict[str, Any]:
    """What the path's names say, which may be nothing."""
    names = path.parts[:-1]
    metadata: dict[str, Any] = {"format": "gemma_scope"}
    repository = next((match for name in reversed(names) if (match := _REPOSITORY.search(name))), None)
    layer = next((match.group(1) for name in reversed(names) if (match := re.fullmatch(r"layer_(\d+)", name))), None)
    l0 = next((match.group(1) for name in reversed(names) if (match := re.fullmatch(r"average_l0_(\d+)", name))), None)
    if repository is not None:
        size, training, kind = repository.groups()
        metadata |= {"model_name": f"google/gemma-2-{size}" + ("-it" if training == "it" else ""), "kind": kind}
        if layer is not None and kind in _PLACES:
            metadata["hook_name"] = f"blocks.{layer}.{_PLACES[kind]}"
    if l0 is not None:
        metadata["l0"] = int(l0)
    return metadata
