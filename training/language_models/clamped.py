"""An intervention around any Hugging Face model, for as long as a `with` lasts.

with clamped(model, Intervention((Edit((1234,), 8.0),)), dictionary, "blocks.2.hook_resid_post"):
    model.generate(**tokenizer("Once", return_tensors="pt"))
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from saes.autoencoder import SparseAutoencoder
from saes.dictionary import Dictionary
from saes.intervention import DirectionPush, Intervention, RowInterventions, hooks_across
from training.language_models.language_model import LanguageModel


@contextmanager
def clamped(
    model: Any,
    intervention: Intervention | DirectionPush | RowInterventions,
    dictionary: Dictionary | None = None,
    hook_name: str | None = None,
    written_at: str | None = None,
) -> Iterator[Any]:
    """Keeps ``intervention`` in place on ``model``: a Hugging Face model, or one of our LanguageModels.

    ``hook_name`` may be left out where the dictionary knows its site, as one loaded from a checkpoint does; the
    dictionary moves to the model's device. A transcoder reads there and writes ``written_at``, which its checkpoint's
    metadata call hook_name_out. Padding and special tokens are left alone; a model's own ``generate`` is
    followed token by token.
    """
    site = getattr(dictionary, "site", None)
    hook_name = hook_name or (site.hook_name if site is not None else None)
    if hook_name is None:
        raise ValueError(
            "clamped needs a hook_name, for example blocks.2.hook_resid_post: the dictionary does not say one"
        )
    if isinstance(model, LanguageModel):
        held = model
    else:
        from training.language_models.hugging_face import HuggingFaceModel

        held = HuggingFaceModel(model)
    width = held.width(hook_name)
    if dictionary is not None and dictionary.d_in != width:
        raise ValueError(
            f"expected d_in {dictionary.d_in}, got {width} at {hook_name}: the dictionary is of another model"
        )
    transcodes = isinstance(dictionary, SparseAutoencoder) and dictionary.config.d_out is not None
    if transcodes and written_at is None:
        raise ValueError(
            f"this transcoder reads {hook_name}: name the place that it writes, written_at='blocks.2.hook_mlp_out' for example"
        )
    if written_at is not None and not transcodes:
        raise ValueError(f"written_at {written_at} goes with a transcoder: any other dictionary writes where it reads")
    if isinstance(dictionary, nn.Module):
        dictionary = dictionary.to(held.device)
    if written_at is not None:
        assert isinstance(dictionary, SparseAutoencoder)
        if dictionary.d_out != held.width(written_at):
            raise ValueError(f"expected d_out {dictionary.d_out}, got {held.width(written_at)} at {written_at}")
        hooks = hooks_across(intervention, dictionary, hook_name, written_at)
    else:
        hooks = {hook_name: intervention.hook(dictionary)}  # type: ignore[arg-type]  # None where none is needed
    with held.hooked(hooks):
        yield model
