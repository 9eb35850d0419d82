"""Each format is read as its own formula computes it, and as its own reader does where that is installed."""

import json
import os
from functools import partial

import numpy as np
import pytest
import torch

from saes.opening import known_site, open_dictionary
from saes.site import UNKNOWN, Site
from tests.saes.formats.layouts import CLASSES, D_IN, D_SAE, dictionary_learning, gemma_scope, gemma_scope_2, sparsify

X = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(9)) * 2


def assert_computes(dictionary, formula):
    """Codes, single columns, sparse codes and reconstructions are those of the formula; something fires, not all."""
    z, written = formula(X)
    ours = dictionary.encode(X)
    torch.testing.assert_close(ours, z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dictionary.encode_sparse(X).dense(D_SAE), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dictionary.encode_latents(X, [7, 3]), z[:, [7, 3]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dictionary.reconstruct(X), written, rtol=1e-4, atol=1e-4)
    assert 0 < int((z > 0).sum()) < z.numel()


# ---- sparsify


@pytest.mark.parametrize("settings", [{}, {"transcode": True}, {"transcode": True, "skip": True}])
def test_sparsify(tmp_path, settings):
    hookpoint = "layers.3.mlp" if settings else "layers.3"
    formula = sparsify(tmp_path / "run" / hookpoint, **settings)
    (tmp_path / "run" / "config.json").write_text(json.dumps({"sae": {}, "model": "org/model", "dataset": "books"}))
    opened, site, metadata = open_dictionary(tmp_path / "run" / hookpoint)
    assert_computes(opened, formula)
    if settings:
        assert site == Site("org/model", "blocks.3.mlp.hook_in")
        assert metadata["hook_name_out"] == "blocks.3.mlp.hook_out"
    else:
        assert site == Site("org/model", "blocks.3.hook_resid_post")
    assert opened.site == site


def test_sparsify_as_its_own_reader(tmp_path):
    sparse_coder = pytest.importorskip("sparsify.sparse_coder", reason="sparsify is not installed")
    sparsify(tmp_path / "layers.3")
    theirs = sparse_coder.SparseCoder.load_from_disk(tmp_path / "layers.3")

    def formula(x):
        top = theirs.encode(x)
        return torch.zeros(len(x), D_SAE).scatter(1, top.top_indices, top.top_acts), theirs(x).sae_out

    assert_computes(open_dictionary(tmp_path / "layers.3")[0], formula)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation": "groupmax"}, "its activation is 'groupmax'"),
        ({"signed": True}, "its activation is 'signed topk'"),
        ({"skip": True}, "only transcoders may"),
        ({"num_latents": 12}, "12 latents, the weights 8 and 48"),
    ],
)
def test_what_sparsify_can_and_we_cannot(tmp_path, settings, said):
    sparsify(tmp_path / "layers.3", **settings)
    with pytest.raises(ValueError, match=said):
        open_dictionary(tmp_path / "layers.3")


# ---- dictionary_learning


@pytest.mark.parametrize("kind", CLASSES)
def test_dictionary_learning(tmp_path, kind):
    formula = dictionary_learning(tmp_path / "trainer_0", kind)
    for name in ("trainer_0", "trainer_0/ae.pt"):
        opened, site, metadata = open_dictionary(tmp_path / name)
        assert_computes(opened, formula)
        assert site == Site("org/model", "blocks.3.hook_resid_post")
    assert metadata["training_architecture"] == kind
    assert metadata.get("prefixes") == ([8, 24, 48] if kind == "MatryoshkaBatchTopKSAE" else None)


@pytest.mark.parametrize("kind", CLASSES)
def test_dictionary_learning_as_its_own_reader(tmp_path, kind):
    theirs = pytest.importorskip("dictionary_learning.utils", reason="dictionary_learning is not installed")
    dictionary_learning(tmp_path / "trainer_0", kind)
    peer, _ = theirs.load_dictionary(str(tmp_path / "trainer_0"), "cpu")
    assert_computes(open_dictionary(tmp_path / "trainer_0")[0], lambda x: (peer.encode(x), peer(x)))


def test_a_checkpoint_of_a_run_is_a_file_of_its_own(tmp_path):
    formula = dictionary_learning(tmp_path / "trainer_0", "BatchTopKSAE")
    (tmp_path / "trainer_0" / "checkpoints").mkdir()
    (tmp_path / "trainer_0" / "ae.pt").rename(tmp_path / "trainer_0" / "checkpoints" / "ae_100.pt")
    opened, site, _ = open_dictionary(tmp_path / "trainer_0" / "checkpoints" / "ae_100.pt")
    assert_computes(opened, formula)
    assert site.model == "org/model"


def test_a_threshold_that_was_never_set_lets_all_through(tmp_path):
    dictionary_learning(tmp_path / "a", "BatchTopKSAE")
    weights = torch.load(tmp_path / "a" / "ae.pt", weights_only=True)
    torch.save(weights | {"threshold": torch.tensor(-1.0)}, tmp_path / "a" / "ae.pt")
    z = open_dictionary(tmp_path / "a")[0].encode(X)
    torch.testing.assert_close(z, (open_dictionary(tmp_path / "a")[0].pre_activations(X)).clamp(min=0))


class Trap:
    def __reduce__(self):
        return (print, ("this ran",))


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    dictionary_learning(tmp_path / "a", "AutoEncoder")
    torch.save({"encoder.weight": Trap()}, tmp_path / "a" / "ae.pt")
    with pytest.raises(ValueError, match="could run code: refused"):
        open_dictionary(tmp_path / "a")
    assert capsys.readouterr().out == ""


def test_an_unknown_class_is_named(tmp_path):
    dictionary_learning(tmp_path / "a", "AutoEncoder", dict_class="IdentityDict")
    with pytest.raises(ValueError, match=r"dict_class 'IdentityDict'; these can be read: AutoEncoder, .*JumpRelu"):
        open_dictionary(tmp_path / "a")


# ---- Gemma Scope


@pytest.mark.parametrize(
    ("repository", "site"),
    [
        ("gemma-scope-2b-pt-res", Site("google/gemma-2-2b", "blocks.20.hook_resid_post")),
        ("models--google--gemma-scope-9b-it-res", Site("google/gemma-2-9b-it", "blocks.20.hook_resid_post")),
        ("gemma-scope-27b-pt-mlp", Site("google/gemma-2-27b", "blocks.20.hook_mlp_out")),
        ("downloads", Site(UNKNOWN, UNKNOWN)),
    ],
)
def test_gemma_scope(tmp_path, repository, site):
    folder = tmp_path / repository / "layer_20" / "width_16k" / "average_l0_71"
    formula = gemma_scope(folder)
    for path in (folder, folder / "params.npz"):
        opened, found, metadata = open_dictionary(path)
        assert_computes(opened, formula)
        assert found == site
    assert metadata["l0"] == 71


def test_what_gemma_scope_can_and_we_cannot(tmp_path):
    gemma_scope(tmp_path / "gemma-scope-2b-pt-transcoders" / "layer_3")
    with pytest.raises(ValueError, match="transcoder of Gemma Scope, which reads the norm before the MLP"):
        open_dictionary(tmp_path / "gemma-scope-2b-pt-transcoders" / "layer_3")
    gemma_scope(tmp_path / "scaled", scaling_factor=np.full(D_SAE, 2.0))
    with pytest.raises(ValueError, match="scaling_factor other than 1"):
        open_dictionary(tmp_path / "scaled")
    gemma_scope(tmp_path / "same", scaling_factor=np.ones(D_SAE))
    assert open_dictionary(tmp_path / "same")[0].d_sae == D_SAE


MLP = ("model.layers.9.pre_feedforward_layernorm.output", "model.layers.9.post_feedforward_layernorm.output")


@pytest.mark.parametrize(
    ("settings", "hook_name", "hook_name_out"),
    [
        ({}, "blocks.9.hook_resid_post", None),
        ({"read": MLP[1]}, "blocks.9.hook_mlp_out", None),
        ({"read": "model.layers.9.self_attn.o_proj.input"}, UNKNOWN, None),
        ({"read": MLP[0], "written": MLP[1]}, "blocks.9.mlp.hook_in", "blocks.9.hook_mlp_out"),
        ({"read": MLP[0], "written": MLP[1], "affine": True}, "blocks.9.mlp.hook_in", "blocks.9.hook_mlp_out"),
    ],
)
def test_gemma_scope_2(tmp_path, settings, hook_name, hook_name_out):
    formula = gemma_scope_2(tmp_path / "layer_9", **settings)
    opened, site, metadata = open_dictionary(tmp_path / "layer_9")
    assert_computes(opened, formula)
    assert site == Site("google/gemma-3-4b-it", hook_name)
    assert metadata.get("hook_name_out") == hook_name_out
    assert (opened.config.d_out, opened.config.skip) == (D_IN if hook_name_out else None, settings.get("affine", False))


def test_gemma_scope_2_of_another_architecture(tmp_path):
    gemma_scope_2(tmp_path / "layer_9", architecture="topk")
    with pytest.raises(ValueError, match="its architecture is 'topk'; jump_relu can be read"):
        open_dictionary(tmp_path / "layer_9")


@pytest.mark.parametrize("written", [None, "model.layers.9.output"])
def test_a_bypass_that_no_transcoder_has_is_not_dropped(tmp_path, written):
    gemma_scope_2(tmp_path / "layer_9", written=written, affine=True)
    with pytest.raises(ValueError, match=r"past its latents \(affine_skip_connection\)"):
        open_dictionary(tmp_path / "layer_9")


# ---- as SAELens reads the same files


@pytest.mark.parametrize(
    ("loader", "name", "write"),
    [
        ("gemma_2_sae_huggingface_loader", "gemma-scope-2b-pt-res/layer_20/width_16k/l0", gemma_scope),
        ("gemma_3_sae_huggingface_loader", "gemma-scope-2-4b-it/resid_post/layer_9", gemma_scope_2),
        *[
            ("dictionary_learning_sae_huggingface_loader_1", kind, partial(dictionary_learning, kind=kind))
            for kind in ("GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")
        ],
    ],
)
def test_as_sae_lens_reads_it(tmp_path, monkeypatch, loader, name, write):
    loaders = pytest.importorskip("sae_lens.loading.pretrained_sae_loaders", reason="SAELens is not installed")
    write(tmp_path / name)

    def found(repo_id, filename, subfolder="", **_):
        return str(tmp_path / subfolder / filename)

    monkeypatch.setattr(loaders, "hf_hub_download", found)
    monkeypatch.setattr(
        loaders, "get_safetensors_tensor_shapes", lambda *_: {"w_enc": [D_IN, D_SAE], "w_dec": [D_SAE, D_IN]}
    )
    repository = f"google/{name.split('/')[0]}"
    config, weights, _ = getattr(loaders, loader)(repository, name, "cpu", False, {"device": "cpu"})
    opened, site, _ = open_dictionary(tmp_path / name)
    assert site.hook_name == config["hook_name"]
    assert config["model_name"] in site.model
    assert opened.config.apply_b_dec_to_input == config["apply_b_dec_to_input"]
    for tensor, ours in opened.named_parameters():
        torch.testing.assert_close(ours.detach(), weights[tensor].float(), msg=tensor)


# ---- what the format does not say


def test_what_is_not_said_is_asked_for(tmp_path):
    sparsify(tmp_path / "mystery")
    _, site, _ = open_dictionary(tmp_path / "mystery")
    with pytest.raises(ValueError, match="mystery does not say which model it is of: name it with --model"):
        known_site(site, "mystery")
    _, site, _ = open_dictionary(tmp_path / "mystery", model="org/model")
    with pytest.raises(ValueError, match="at which place of org/model it was trained: name it with --hook-name"):
        known_site(site, "mystery")
    opened, site, _ = open_dictionary(tmp_path / "mystery", model="org/model", hook_name="blocks.1.hook_resid_post")
    assert known_site(site, "mystery") == opened.site == Site("org/model", "blocks.1.hook_resid_post")


def test_another_place_than_the_one_it_was_trained_at_is_refused(tmp_path):
    dictionary_learning(tmp_path / "a", "AutoEncoder")
    with pytest.raises(ValueError, match=r"trained at blocks.3.hook_resid_post, not at blocks.2.hook_resid_post"):
        open_dictionary(tmp_path / "a", hook_name="blocks.2.hook_resid_post")
    _, site, _ = open_dictionary(tmp_path / "a", hook_name="blocks.3.hook_resid_post", model="./a-copy")
    assert site == Site("org/model", "blocks.3.hook_resid_post")


def test_broken_files_are_named(tmp_path):
    dictionary_learning(tmp_path / "a", "AutoEncoder")
    (tmp_path / "a" / "ae.pt").write_bytes((tmp_path / "a" / "ae.pt").read_bytes()[:400])
    gemma_scope(tmp_path / "b")
    (tmp_path / "b" / "params.npz").write_bytes(b"PK\x03\x04 nothing")
    sparsify(tmp_path / "c")
    (tmp_path / "c" / "sae.safetensors").write_bytes(b"12345678")
    gemma_scope_2(tmp_path / "d")
    (tmp_path / "d" / "params.safetensors").write_bytes(b"")
    gemma_scope(tmp_path / "e")
    np.savez_compressed(tmp_path / "e" / "params.npz", W_enc=np.arange(4000.0))
    packed = bytearray((tmp_path / "e" / "params.npz").read_bytes())
    packed[300:900] = bytes(600)
    (tmp_path / "e" / "params.npz").write_bytes(packed)
    gemma_scope(tmp_path / "f")
    np.save(tmp_path / "f" / "params.npy", np.ones(3))
    (tmp_path / "f" / "params.npy").rename(tmp_path / "f" / "params.npz")
    gemma_scope(tmp_path / "g", notes=np.array(["a text"]))
    for name in "abcdefg":
        with pytest.raises(ValueError, match=rf"{tmp_path / name}: .*truncated or corrupted") as caught:
            open_dictionary(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_are_named(tmp_path):
    gemma_scope(tmp_path / "a")
    (tmp_path / "a" / "params.npz").chmod(0)
    with pytest.raises(ValueError, match="cannot be read: permission denied"):
        open_dictionary(tmp_path / "a")
