"""To and from SAELens, its registry of published SAEs included; the only file that imports sae_lens."""

import contextlib
import io
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saes.autoencoder import SparseAutoencoder
from saes.checkpoint import from_parts, to_parts
from saes.nearest import did_you_mean
from saes.site import Site

if TYPE_CHECKING:
    import sae_lens

HUB_NAMES = {
    r"gpt2(-small)?": "openai-community/gpt2",
    r"gpt2-(medium|large|xl)": r"openai-community/\g<0>",
    r"pythia-[\d.]+[mb](-deduped)?(-v0|-seed\d)?": r"EleutherAI/\g<0>",
    r"gemma-(\d-)?\d+[mb](-it|-pt)?": r"google/\g<0>",
    r"qwen3-([\d.]+)b": r"Qwen/Qwen3-\1B",
    r"qwen3-([\d.]+)b-base": r"Qwen/Qwen3-\1B-Base",
    r"mistral-7b": "mistralai/Mistral-7B-v0.1",
    r"mistral-7b-instruct": "mistralai/Mistral-7B-Instruct-v0.1",
}
"""TransformerLens' short names, whole, and the hub's for them: what only begins like one may be anybody's."""


def to_sae_lens(sae: SparseAutoencoder, site: Site) -> "sae_lens.SAE":
    """The same SAE as SAELens' own object; a batch_topk one arrives frozen, as SAELens saves them."""
    lens = _sae_lens()
    config, weights = to_parts(sae, site)
    try:
        theirs_class = lens.SAE.get_sae_class_for_architecture(config["architecture"])
    except KeyError:
        raise ValueError(f"SAELens has no {config['architecture']}: this SAE stays in our own layout") from None
    theirs = theirs_class(lens.SAEConfig.from_dict(config))
    theirs.load_state_dict(weights)
    return theirs


def from_sae_lens(sae: "sae_lens.SAE", scale: float | None = None) -> tuple[SparseAutoencoder, Site]:
    """Our SAE that computes what SAELens' ``sae`` does, and where it was trained.

    ``scale`` is needed where ``sae`` expects activations that were scaled outside it (expected_average_only_in).
    """
    ours, site, _ = from_parts(sae.cfg.to_dict(), sae.state_dict(), scale)
    return ours, site


def load_release(release: str, sae_id: str) -> tuple[SparseAutoencoder, Site, dict[str, Any]]:
    """A published SAE by SAELens' names for it, with its site and SAELens' metadata (needs the network or a cache).

    The site names the model as the hub does. A name that SAELens does not list is a ValueError that says what was meant;
    a hub that cannot be reached is a FileNotFoundError.
    """
    lens = _sae_lens()
    _check_listed(release, sae_id)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the model would have to be centred: `from_parts` sees to that
            theirs = lens.SAE.from_pretrained(release, sae_id)
    except OSError as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(f"{release} {sae_id} is not in the cache and could not be fetched: {reason}") from error
    sae, site, metadata = from_parts(theirs.cfg.to_dict(), theirs.state_dict())
    return sae, replace(site, model=hub_name(site.model)), metadata


def hub_name(model: str) -> str:
    """TransformerLens' short name of a model, under which SAELens lists it, as the Hugging Face hub has it.

    Any other name stays: one with its organisation, a folder, a short name that no SAE of SAELens' list is of.
    """
    for short, whole in HUB_NAMES.items():
        if match := re.fullmatch(short, model):
            return match.expand(whole)
    return model


def _check_listed(release: str, sae_id: str) -> None:
    """SAELens keeps its list in the package; a name with a slash may be any repository on the hub."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    listed = get_pretrained_saes_directory()
    if release not in listed and "/" not in release:
        meant = did_you_mean(release, listed)
        raise ValueError(f"SAELens lists no release {release!r}, and it is no repository on the hub{meant}")
    ids = listed[release].saes_map if release in listed else {sae_id: ""}
    if sae_id not in ids:
        some = ", ".join(list(ids)[:4]) + (", ..." if len(ids) > 4 else "")
        raise ValueError(f"{release} has no SAE {sae_id!r}; it has {some}{did_you_mean(sae_id, ids)}")


def _sae_lens() -> Any:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            import sae_lens
    except ImportError as error:
        raise ImportError("SAELens is not installed: pip install 'sae-lens>=6'") from error
    return sae_lens
