"""What a study is about, opened again: its language model, its dictionary and its concept set."""

from contextlib import suppress
from pathlib import Path

import torch

from analysis.concepts.concept import ConceptSet, load_concepts
from analysis.study import Study
from saes.autoencoder import SparseAutoencoder
from saes.dictionary import Dictionary
from saes.formats.layout import layout_at
from saes.opening import dictionary_hash, find_sae, open_dictionary
from saes.projections import Projections
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

Opened = SparseAutoencoder | Projections
"""What a path can turn out to be."""


def open_subject(
    study: Study, model: LanguageModel | str | Path | None, dictionary: Dictionary | None, device: str
) -> tuple[LanguageModel, Dictionary, str]:
    """The model (the study's own unless another is given), the dictionary on the model's device, and the hook name."""
    if dictionary is None:
        dictionary = at_one_site(dictionary_of(study))
    if model is None or isinstance(model, (str, Path)):
        model = open_model(str(model or study.info.model), device)
    return model, on_device(dictionary, model.device), study.info.settings["hook_name"]


def concept_set_of(study: Study, given: ConceptSet | str | Path | None = None) -> ConceptSet:
    """The texts that the study was labelled with; ValueError where they are others now."""
    source = given or study.concepts
    found = source if isinstance(source, ConceptSet) else load_concepts(source)
    if found.hash != study.info.concept_hash:
        raise ValueError(
            f"the concept set {found.name} is not the one that {study.folder} was labelled with: label it again"
        )
    return found


def as_labelled(model: LanguageModel, study: Study) -> LanguageModel:
    """``model`` reading texts as it did for the study: in a chat, where the study read one."""
    read = study.info.settings.get("read", "all")
    return model if read == "all" else model.reading(read)


def on_device(dictionary: Dictionary, device: torch.device | str) -> Dictionary:
    """``dictionary`` where the model is; one of somebody else's kind stays where it was made."""
    return dictionary.to(device) if isinstance(dictionary, torch.nn.Module | Projections) else dictionary


def reads_one_site(dictionary: Opened) -> Opened:
    """``dictionary``, or a ValueError for a crosscoder: labels are for what reads one site."""
    if isinstance(dictionary, SparseAutoencoder) and dictionary.config.sites:
        raise ValueError("this is a crosscoder: labels and clamps are for dictionaries that read one site")
    return dictionary


def writes_elsewhere(dictionary: Dictionary) -> bool:
    """Whether it is a transcoder, whose directions do not belong to the site that it reads."""
    return isinstance(dictionary, SparseAutoencoder) and dictionary.config.d_out is not None


def at_one_site(dictionary: Opened) -> Opened:
    """``dictionary``, or a ValueError where it is none that reads and writes one site, which trials are about."""
    if writes_elsewhere(dictionary):
        raise ValueError(
            "this is a transcoder: it is labelled and clamped, but trials are for what writes where it reads"
        )
    return reads_one_site(dictionary)


def dictionary_of(study: Study) -> Opened:
    """The SAE that the study labelled. Raises FileNotFoundError where it is gone, ValueError where it is another now."""
    release = study.info.settings.get("sae_lens_release")
    return open_dictionary(study.info.sae_folder if release else sae_path(study), release)[0]


def study_beside(checkpoint: Path) -> Path:
    """Where a dictionary's study goes by itself: into its folder, or beside its file."""
    return checkpoint.with_name(f"{checkpoint.stem}-study") if checkpoint.is_file() else checkpoint / "study"


def sae_path(study: Study) -> Path:
    """The SAE that the study labelled: around the study, else where study.json says, else beside the study."""
    said = study.info.sae_folder
    told = []
    if said:
        with suppress(FileNotFoundError):
            told = [find_sae(said)]
    found = [one for one in (study.folder.parent, *told, study.folder.parent / "sae") if layout_at(one) is not None]
    if not found:
        raise FileNotFoundError(f"the SAE of {study.folder} is not at {said or 'any path'}, nor beside the study")
    expected = study.info.sae_hash
    same = next((one for one in found if not expected or dictionary_hash(one) == expected), None)
    if same is None:
        raise ValueError(f"{found[0]} is not the SAE that {study.folder} labelled: label it again")
    return same
