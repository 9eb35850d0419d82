"""The size of a language model, from its config alone: no weight is read, and nothing is downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.language_models.hugging_face import HuggingFaceModel, blocks_of
from training.language_models.opening import find_folder


@dataclass(frozen=True)
class Outline:
    """What a plan has to know of a language model that is read at some places."""

    parameters: int
    """All of them: the whole model is loaded."""
    read: int
    """Those of the blocks that a harvest runs through; it stops at the last of the places."""
    layers: int
    layers_read: int
    d_model: int
    widest: int
    """The widest activation inside a block."""
    vocabulary: int
    context: int

    def flops_a_token(self, context: int) -> float:
        """Of a harvest: two a parameter, and attention over on average half the window."""
        return 2 * self.read + 2 * self.layers_read * self.d_model * context


def outline(name: str, hook_names: Sequence[str], revision: str | None = None) -> Outline:
    """The outline of the model called ``name``; a ValueError where it has no such place or its config is not here."""
    return outline_of(config_of(name, revision), name, hook_names)


def config_of(name: str, revision: str | None = None) -> Any:
    """Hugging Face's config of the model, from its folder or what was downloaded before."""
    import transformers

    folder = find_folder(name)
    try:
        return transformers.AutoConfig.from_pretrained(folder or name, revision=revision, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the config.json of {name} is not on this machine, or cannot be read, and planning downloads nothing: give a "
            "folder that holds it (config.json alone is enough)"
        ) from error


def outline_of(config: Any, name: str, hook_names: Sequence[str]) -> Outline:
    """The outline of a model with this config, built without memory for its weights."""
    import transformers

    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    opened = HuggingFaceModel(model, name=name)
    width = max(opened.width(hook_name) for hook_name in hook_names)  # a ValueError where there is no such place
    blocks = list(blocks_of(model))
    read = blocks[: max(map(_blocks_before, hook_names))]
    inside = [module.out_features for module in blocks[0].modules() if isinstance(module, torch.nn.Linear)]
    return Outline(
        parameters=sum(weight.numel() for weight in model.parameters()),
        read=sum(weight.numel() for block in read for weight in block.parameters()),
        layers=len(blocks),
        layers_read=len(read),
        d_model=width,
        widest=max([width, *inside]),
        vocabulary=model.get_input_embeddings().num_embeddings,
        context=opened.context,
    )


def _blocks_before(hook_name: str) -> int:
    """How many blocks have run when the place is passed."""
    layer = int(hook_name.split(".")[1])
    return layer if hook_name.endswith(("hook_resid_pre", "hook_in")) else layer + 1
