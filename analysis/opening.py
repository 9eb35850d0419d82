"""What a study is about, opened again: its language model and its dictionary."""

from pathlib import Path

import torch

from analysis.study import Study
from saes.dictionary import Dictionary
from saes.opening import open_dictionary
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model


def open_subject(
    study: Study, model: LanguageModel | str | Path | None, dictionary: Dictionary | None, device: str
) -> tuple[LanguageModel, Dictionary, str]:
    """The model (the study's own unless another is given), the dictionary on the model's device, and the hook name."""
    if dictionary is None:
        dictionary = open_dictionary(study.info.sae_folder)[0]
    if model is None or isinstance(model, (str, Path)):
        model = open_model(str(model or study.info.model), device)
    if isinstance(dictionary, torch.nn.Module):
        dictionary = dictionary.to(model.device)
    return model, dictionary, study.info.settings["hook_name"]
