"""Our checkpoints in SAELens and SAELens' in ours: the same codes and reconstructions to 1e-5, for every sparsity."""

import json
import sys

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder, freeze_threshold
from saes.checkpoint import load_sae, save_sae
from saes.sae_lens_bridge import from_sae_lens, hub_name, load_release, to_sae_lens
from saes.site import Site

SITE = Site("org/model", "blocks.2.hook_resid_post")
SPARSITIES = ["topk", "batch_topk", "jump_relu", "relu", "gated"]
D_IN, D_SAE = 8, 48


@pytest.fixture(scope="module")
def sae_lens():
    return pytest.importorskip("sae_lens", reason="SAELens is not installed: pip install 'sae-lens>=6'")


def autoencoder(sparsity, **settings):
    settings = {"k": 5, "initial_threshold": 0.3, "apply_b_dec_to_input": sparsity != "relu", **settings}
    sae = SparseAutoencoder(SAEConfig(D_IN, D_SAE, sparsity, **settings), seed=1)
    with torch.no_grad():
        sae.b_dec.normal_()
        sae.bias.normal_(std=0.2)
        if sparsity == "gated":
            sae.r_mag.normal_(std=0.3)
            sae.b_mag.normal_(std=0.3)
    if sparsity == "batch_topk":
        sae.running_threshold.fill_(0.6)
    return sae


def assert_same(ours, theirs):
    x = torch.randn(3, 20, D_IN) * 2
    z = ours.encode(x)
    torch.testing.assert_close(theirs.encode(x), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs.decode(z), ours.decode(z), rtol=1e-5, atol=1e-5)
    assert (z > 0).any()


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_our_checkpoint_opens_in_sae_lens(sae_lens, sparsity, tmp_path):
    sae = autoencoder(sparsity)
    theirs = sae_lens.SAE.load_from_disk(save_sae(sae, tmp_path, SITE, {"context_size": 64}))
    architectures = {"relu": "standard", "jump_relu": "jumprelu", "batch_topk": "jumprelu"}
    assert theirs.cfg.architecture() == architectures.get(sparsity, sparsity)
    assert theirs.cfg.metadata.hook_name == SITE.hook_name
    assert theirs.cfg.metadata.context_size == 64
    assert_same(freeze_threshold(sae) if sparsity == "batch_topk" else sae, theirs)


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
def test_a_matryoshka_opens_in_sae_lens_as_what_it_is_in_use(sae_lens, sparsity, tmp_path):
    sae = autoencoder(sparsity, prefixes=(8, 24))
    theirs = sae_lens.SAE.load_from_disk(save_sae(sae, tmp_path, SITE))
    assert theirs.cfg.metadata.training_architecture == f"matryoshka_{sparsity.replace('_', '')}"
    assert theirs.cfg.metadata.prefixes == [8, 24, D_SAE]
    assert_same(load_sae(tmp_path)[0], theirs)
    assert_same(freeze_threshold(sae) if sparsity == "batch_topk" else sae, theirs)


def test_a_matryoshka_trained_in_sae_lens_opens_frozen(sae_lens, tmp_path):
    config = sae_lens.MatryoshkaBatchTopKTrainingSAEConfig(
        d_in=D_IN, d_sae=D_SAE, k=4, matryoshka_widths=[8, 24, D_SAE], rescale_acts_by_decoder_norm=False
    )
    theirs = sae_lens.MatryoshkaBatchTopKTrainingSAE(config)
    theirs.topk_threshold.fill_(0.01)
    theirs.save_inference_model(tmp_path)
    assert_same(load_sae(tmp_path)[0], sae_lens.SAE.load_from_disk(tmp_path))


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_there_and_back_in_memory_and_on_disk(sae_lens, sparsity, tmp_path):
    sae = autoencoder(sparsity)
    theirs = to_sae_lens(sae, SITE)
    back, site = from_sae_lens(theirs)
    assert site == SITE
    assert_same(back, theirs)
    theirs.save_model(tmp_path)
    assert_same(load_sae(tmp_path)[0], theirs)


@pytest.mark.parametrize("kind", ["Standard", "TopK", "JumpReLU", "Gated", "TopK rescaled", "TopK b_dec apart"])
def test_an_sae_made_in_sae_lens_opens_here(sae_lens, kind, tmp_path):
    settings = {"rescaled": {"rescale_acts_by_decoder_norm": True}, "apart": {"apply_b_dec_to_input": False}}
    name, extra = kind.split()[0], settings.get(kind.split()[-1], {})
    if name == "TopK":
        extra = {"k": 5, **extra}
    config = getattr(sae_lens, f"{name}SAEConfig")(d_in=D_IN, d_sae=D_SAE, **extra)
    config.metadata.hook_name = "blocks.0.hook_resid_pre"
    theirs = getattr(sae_lens, f"{name}SAE")(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter))
        if name == "JumpReLU":
            theirs.threshold.abs_()
    theirs.save_model(tmp_path)
    ours, site, _ = load_sae(tmp_path)
    assert_same_when_rescaled(ours, theirs) if "rescaled" in kind else assert_same(ours, theirs)
    assert site == Site("unknown", "blocks.0.hook_resid_pre")


def assert_same_when_rescaled(ours, theirs):
    """The lengths of directions moved from decoding to encoding; what goes in and comes out is the same."""
    x = torch.randn(20, D_IN)
    torch.testing.assert_close(theirs.encode(x), ours.encode(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs(x), ours.decode(ours.encode(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sparsity", ["relu", "jump_relu", "batch_topk"])
@pytest.mark.parametrize("skip", [False, True])
def test_transcoders_there_and_back(sae_lens, sparsity, skip, tmp_path):
    sae = autoencoder(sparsity, d_out=5, apply_b_dec_to_input=False, skip=skip)
    with torch.no_grad():
        if skip:
            sae.W_skip.normal_()
    theirs = sae_lens.SAE.load_from_disk(
        save_sae(sae, tmp_path / "ours", SITE, {"hook_name_out": "blocks.3.hook_mlp_out"})
    )
    kind = "skip_transcoder" if skip else "transcoder"
    assert theirs.cfg.architecture() == (kind if sparsity == "relu" else f"jumprelu_{kind}")
    assert theirs.cfg.metadata.hook_name_out == "blocks.3.hook_mlp_out"
    ours = freeze_threshold(sae) if sparsity == "batch_topk" else sae
    theirs.save_model(tmp_path / "theirs")
    for one in (ours, load_sae(tmp_path / "theirs")[0], from_sae_lens(to_sae_lens(sae, SITE))[0]):
        assert_same(one, theirs)
        x = torch.randn(20, D_IN)
        torch.testing.assert_close(theirs(x), one.reconstruct(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["Transcoder", "SkipTranscoder", "JumpReLUTranscoder", "JumpReLUSkipTranscoder"])
def test_a_transcoder_made_in_sae_lens_opens_here(sae_lens, kind, tmp_path):
    config = getattr(sae_lens, f"{kind}Config")(d_in=D_IN, d_sae=D_SAE, d_out=5, apply_b_dec_to_input=False)
    theirs = getattr(sae_lens, kind)(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter))
    theirs.save_model(tmp_path)
    ours, x = load_sae(tmp_path)[0], torch.randn(20, D_IN)
    assert_same(ours, theirs)
    torch.testing.assert_close(theirs(x), ours.reconstruct(x), rtol=1e-5, atol=1e-5)


def test_what_sae_lens_does_not_have_is_said(sae_lens):
    with pytest.raises(ValueError, match="SAELens has no topk_crosscoder"):
        to_sae_lens(SparseAutoencoder(SAEConfig(5, 24, k=4, sites=(("a", 2), ("b", 3)))), SITE)


def test_a_batch_topk_trained_in_sae_lens_opens_frozen(sae_lens, tmp_path):
    config = sae_lens.BatchTopKTrainingSAEConfig(d_in=D_IN, d_sae=D_SAE, k=4)
    theirs = sae_lens.BatchTopKTrainingSAE(config)
    theirs.topk_threshold.fill_(0.01)  # pre-activations are small where directions start at length 0.1
    theirs.save_inference_model(tmp_path)
    ours, _, _ = load_sae(tmp_path)
    assert ours.config.sparsity == "jump_relu"
    assert_same(ours, sae_lens.SAE.load_from_disk(tmp_path))


def test_normalisation_is_folded_or_refused(sae_lens, tmp_path):
    theirs = sae_lens.StandardSAE(
        sae_lens.StandardSAEConfig(d_in=D_IN, d_sae=D_SAE, normalize_activations="expected_average_only_in")
    )
    with pytest.raises(ValueError, match="give scale="):
        from_sae_lens(theirs)
    ours, _ = from_sae_lens(theirs, scale=0.5)
    theirs.fold_activation_norm_scaling_factor(0.5)
    assert_same(ours, theirs)
    for normalise in ("layer_norm", "constant_norm_rescale"):
        config = sae_lens.StandardSAEConfig(d_in=D_IN, d_sae=D_SAE, normalize_activations=normalise)
        with pytest.raises(ValueError, match="rescales each activation by its own size, which cannot be folded"):
            from_sae_lens(sae_lens.StandardSAE(config))


@pytest.mark.parametrize("sparsity", ["topk", "jump_relu", "relu", "gated"])
def test_an_sae_of_centred_activations_reads_those_of_the_model_as_it_is(sae_lens, sparsity):
    theirs = to_sae_lens(autoencoder(sparsity), Site("gpt2-small", "blocks.8.hook_resid_pre"))
    theirs.cfg.metadata.model_from_pretrained_kwargs = {"center_writing_weights": True}
    ours, _ = from_sae_lens(theirs)
    x = torch.randn(20, D_IN) * 2 + 3
    centred = x - x.mean(dim=1, keepdim=True)
    assert not torch.allclose(theirs.encode(x), theirs.encode(centred), atol=0.1)
    torch.testing.assert_close(ours.encode(x), theirs.encode(centred), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(centred), rtol=1e-4, atol=1e-4)
    theirs.cfg.metadata.model_name = "openai-community/gpt2"
    torch.testing.assert_close(from_sae_lens(theirs)[0].W_enc, ours.W_enc)
    gemmas = [(name, "blocks.8.hook_resid_pre") for name in ("gemma-2-2b", "google/gemma-2-2b", "adopt-a/gemma-2-2b")]
    for model, place in (*gemmas, ("gpt2-small", "blocks.8.ln2.hook_normalized")):
        theirs.cfg.metadata.model_name, theirs.cfg.metadata.hook_name = model, place
        assert_same(from_sae_lens(theirs)[0], theirs)


# ---- the registry, whose list lies in the package


def test_a_release_opens_with_its_site(sae_lens, monkeypatch):
    theirs = to_sae_lens(autoencoder("relu"), Site("gpt2-small", "blocks.8.hook_resid_pre"))
    asked = []
    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", lambda *names: asked.append(names) or theirs)
    ours, site, metadata = load_release("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    assert asked == [("gpt2-small-res-jb", "blocks.8.hook_resid_pre")]
    assert site == Site("openai-community/gpt2", "blocks.8.hook_resid_pre")
    assert metadata["model_name"] == "gpt2-small"
    assert_same(ours, theirs)


def test_names_that_are_not_listed_are_said_without_the_network(sae_lens, monkeypatch):
    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", lambda *names: pytest.fail("asked the hub"))
    with pytest.raises(ValueError, match=r"lists no release 'gpt2-small-res-jp'.*did you mean gpt2-small-res-jb"):
        load_release("gpt2-small-res-jp", "blocks.8.hook_resid_pre")
    with pytest.raises(
        ValueError, match=r"gpt2-small-res-jb has no SAE 'blocks.99.hook_resid_pre'; it has blocks.0.hook"
    ):
        load_release("gpt2-small-res-jb", "blocks.99.hook_resid_pre")


def test_a_hub_out_of_reach_is_one_line(sae_lens, monkeypatch):
    def unreachable(*names):
        raise OSError("no connection\nTraceback ...")

    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", unreachable)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched: no connection$"):
        load_release("gpt2-small-res-jb", "blocks.8.hook_resid_pre")


def test_short_names_of_models_are_the_hub_s(sae_lens):
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    assert [hub_name(name) for name in ("gpt2-small", "gpt2-xl", "gemma-2-9b-it", "qwen3-0.6b", "org/any")] == [
        "openai-community/gpt2", "openai-community/gpt2-xl", "google/gemma-2-9b-it", "Qwen/Qwen3-0.6B", "org/any",
    ]  # fmt: skip
    assert [hub_name(name) for name in ("gpt2", "mistral-7b-instruct", "qwen3-0.6b-base")] == [
        "openai-community/gpt2", "mistralai/Mistral-7B-Instruct-v0.1", "Qwen/Qwen3-0.6B-Base",
    ]  # fmt: skip
    for other in ("gpt2-xs", "gpt2-mistral-small-e", "gemma-my-own", "pythia-finetuned", "./gemma-2-2b"):
        assert hub_name(other) == other, "no organisation is guessed for a model that it may not have"
    listed = {one.model for one in get_pretrained_saes_directory().values()}
    assert {name for name in listed if "/" not in hub_name(name)} == set()


def test_saving_again_in_sae_lens_does_not_carry_an_old_hash(sae_lens, tmp_path):
    theirs = sae_lens.SAE.load_from_disk(save_sae(autoencoder("relu"), tmp_path, SITE))
    with torch.no_grad():
        theirs.b_enc += 1
    theirs.save_model(tmp_path)
    assert "weights_sha256" not in json.loads((tmp_path / "cfg.json").read_text())
    assert_same(load_sae(tmp_path)[0], theirs)


def test_without_sae_lens_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(ImportError, match="pip install 'sae-lens"):
        load_release("gpt2-small-res-jb", "blocks.6.hook_resid_pre")
