"""Names that other libraries give to places in a model, as TransformerLens' hook names."""

import re

_BLOCK = re.compile(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)(?:\.(mlp|self_attn|attn|attention))?")
_STREAM = re.compile(r"(resid_post|resid_pre|resid_mid|mlp_out|attn_out)_layer_(\d+)")


def hook_name_of_module(path: str) -> str | None:
    """What the Hugging Face module at ``path`` answers: ``layers.6`` and ``model.layers.6`` are blocks.6.hook_resid_post,
    ``h.6.mlp`` is blocks.6.mlp.hook_out; None for any other module."""
    match = _BLOCK.fullmatch(path)
    if match is None:
        return None
    layer, part = match.groups()
    if part is None:
        return f"blocks.{layer}.hook_resid_post"
    return f"blocks.{layer}.mlp.hook_out" if part == "mlp" else f"blocks.{layer}.attn.hook_out"


def hook_name_of_submodule(name: str) -> str | None:
    """dictionary_learning's habit: ``resid_post_layer_8`` is blocks.8.hook_resid_post; None where a name says something else."""
    match = _STREAM.fullmatch(name)
    return f"blocks.{match.group(2)}.hook_{match.group(1)}" if match else None
