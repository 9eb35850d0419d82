"""To and from SAELens, its registry of published SAEs included; the only file that imports sae_lens."""

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

from saes.autoencoder import SparseAutoencoder
from saes.checkpoint import from_parts, to_parts
from saes.site import Site

if TYPE_CHECKING:
    import sae_lens


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
    """A published SAE by SAELens' names for it, with its site and SAELens' metadata (needs the network or a cache)."""
    lens = _sae_lens()
    theirs = lens.SAE.from_pretrained(release, sae_id)
    return from_parts(theirs.cfg.to_dict(), theirs.state_dict())


def _sae_lens() -> Any:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            import sae_lens
    except ImportError as error:
        raise ImportError("SAELens is not installed: pip install 'sae-lens>=6'") from error
    return sae_lens
