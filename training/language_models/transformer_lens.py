"""The same language model through TransformerLens' bridge; the only file that imports transformer_lens.

The bridge replaces a Hugging Face model's modules by its own, which call the same weights and carry hook points. Only
where hooks are put differs from hugging_face.py. It is slower (attention is computed piece by piece) and is here to be
agreed with.
"""

from typing import Any

import torch

from training.language_models.hugging_face import HuggingFaceModel, Place, load, places_in


class TransformerLensModel(HuggingFaceModel):
    """A LanguageModel around a TransformerBridge."""

    def __init__(self, bridge: Any, tokenizer: Any, own_names: list[str], name: str, revision: str | None = None):
        self.bridge = bridge
        self._own_names = own_names
        super().__init__(bridge.original_model, tokenizer, name, revision)

    def _find_places(self) -> dict[str, Place]:
        """Our hook names, as far as the bridge has them too."""
        points = self.bridge.hook_dict
        places = {}
        for hook_name in self._own_names:
            if hook_name not in points:
                continue
            # In the bridge, too, the stream between attention and MLP is seen where the MLP's norm reads a copy of it.
            block_out = points[hook_name.rsplit(".", 1)[0] + ".hook_out"] if hook_name.endswith("resid_mid") else None
            places[hook_name] = Place(points[hook_name], "out", carrier=block_out)
        return places


def open_transformer_lens(
    name: str, folder: str | None, device: str, dtype: torch.dtype, revision: str | None = None
) -> TransformerLensModel:
    """The model called ``name`` (in ``folder``, where it is not a hub name), behind a TransformerBridge."""
    try:
        from transformer_lens.model_bridge import TransformerBridge
    except ImportError as error:
        raise ImportError("TransformerLens is not installed: pip install 'transformer-lens>=3.9,<4'") from error
    # The bridge re-implements attention step by step, which is what Hugging Face calls eager.
    model, tokenizer = load(folder or name, device, dtype, revision, attn_implementation="eager")
    own_names = list(places_in(model))
    bridge = TransformerBridge.boot_transformers(
        folder or name, hf_model=model, tokenizer=tokenizer, device=device, dtype=dtype
    )
    return TransformerLensModel(bridge, tokenizer, own_names, name, revision)
