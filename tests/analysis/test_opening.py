"""Labels and clamps are for SAEs of one site; whatever else can be trained is refused in one line."""

import pytest

from analysis.opening import at_one_site
from saes.autoencoder import SAEConfig, SparseAutoencoder


def test_transcoders_and_crosscoders_are_refused():
    plain = SparseAutoencoder(SAEConfig(4, 8, k=2))
    assert at_one_site(plain) is plain
    for kind, settings in (
        ("transcoder", {"d_out": 4, "apply_b_dec_to_input": False}),
        ("crosscoder", {"sites": (("a", 2), ("b", 2))}),
    ):
        with pytest.raises(ValueError, match=f"this is a {kind}: labels and clamps are for SAEs"):
            at_one_site(SparseAutoencoder(SAEConfig(4, 8, k=2, **settings)))
