"""A folder holds an SAE: whole, or not at all; and what is not one is refused with a reason."""

import json
import resource
import signal

import pytest
import safetensors.torch
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder, freeze_threshold
from saes.checkpoint import load_sae, sae_hash, save_sae
from saes.site import Site

SITE = Site("org/model", "blocks.2.hook_resid_post", revision="v1", numerics="bfloat16")
WEIGHTS = "sae_weights.safetensors"


def autoencoder(sparsity="topk", seed=1):
    sae = SparseAutoencoder(SAEConfig(5, 24, sparsity, k=4, initial_threshold=0.3), seed=seed)
    with torch.no_grad():
        sae.b_dec.normal_()
        sae.bias.normal_()
        if sparsity == "gated":
            sae.r_mag.normal_(std=0.3)
            sae.b_mag.normal_(std=0.3)
    if sparsity == "batch_topk":
        sae.running_threshold.fill_(0.6)
    return sae


@pytest.fixture
def folder(tmp_path):
    return save_sae(autoencoder(), tmp_path / "run", SITE, {"context_size": 64})


def rewrite(folder, tensors=None, **config):
    """Change the checkpoint as another program would, without our hash."""
    old = json.loads((folder / "cfg.json").read_text())
    old.pop("weights_sha256", None)
    (folder / "cfg.json").write_text(json.dumps({**old, **config}))
    if tensors is not None:
        safetensors.torch.save_file({**safetensors.torch.load_file(folder / WEIGHTS), **tensors}, folder / WEIGHTS)


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk", "jump_relu", "relu", "gated"])
def test_saved_and_loaded_is_the_same(sparsity, tmp_path):
    sae = autoencoder(sparsity)
    before = {name: value.clone() for name, value in sae.state_dict().items()}
    loaded, site, metadata = load_sae(save_sae(sae, tmp_path, SITE, {"tokens": 12}))
    expected = freeze_threshold(sae) if sparsity == "batch_topk" else sae
    x = torch.randn(9, 5)
    assert torch.equal(loaded.encode(x), expected.encode(x))
    assert torch.equal(loaded.decode(loaded.encode(x)), expected.decode(expected.encode(x)))
    assert (site, loaded.site, metadata["tokens"]) == (SITE, SITE, 12)
    assert loaded.W_enc.T.is_contiguous()
    assert all(torch.equal(sae.state_dict()[name], value) for name, value in before.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cfg.json", WEIGHTS]


def test_hash_follows_the_sae_and_not_its_notes(tmp_path):
    def saved(name, sae, **notes):
        return sae_hash(save_sae(sae, tmp_path / name, SITE, notes))

    sae = autoencoder()
    first = saved("a", sae)
    assert saved("b", sae, note="other") == first
    with torch.no_grad():
        sae.b_enc[0] += 1e-3
    assert saved("c", sae) != first


def test_a_full_disk_leaves_the_old_checkpoint_whole(folder):
    """The limit on file sizes stands in for the disk: writing fails in the midst of the weights."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        with pytest.raises(OSError, match="keeps what it held"):
            save_sae(autoencoder(seed=2), folder, SITE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    load_sae(folder)


def test_weights_of_another_config_are_noticed(folder, tmp_path):
    other = save_sae(autoencoder(seed=2), tmp_path / "other", SITE)
    (folder / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match="not written together"):
        load_sae(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder, kept):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:kept])
    with pytest.raises(ValueError, match="truncated or corrupted"):
        load_sae(folder)


@pytest.mark.parametrize("place", [3, 40, -7])
def test_corrupted_weights_are_refused(folder, place):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[place] ^= 0xFF
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match="corrupted"):
        load_sae(folder)


def test_pickles_are_refused(tmp_path):
    torch.save({}, tmp_path / "ae.pt")
    for path in (tmp_path, tmp_path / "ae.pt"):
        with pytest.raises(ValueError, match="is a pickle"):
            load_sae(path)


def test_what_is_no_checkpoint_is_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
        load_sae(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no cfg\.json"):
        load_sae(tmp_path / "empty")
    (folder / "cfg.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_sae(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_in": 6}, r"W_enc has shape \[5, 24\], but cfg.json makes it \[6, 24\]"),
        ({"architecture": "temporal"}, "architecture 'temporal' cannot be read"),
        ({"architecture": "jumprelu"}, "expected the tensors"),
        ({"tensors": {"b_enc": torch.full((24,), float("nan"))}}, "b_enc holds NaN"),
        ({"tensors": {"b_enc": torch.zeros(24, dtype=torch.int32)}}, "expected a floating point"),
        ({"normalize_activations": "layer_norm"}, "cannot be folded"),
        ({"normalize_activations": "expected_average_only_in"}, "its factor is not here"),
        ({"reshape_activations": "hook_z"}, "reshape_activations"),
        ({"k": 0}, "k must lie between"),
    ],
)
def test_what_does_not_fit_is_refused(folder, change, message):
    rewrite(folder, change.pop("tensors", None), **change)
    with pytest.raises(ValueError, match=message):
        load_sae(folder)


def test_a_scaler_beside_the_checkpoint_is_folded_in(folder):
    sae, _, _ = load_sae(folder)
    rewrite(folder, normalize_activations="expected_average_only_in")
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.25}')
    folded, _, _ = load_sae(folder)
    x = torch.randn(9, 5)
    torch.testing.assert_close(folded.encode(x), sae.encode(0.25 * x))
    torch.testing.assert_close(folded.decode(folded.encode(x)), sae.decode(sae.encode(0.25 * x)) / 0.25)


@pytest.mark.parametrize(
    ("held", "message"),
    [("{", "is not JSON"), ("[]", "does not hold an object"), ('{"scaling_factor": "a"}', "must be a number, got 'a'"),
     ("{}", "its factor is not here")],
)  # fmt: skip
def test_a_scaler_that_says_no_factor_is_named(folder, held, message):
    rewrite(folder, normalize_activations="expected_average_only_in")
    (folder / "activation_scaler.json").write_text(held)
    with pytest.raises(ValueError, match=message):
        load_sae(folder)


def test_half_precision_is_read_as_float32(folder):
    half = {name: value.half() for name, value in safetensors.torch.load_file(folder / WEIGHTS).items()}
    rewrite(folder, half, dtype="float16")
    assert load_sae(folder)[0].W_dec.dtype == torch.float32


def test_nan_is_not_saved_and_reserved_names_are_kept(folder):
    sae = autoencoder()
    with torch.no_grad():
        sae.W_dec[0, 0] = float("nan")
    with pytest.raises(ValueError, match="W_dec holds NaN"):
        save_sae(sae, folder, SITE)
    with pytest.raises(ValueError, match=r"cannot replace .* hook_name"):
        save_sae(autoencoder(), folder, SITE, {"hook_name": "elsewhere"})
    load_sae(folder)


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk", "jump_relu", "relu", "gated"])
@pytest.mark.parametrize(
    "shape",
    [
        {"d_out": 3, "apply_b_dec_to_input": False},
        {"d_out": 3, "apply_b_dec_to_input": False, "skip": True},
        {"sites": (("a", 2), ("b", 3))},
    ],
    ids=["transcoder", "skip", "crosscoder"],
)
def test_transcoders_and_crosscoders_are_the_same_when_loaded(sparsity, shape, tmp_path):
    sae = SparseAutoencoder(SAEConfig(5, 24, sparsity, k=4, initial_threshold=0.3, **shape), seed=1)
    with torch.no_grad():
        for parameter in (sae.b_dec, sae.bias, *([sae.W_skip] if "skip" in shape else [])):
            parameter.normal_()
    if sparsity == "batch_topk":
        sae.running_threshold.fill_(0.6)
    loaded, site, _ = load_sae(save_sae(sae, tmp_path, SITE))
    expected = freeze_threshold(sae) if sparsity == "batch_topk" else sae
    x = torch.randn(9, 5)
    assert torch.equal(loaded.encode(x), expected.encode(x))
    assert torch.equal(loaded.reconstruct(x), expected.reconstruct(x))
    assert site == SITE
    assert (loaded.config.d_out, loaded.config.skip, loaded.config.sites) == (
        sae.config.d_out, sae.config.skip, sae.config.sites,
    )  # fmt: skip
