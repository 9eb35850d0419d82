"""What a study is about, opened again: its language model, its dictionary and its concept set."""

from pathlib import Path

import torch

from analysis.concepts.concept import ConceptSet, load_concepts
from analysis.study import Study
from saes.autoencoder import SparseAutoencoder
from saes.checkpoint import sae_hash
from saes.dictionary import Dictionary
from saes.opening import find_sae, open_dictionary
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model


def open_subject(
    study: Study, model: LanguageModel | str | Path | None, dictionary: Dictionary | None, device: str
) -> tuple[LanguageModel, Dictionary, str]:
    """The model (the study's own unless another is given), the dictionary on the model's device, and the hook name."""
    if dictionary is None:
        dictionary = dictionary_of(study)
    if model is None or isinstance(model, (str, Path)):
        model = open_model(str(model or study.info.model), device)
    if isinstance(dictionary, torch.nn.Module):
        dictionary = dictionary.to(model.device)
    return model, dictionary, study.info.settings["hook_name"]


def concept_set_of(study: Study, given: ConceptSet | str | Path | None = None) -> ConceptSet:
    """The texts that the study was labelled with; ValueError where they are others now."""
    source = given or study.info.settings.get("concepts", study.info.concept_set)
    found = source if isinstance(source, ConceptSet) else load_concepts(source)
    if found.hash != study.info.concept_hash:
        raise ValueError(
            f"the concept set {found.name} is not the one that {study.folder} was labelled with: label it again"
        )
    return found


def at_one_site(sae: SparseAutoencoder) -> SparseAutoencoder:
    """``sae``, or a ValueError where it is none that reads and writes one site, which labels and clamps are about."""
    if sae.config.d_out is None and not sae.config.sites:
        return sae
    kind = "crosscoder" if sae.config.sites else "transcoder"
    raise ValueError(f"this is a {kind}: labels and clamps are for SAEs, which read and write one site")


def dictionary_of(study: Study) -> SparseAutoencoder:
    """The SAE that the study labelled. Raises FileNotFoundError where it is gone, ValueError where it is another now."""
    release = study.info.settings.get("sae_lens_release")
    if release:
        return at_one_site(open_dictionary(study.info.sae_folder, release)[0])
    folder = sae_folder(study)
    if study.info.sae_hash and sae_hash(folder) != study.info.sae_hash:
        raise ValueError(f"{folder} is not the SAE that {study.folder} labelled: label it again")
    return at_one_site(open_dictionary(folder)[0])


def sae_folder(study: Study) -> Path:
    """The folder around the study, where it is an SAE's; else where study.json says; else beside the study."""
    said = study.info.sae_folder
    for candidate in (
        study.folder.parent,
        *((Path(said), Path("checkpoints") / said) if said else ()),
        study.folder.parent / "sae",
    ):
        if (candidate / "cfg.json").exists():
            return candidate
    try:
        return find_sae(said or "(no path in study.json)")
    except FileNotFoundError:
        raise FileNotFoundError(f"the SAE of {study.folder} is not at {said}, nor beside the study") from None
