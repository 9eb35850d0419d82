"""The module's equation, its start, and the frozen form of a batch_topk one."""

import copy

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder, freeze_threshold
from saes.site import Site


def test_the_equation():
    sae = SparseAutoencoder(SAEConfig(3, 5, "relu"))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_()
    x = torch.randn(4, 3)
    z = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc).clamp(min=0)
    torch.testing.assert_close(sae.encode(x), z)
    torch.testing.assert_close(sae.decode(z), z @ sae.W_dec + sae.b_dec)


def test_starts_tied_with_unit_directions_from_its_seed():
    sae = SparseAutoencoder(SAEConfig(8, 32), seed=3)
    assert torch.equal(sae.W_enc, sae.W_dec.T)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(32))
    assert torch.equal(sae.W_dec, SparseAutoencoder(SAEConfig(8, 32), seed=3).W_dec)
    assert not torch.equal(sae.W_dec, SparseAutoencoder(SAEConfig(8, 32), seed=4).W_dec)
    x = torch.randn(10, 8) + 5
    sae.start_at_mean(x)
    torch.testing.assert_close(sae.b_dec.detach(), x.mean(0))


def test_latent_order_storage_survives_copies():
    sae = SparseAutoencoder(SAEConfig(4, 16, k=2))
    loaded = SparseAutoencoder(SAEConfig(4, 16, k=2), seed=9)
    loaded.load_state_dict(sae.state_dict())
    for other in (copy.deepcopy(sae), loaded):
        assert other.W_enc.T.is_contiguous()
        assert torch.equal(other.W_enc, sae.W_enc)


def test_freezing_gives_a_jump_relu_and_leaves_the_given_one():
    sae = SparseAutoencoder(SAEConfig(4, 16, "batch_topk", k=2))
    with pytest.raises(ValueError, match="not seen a training step"):
        freeze_threshold(sae)
    sae.running_threshold.fill_(0.5)
    frozen = freeze_threshold(sae)
    assert (sae.config.sparsity, frozen.config.sparsity) == ("batch_topk", "jump_relu")
    x = torch.randn(20, 4)
    pre = sae.pre_activations(x)
    torch.testing.assert_close(frozen.encode(x), pre * (pre > 0.5))
    with pytest.raises(ValueError, match="only a batch_topk"):
        freeze_threshold(frozen)


def test_prefixes_end_at_the_whole_width():
    for prefixes in ((4, 8), (4, 8, 16)):
        assert SAEConfig(4, 16, k=2, prefixes=prefixes).prefixes == (4, 8, 16)
    sae = SparseAutoencoder(SAEConfig(4, 16, "batch_topk", k=2, prefixes=(4,)))
    sae.running_threshold.fill_(0.5)
    assert freeze_threshold(sae).config.prefixes == ()


def test_the_equation_of_a_transcoder():
    sae = SparseAutoencoder(SAEConfig(3, 8, "relu", apply_b_dec_to_input=False, d_out=5, skip=True))
    assert sae.W_dec.shape == (8, 5)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(sae.W_enc.norm(dim=0), torch.ones(8))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_()
    x = torch.randn(4, 3)
    z = (x @ sae.W_enc + sae.b_enc).clamp(min=0)
    torch.testing.assert_close(sae.encode(x), z)
    torch.testing.assert_close(sae.reconstruct(x), z @ sae.W_dec + sae.b_dec + x @ sae.W_skip.T)
    torch.testing.assert_close(sae.reconstruct(x), sae.decode(z) + x @ sae.W_skip.T)
    target = torch.randn(4, 5) + 2
    sae.start_at_mean(x, target)
    torch.testing.assert_close(sae.b_dec.detach(), target.mean(0))
    torch.testing.assert_close(sae.pre_activations(x).mean(0), torch.zeros(8), atol=1e-5, rtol=0)


def test_a_crosscoder_s_directions_divide_among_its_sites():
    sae = SparseAutoencoder(SAEConfig(5, 8, k=2, sites=(("a", 2), ("b", 3))))
    assert torch.equal(torch.cat([sae.directions_at("a"), sae.directions_at("b")], dim=1), sae.directions)
    assert sae.directions_at("b").shape == (8, 3)
    with pytest.raises(ValueError, match="no site 'c': it has a, b"):
        sae.directions_at("c")


def test_a_wrong_width_names_the_site():
    sae = SparseAutoencoder(SAEConfig(4, 16, k=2))
    sae.site = Site("gpt2", "blocks.6.hook_resid_post")
    with pytest.raises(ValueError, match=r"expected d_in 4, got 5: this SAE was trained at gpt2/blocks\.6"):
        sae.encode_sparse(torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": "dense"}, "one of topk, batch_topk, jump_relu, relu, gated"),
        ({"k": 0}, "k must lie between 1 and d_sae 8"),
        ({"k": 9}, "k must lie between"),
        ({"d_in": 0}, "at least 1"),
        ({"initial_threshold": -1.0}, "negative"),
        ({"d_out": 3}, "apply_b_dec_to_input=False"),
        ({"skip": True}, "skip goes with transcoders"),
        ({"sites": (("a", 2), ("b", 3))}, "5 wide together, but d_in is 4"),
        ({"sites": (("a", 4),)}, "two or more different sites, got a"),
        ({"sites": (("a", 2), ("b", 2)), "d_out": 3, "apply_b_dec_to_input": False}, "it has no d_out"),
        ({"prefixes": (4, 2)}, r"ascend from at least 1 to d_sae 8, got \[4, 2\]"),
        ({"prefixes": (4, 9)}, "ascend"),
        ({"prefixes": (0, 4)}, "ascend"),
        ({"prefixes": (4,), "sparsity": "relu"}, "prefixes go with the sparsities topk and batch_topk, not relu"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SAEConfig(**{"d_in": 4, "d_sae": 8, "k": 2, **settings})
