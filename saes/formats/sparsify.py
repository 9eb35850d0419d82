"""sparsify's (EleutherAI) sparse coders: a folder for each hookpoint, with cfg.json and sae.safetensors.

encode: topk(relu((x - b_dec) @ encoder.weight.T + encoder.bias), k), where a transcoder takes no b_dec off;
decode: z @ W_dec + b_dec (+ x @ W_skip.T). An autoencoder reads and writes what the module at its hookpoint answers; a
transcoder reads what that module is given.
"""

from typing import Any

from torch import Tensor

from saes.formats.hook_names import hook_name_of_module
from saes.formats.json_file import json_object
from saes.formats.layout import Layout
from saes.formats.weights_file import tensors_in


def read(layout: Layout) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SAELens' settings and tensors for it; ValueError for what they cannot say."""
    assert layout.config is not None
    told = json_object(layout.config)
    if told.get("activation", "topk") != "topk" or told.get("signed"):
        kind = "signed topk" if told.get("signed") else told["activation"]
        raise ValueError(f"its activation is {kind!r}, which is none of the sparsities here; topk can be read")
    packed = tensors_in(layout.weights)
    names = {"encoder.bias": "b_enc", "W_dec": "W_dec", "b_dec": "b_dec", "W_skip": "W_skip"}
    if "encoder.weight" not in packed or "W_dec" not in packed:
        raise ValueError(f"{layout.weights.name} lacks encoder.weight or W_dec; it holds {', '.join(sorted(packed))}")
    weights = {names.get(name, name): tensor for name, tensor in packed.items() if name != "encoder.weight"}
    weights["W_enc"] = packed["encoder.weight"].T
    d_sae, d_in = packed["encoder.weight"].shape
    transcodes, skips = bool(told.get("transcode")), "W_skip" in packed
    if skips and not transcodes:
        raise ValueError(
            "it is an autoencoder that passes x on past its latents (skip_connection): only transcoders may"
        )
    if told.get("d_in", d_in) != d_in or (told.get("num_latents") or d_sae) != d_sae:
        raise ValueError(
            f"cfg.json says d_in {told.get('d_in')} and {told.get('num_latents')} latents, the weights {d_in} and {d_sae}"
        )
    kind = ("topk_skip_transcoder" if skips else "topk_transcoder") if transcodes else "topk"
    config: dict[str, Any] = {"architecture": kind, "d_in": d_in, "d_sae": d_sae, "k": told.get("k", 32)}
    config |= {"apply_b_dec_to_input": not transcodes, "metadata": _metadata(layout, transcodes)}
    return config | ({"d_out": d_in} if transcodes else {}), weights


def _metadata(layout: Layout, transcodes: bool) -> dict[str, Any]:
    """The run's own config.json, one folder up, names the model; the folder's name is the hookpoint."""
    run = layout.path.parent / "config.json"
    known = json_object(run) if run.is_file() else {}
    metadata: dict[str, Any] = {"format": "sparsify"}
    if "sae" in known:  # a model folder has a config.json as well
        metadata |= {"model_name": known.get("model"), "dataset_path": known.get("dataset")}
        if known.get("ctx_len"):
            metadata["context_size"] = known["ctx_len"]
    hook_name = hook_name_of_module(layout.path.name)
    if hook_name is not None and not transcodes:
        metadata["hook_name"] = hook_name
    if hook_name is not None and transcodes and ".mlp." in hook_name:
        metadata |= {"hook_name": hook_name.replace("hook_out", "hook_in"), "hook_name_out": hook_name}
    return metadata
