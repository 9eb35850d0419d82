"""An SAE as a folder in SAELens' own layout: written whole or not at all, and read with care."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from saes.autoencoder import SAEConfig, SparseAutoencoder, freeze_threshold
from saes.formats.json_file import json_object
from saes.formats.layout import PICKLES
from saes.formats.weights_file import guarded
from saes.scaling import fold_centring
from saes.site import UNKNOWN, Site

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"

LAYOUT = "6.0.0"
"""The SAELens version whose layout this is; SAELens takes a folder without one for an old one and drops metadata."""

ARCHITECTURES = {"relu": "standard", "topk": "topk", "jump_relu": "jumprelu", "gated": "gated"}
"""Our sparsity to SAELens' architecture; batch_topk is saved frozen, as a jump_relu."""


def architecture_of(config: SAEConfig) -> str:
    """SAELens' name for it; a name of ours, made alike, where SAELens has no such thing (crosscoders; some transcoders)."""
    base = ARCHITECTURES[config.sparsity]
    if config.sites:
        return f"{base}_crosscoder"
    if config.d_out is None:
        return base
    kind = "skip_transcoder" if config.skip else "transcoder"
    return kind if base == "standard" else f"{base}_{kind}"


LAYER_NORM_MODELS = re.compile(r"gpt2|gpt-neo|gpt-j|pythia|\bopt-|solu|attn-only|biomedlm")
"""In names, without their organisations, of models that TransformerLens can centre: others' norms take no mean off."""

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def save_sae(
    sae: SparseAutoencoder, folder: str | Path, site: Site, extra_metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write ``sae`` to ``folder``, which SAELens' SAE.load_from_disk opens too, and return the folder.

    ``extra_metadata`` joins the metadata in cfg.json. A batch_topk SAE is written frozen; the given one stays.
    If anything fails (a full disk), what the folder held before is still there, whole.
    """
    folder = Path(folder)
    config, weights = to_parts(sae, site, extra_metadata)
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise ValueError(f"not saved: {name} holds NaN or infinity, so the training went wrong")
    packed = safetensors.torch.save(weights)
    # Outside the metadata, where SAELens drops it: rewritten weights must not carry the old ones' hash.
    config["weights_sha256"] = hashlib.sha256(packed).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    _replace_files(folder, {WEIGHTS: packed, CONFIG: (json.dumps(config, indent=2) + "\n").encode()})
    return folder


def load_sae(folder: str | Path, device: str | torch.device = "cpu") -> tuple[SparseAutoencoder, Site, dict[str, Any]]:
    """The SAE in ``folder`` (ours or SAELens'), in float32, with its site and its metadata."""
    folder = Path(folder)
    config, packed = _read(folder)
    with guarded(folder / WEIGHTS):
        weights = safetensors.torch.load(packed)
    expected = config.get("weights_sha256")
    if expected is not None and hashlib.sha256(packed).hexdigest() != expected:
        raise ValueError(f"{folder / WEIGHTS} is corrupted, or was not written together with {CONFIG}: hashes differ")
    scale, scaler = None, folder / "activation_scaler.json"
    if scaler.exists():  # SAELens leaves it beside the checkpoints of a run
        scale = json_object(scaler).get("scaling_factor")
        if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float)):
            raise ValueError(f"{scaler}: scaling_factor must be a number, got {scale!r}")
    try:
        sae, site, metadata = from_parts(config, weights, scale)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    return sae.to(device), site, metadata


def sae_hash(folder: str | Path) -> str:
    """A SHA-256 of what the SAE computes: its weights and the settings that change its code, not its metadata."""
    config, packed = _read(Path(folder))
    named = ("architecture", "d_in", "d_sae", "k", "apply_b_dec_to_input", "normalize_activations")
    settings = {name: config.get(name) for name in named}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + packed).hexdigest()


def to_parts(
    sae: SparseAutoencoder, site: Site, extra_metadata: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SAELens' cfg.json and tensors for ``sae``."""
    metadata: dict[str, Any] = {
        "sae_lens_version": LAYOUT,
        "model_name": site.model,
        "hook_name": site.hook_name,
        "training_architecture": ("matryoshka_" if sae.config.prefixes else "") + sae.config.sparsity.replace("_", ""),
    }
    if sae.config.prefixes:
        metadata["prefixes"] = list(sae.config.prefixes)
    if site.revision is not None:
        metadata["revision"] = site.revision
    metadata["numerics"] = site.numerics
    taken = set(metadata) & set(extra_metadata or {})
    if taken:
        raise ValueError(f"extra_metadata cannot replace what the checkpoint says itself: {', '.join(sorted(taken))}")
    if sae.config.sparsity == "batch_topk":
        metadata["training_k"] = sae.config.k
        sae = freeze_threshold(sae)
    config = {
        "architecture": architecture_of(sae.config),
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.config.apply_b_dec_to_input,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**metadata, **(extra_metadata or {})},
    }
    if sae.config.sparsity == "topk":
        config["k"] = sae.config.k
    if sae.config.d_out is not None:
        config["d_out"] = sae.d_out
    if sae.config.sites:
        config["sites"] = [{"hook_name": name, "d_in": width} for name, width in sae.config.sites]
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in sae.state_dict().items()}
    return config, weights


@torch.no_grad()
def from_parts(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], scale: float | None = None
) -> tuple[SparseAutoencoder, Site, dict[str, Any]]:
    """The SAE that SAELens' ``config`` and tensors describe, taking raw activations, in float32.

    ``scale`` is the factor that activations were multiplied by in training, where SAELens left it out of the weights
    (normalize_activations "expected_average_only_in"); it is folded in, and codes stay what SAELens would give.
    """
    metadata = dict(config.get("metadata") or {})
    sparsity, kind = _sparsity_and_kind(config)
    rescaled = _refuse_or_fold(config, scale)
    if rescaled is not None and kind:
        raise ValueError(f"normalize_activations {config['normalize_activations']!r} cannot be folded into a {kind}")
    try:
        sae_config = SAEConfig(
            d_in=int(config["d_in"]),
            d_sae=int(config["d_sae"]),
            sparsity=sparsity,
            k=int(config["k"]) if sparsity == "topk" else 32,
            apply_b_dec_to_input=bool(config.get("apply_b_dec_to_input", not kind.endswith("transcoder"))),
            d_out=int(config["d_out"]) if kind.endswith("transcoder") else None,
            skip=kind == "skip_transcoder",
            sites=tuple((site["hook_name"], int(site["d_in"])) for site in config["sites"])
            if kind == "crosscoder"
            else (),
        )
    except KeyError as error:
        raise ValueError(f"{CONFIG} does not say {error.args[0]}") from error
    _check_weights(sae_config, weights)
    sae = SparseAutoencoder(sae_config)
    for name, parameter in sae.named_parameters():
        parameter.copy_(weights[name])
    if config.get("rescale_acts_by_decoder_norm"):  # SAELens' topk with free decoder norms: move them to the encoder
        norms = sae.W_dec.norm(dim=1)
        sae.W_dec.div_(norms[:, None])
        sae.W_enc.mul_(norms)
        sae.b_enc.mul_(norms)
    if rescaled is not None:
        sae.W_enc.mul_(rescaled)
        sae.W_dec.div_(rescaled)
        sae.b_dec.div_(rescaled)
    sae.site = site_of(metadata)
    if _centred_in_training(sae, metadata):
        sae = fold_centring(sae)
    return sae, site_of(metadata), metadata


def _sparsity_and_kind(config: Mapping[str, Any]) -> tuple[str, str]:
    """Our sparsity, and "transcoder", "skip_transcoder", "crosscoder" or nothing."""
    architecture = config.get("architecture")
    if "metadata" not in config:
        raise ValueError(f"{CONFIG} has no metadata: written before SAELens 6; load and save it with SAELens 6 first")
    known = {}
    for ours, theirs in ARCHITECTURES.items():
        plain = {"transcoder": "transcoder", "skip_transcoder": "skip_transcoder"} if ours == "relu" else {}
        for kind in ("", "transcoder", "skip_transcoder", "crosscoder"):
            known[plain.get(kind, f"{theirs}_{kind}" if kind else theirs)] = ours, kind
    if architecture not in known:
        raise ValueError(f"architecture {architecture!r} cannot be read; these can: {', '.join(known)}")
    return known[architecture]


def _refuse_or_fold(config: Mapping[str, Any], scale: float | None) -> float | None:
    """The scale to fold into the weights, if any; what no weights can express is refused."""
    if config.get("reshape_activations", "none") != "none":
        raise ValueError(f"reshape_activations {config['reshape_activations']!r} cannot be read, only none")
    normalise = config.get("normalize_activations", "none")
    if normalise == "none":
        return None
    if normalise == "expected_average_only_in":
        if scale is None:
            raise ValueError(
                "normalize_activations is expected_average_only_in but its factor is not here: give scale=, or put "
                "SAELens' activation_scaler.json beside the checkpoint, or save it after folding the factor in"
            )
        return float(scale)
    if normalise in ("layer_norm", "constant_norm_rescale"):
        raise ValueError(
            f"normalize_activations {normalise!r} rescales each activation by its own size, which cannot be folded into "
            "weights: what a latent writes is no fixed direction in the model's own units, so this SAE cannot be read"
        )
    raise ValueError(
        f"normalize_activations {normalise!r} cannot be folded into weights here, so this SAE cannot be read"
    )


def _centred_in_training(sae: SparseAutoencoder, metadata: Mapping[str, Any]) -> bool:
    """Whether TransformerLens took the mean over its coordinates off every activation that the SAE was trained on.

    It does so where it is asked to center_writing_weights, of models with layer norms alone, at what is written to the
    residual stream; Hugging Face's own activations keep that mean, which the layer norms then remove.
    """
    asked = (metadata.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights")
    model = str(metadata.get("model_name")).lower().rstrip("/").split("/")[-1]
    place = str(metadata.get("hook_name"))
    written = place.endswith(("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out"))
    return bool(asked) and written and LAYER_NORM_MODELS.search(model) is not None and sae.config.d_out is None


def _check_weights(config: SAEConfig, weights: Mapping[str, Tensor]) -> None:
    d_in, d_sae, d_out = config.d_in, config.d_sae, config.d_in if config.d_out is None else config.d_out
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_out), "b_dec": (d_out,)}
    if config.skip:
        shapes["W_skip"] = (d_out, d_in)
    shapes |= dict.fromkeys(("b_gate", "r_mag", "b_mag") if config.sparsity == "gated" else ("b_enc",), (d_sae,))
    if config.sparsity == "jump_relu":
        shapes["threshold"] = (d_sae,)
    if set(weights) != set(shapes):
        raise ValueError(f"expected the tensors {', '.join(sorted(shapes))}, found {', '.join(sorted(weights))}")
    for name, shape in shapes.items():
        tensor = weights[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {list(tensor.shape)}, but {CONFIG} makes it {list(shape)}")
        if tensor.dtype not in FLOATS:
            raise ValueError(f"{name} has dtype {tensor.dtype}, expected a floating point one")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")


def site_of(metadata: Mapping[str, Any]) -> Site:
    """Where SAELens' metadata say that an SAE was trained; UNKNOWN for what they leave out."""
    revision = metadata.get("revision") or (metadata.get("model_from_pretrained_kwargs") or {}).get("revision")
    return Site(
        model=metadata.get("model_name") or UNKNOWN,
        hook_name=metadata.get("hook_name") or UNKNOWN,
        revision=revision,
        numerics=metadata.get("numerics") or "float32",
    )


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    if folder.suffix in PICKLES:
        raise ValueError(f"{folder} is a pickle, which can run code: refused; give a folder with {WEIGHTS}")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no checkpoint folder {folder}")
    if not (folder / WEIGHTS).exists():
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
        if pickles:
            raise ValueError(f"{folder / pickles[0]} is a pickle, which can run code: refused; needs {WEIGHTS}")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder} is not a checkpoint: it has no {name}")
    config = json_object(folder / CONFIG)
    with guarded(folder / WEIGHTS):
        return config, (folder / WEIGHTS).read_bytes()


def _replace_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files beside their places first, then move each into place: what can run out of room comes first."""
    written = {name: folder / f".{name}.{os.getpid()}.tmp" for name in contents}
    try:
        for name, content in contents.items():
            with open(written[name], "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name, path in written.items():
            os.replace(path, folder / name)
    except OSError as error:
        said = f"could not save to {folder}, which keeps what it held: {error.strerror}"
        raise OSError(error.errno, said, str(folder)) from error
    finally:
        for path in written.values():
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
