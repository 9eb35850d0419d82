"""Dictionaries written to disk as their own libraries do, in plain torch and numpy, each with its formula beside it."""

import json

import numpy as np
import safetensors.torch
import torch

D_IN, D_SAE, K = 8, 48, 5


def randoms(seed=0, **shapes):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def kept(z, k):
    """The k largest of each row, zero elsewhere, by sorting."""
    order = z.argsort(dim=-1, descending=True)
    places = torch.zeros_like(z).scatter(-1, order[..., :k], 1.0)
    return z * places


def sparsify(folder, transcode=False, skip=False, **settings):
    """encoder.weight [d_sae, d_in], encoder.bias, W_dec [d_sae, d_in], b_dec, W_skip; returns x -> (code, output)."""
    folder.mkdir(parents=True)
    shapes = {"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    weights = randoms(**shapes, **({"W_skip": (D_IN, D_IN)} if skip else {}))
    safetensors.torch.save_file(weights, folder / "sae.safetensors")
    told = {"activation": "topk", "expansion_factor": 6, "normalize_decoder": True, "num_latents": 0, "k": K}
    told |= {"multi_topk": False, "skip_connection": skip, "transcode": transcode, "d_in": D_IN, **settings}
    (folder / "cfg.json").write_text(json.dumps(told))

    def formula(x):
        read = x if transcode else x - weights["b_dec"]
        z = kept((read @ weights["encoder.weight"].T + weights["encoder.bias"]).clamp(min=0), K)
        return z, z @ weights["W_dec"] + weights["b_dec"] + (x @ weights["W_skip"].T if skip else 0)

    return formula


def _linear(x, weights, centre):
    return (x - centre) @ weights["encoder.weight"].T


def _auto_encoder(weights):
    norms = weights["decoder.weight"].norm(dim=0)

    def formula(x):  # its reader rescales latents to directions of length one
        z = (_linear(x, weights, weights["bias"]) + weights["encoder.bias"]).clamp(min=0)
        return z * norms, z @ weights["decoder.weight"].T + weights["bias"]

    return formula


def _auto_encoder_new(weights):
    def formula(x):
        z = (_linear(x, weights, 0) + weights["encoder.bias"]).clamp(min=0)
        return z, z @ weights["decoder.weight"].T + weights["decoder.bias"]

    return formula


def _gated(weights):
    def formula(x):
        shared = _linear(x, weights, weights["decoder_bias"])
        z = (shared * weights["r_mag"].exp() + weights["mag_bias"]).clamp(min=0) * (shared + weights["gate_bias"] > 0)
        return z, z @ weights["decoder.weight"].T + weights["decoder_bias"]

    return formula


def _topk(weights):
    def formula(x):
        z = kept((_linear(x, weights, weights["b_dec"]) + weights["encoder.bias"]).clamp(min=0), K)
        return z, z @ weights["decoder.weight"].T + weights["b_dec"]

    return formula


def _batch_topk(weights):
    def formula(x):
        z = (_linear(x, weights, weights["b_dec"]) + weights["encoder.bias"]).clamp(min=0)
        z = torch.where(z > weights["threshold"], z, 0.0)
        return z, z @ weights["decoder.weight"].T + weights["b_dec"]

    return formula


def _matryoshka(weights):
    def formula(x):
        z = ((x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]).clamp(min=0)
        z = torch.where(z > weights["threshold"], z, 0.0)
        return z, z @ weights["W_dec"] + weights["b_dec"]

    return formula


def _jump_relu(weights):
    def formula(x):
        pre = x @ weights["W_enc"] + weights["b_enc"]
        z = torch.where(pre > weights["threshold"], pre, 0.0).clamp(min=0)
        return z, z @ weights["W_dec"] + weights["b_dec"]

    return formula


_LINEAR = {"encoder.weight": (D_SAE, D_IN), "decoder.weight": (D_IN, D_SAE)}
_PLAIN = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
_BUDGET = {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(1.5)}
_GROUPS = {"group_sizes": torch.tensor([8, 16, 24])}
CLASSES = {
    "AutoEncoder": (_LINEAR | {"encoder.bias": (D_SAE,), "bias": (D_IN,)}, {}, _auto_encoder),
    "AutoEncoderNew": (_LINEAR | {"encoder.bias": (D_SAE,), "decoder.bias": (D_IN,)}, {}, _auto_encoder_new),
    "GatedAutoEncoder": (
        _LINEAR | {"decoder_bias": (D_IN,), "r_mag": (D_SAE,), "gate_bias": (D_SAE,), "mag_bias": (D_SAE,)}, {}, _gated
    ),
    "AutoEncoderTopK": (_LINEAR | {"encoder.bias": (D_SAE,), "b_dec": (D_IN,)}, _BUDGET, _topk),
    "BatchTopKSAE": (_LINEAR | {"encoder.bias": (D_SAE,), "b_dec": (D_IN,)}, _BUDGET, _batch_topk),
    "MatryoshkaBatchTopKSAE": (_PLAIN, _BUDGET | _GROUPS, _matryoshka),
    "JumpReluAutoEncoder": (_PLAIN, {"threshold": torch.linspace(0.1, 2, D_SAE)}, _jump_relu),
}  # fmt: skip
"""Of each class: the shapes of what it learns, what else it saves, and its formula."""


def dictionary_learning(folder, kind, submodule="resid_post_layer_3", **trainer):
    """ae.pt and config.json; returns x -> (code, output)."""
    folder.mkdir(parents=True)
    shapes, rest, formula = CLASSES[kind]
    weights = randoms(**shapes) | rest
    torch.save(weights, folder / "ae.pt")
    told = {"dict_class": kind, "trainer_class": "AnyTrainer", "activation_dim": D_IN, "dict_size": D_SAE, "layer": 3}
    told |= {"k": K, "lm_name": "org/model", "submodule_name": submodule, **trainer}
    (folder / "config.json").write_text(json.dumps({"trainer": told, "buffer": {"ctx_len": 128}}))
    return formula(weights)


def gemma_scope(folder, **extra):
    """params.npz; returns x -> (code, output)."""
    folder.mkdir(parents=True)
    weights = randoms(**_PLAIN) | {"threshold": torch.linspace(0.1, 2, D_SAE)}
    np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in weights.items()}, **extra)
    return _jump_relu(weights)


def gemma_scope_2(folder, read="model.layers.9.output", written=None, affine=False, **told):
    """params.safetensors and config.json; returns x -> (code, output)."""
    folder.mkdir(parents=True)
    weights = randoms(**_PLAIN) | {"threshold": torch.linspace(0.1, 2, D_SAE)}
    skip = randoms(seed=1, affine_skip_connection=(D_IN, D_IN)) if affine else {}
    packed = {name.replace("W_", "w_"): tensor for name, tensor in weights.items()}
    safetensors.torch.save_file(packed | skip, folder / "params.safetensors")
    settings = {"architecture": "jump_relu", "model_name": "google/gemma-3-4b-it", "l0": 60, "hf_hook_point_in": read}
    settings |= {"affine_connection": affine, **({"hf_hook_point_out": written} if written else {}), **told}
    (folder / "config.json").write_text(json.dumps(settings))
    plain = _jump_relu(weights)

    def formula(x):
        z, written = plain(x)
        return z, written + (x @ skip["affine_skip_connection"] if affine else 0)

    return formula
