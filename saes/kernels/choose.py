"""Which kernel computes the training step: chosen by itself, said in the log, and open to being forced."""

import importlib.util
import logging
from typing import Any

import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.cpu import SparseStep
from saes.kernels.native import compiled
from saes.kernels.native_step import NativeStep
from saes.kernels.parallel import ParallelStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.slices import LatentSlice
from saes.kernels.step import StepSettings, TrainingStep

log = logging.getLogger(__name__)

KERNELS = ("auto", "reference", "cpu", "native", "gpu")

SUITS = {
    "cpu": ("topk", "batch_topk"),
    "native": ("topk", "batch_topk", "relu", "jump_relu", "gated"),
    "gpu": ("topk", "batch_topk"),
}
"""The sparsities that each kernel knows; the reference knows all."""


def choose_step(sae: SparseAutoencoder, settings: StepSettings | None = None, kernels: str = "auto") -> TrainingStep:
    """The training step for ``sae``: on the CPU the compiled kernels where there is a compiler, else the same sums in
    PyTorch; on a GPU those in Triton where it is installed; else the reference. For one rank's slice of an SAE the
    parallel one.

    Every kernel computes the same update (native_step.py says how nearly), so the choice changes the speed alone.
    """
    if kernels not in KERNELS:
        raise ValueError(f"unknown kernels {kernels!r}; one of {', '.join(KERNELS)}")
    settings = settings or StepSettings()
    device, sparsity = sae.W_dec.device.type, sae.config.sparsity
    suits = {name: suits_sparse(name, sae, settings) for name in SUITS}
    if kernels in suits and not suits[kernels]:
        kind = "" if sparsity in SUITS[kernels] else sparsity + " "
        raise ValueError(
            f"the {kernels} kernel trains {', '.join(SUITS[kernels])} in float32 on "
            f"{'a CUDA device' if kernels == 'gpu' else 'the CPU'}{'' if kernels == 'native' else ', without prefixes or target'}, "
            f"not this {kind}SAE in {sae.W_dec.dtype} on {device}; kernels='auto' chooses one that does"
        )
    candidates = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    if isinstance(sae, LatentSlice):
        alone = sae.axes.latent.size == 1 and sae.whole.sparsity == "topk"
        library = compiled() if alone and suits["native"] and kernels in ("auto", "native") else None
        if library is not None:
            log.info(
                "training step: compiled cpu kernels, gradients averaged (%s, candidates in %s)", sparsity, candidates
            )
            return NativeStep(sae, settings, library, candidates, sae.axes)
        if kernels in ("native", "gpu"):
            trains = (
                "topk SAEs, where latent_ranks is 1 and a C++ compiler is" if kernels == "native" else "nothing so far"
            )
            raise ValueError(f"among several processes the {kernels} kernel trains {trains}: leave kernels out")
        sparse = suits["cpu"] and kernels != "reference"
        log.info("training step: parallel, %s (%s on %s)", "sparse" if sparse else "dense", sparsity, device)
        return ParallelStep(sae, settings, candidates if sparse else None)
    if kernels in ("auto", "native") and suits["native"]:
        library = compiled()
        if library is not None:
            log.info("training step: compiled cpu kernels (%s, candidates in %s)", sparsity, candidates)
            return NativeStep(sae, settings, library, candidates)
        if kernels == "native":
            raise ValueError(
                "the native kernel needs a C++ compiler that can build it: install one, or leave kernels out"
            )
    if kernels in ("auto", "cpu") and suits["cpu"]:
        log.info("training step: sparse cpu kernel in PyTorch (%s, candidates in %s)", sparsity, candidates)
        return SparseStep(sae, settings, candidates)
    if kernels in ("auto", "gpu") and suits["gpu"]:
        lacking = lacking_for_gpu(sae.W_dec.device)
        if lacking is None:
            from saes.kernels.gpu import GpuStep

            log.info("training step: gpu kernels in Triton (%s, candidates in %s)", sparsity, torch.bfloat16)
            return GpuStep(sae, settings)
        if kernels == "gpu":
            raise ValueError(f"the gpu kernel needs {lacking}; kernels='auto' does without")
        log.info("training step: no gpu kernels, which need %s", lacking)
    log.info("training step: reference kernel (%s on %s)", sparsity, device)
    return ReferenceStep(sae, settings)


def settled(
    config: SAEConfig, settings: StepSettings, weights: dict[str, Any], state: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights of an SAE and a step's state, as a kernel that lets no row rest would have saved them."""
    if "rest" not in state:
        return weights, state
    library = compiled()
    if library is None:
        raise ValueError(
            "this run was saved by the compiled kernels: other kernels go on with it where a C++ compiler is"
        )
    sae = SparseAutoencoder(config)
    sae.load_state_dict(weights)
    step = NativeStep(sae, settings, library)
    step.load_state_dict(state)
    step.settle()
    return sae.state_dict(), step.update.state_dict()


def suits_sparse(kernels: str, sae: SparseAutoencoder, settings: StepSettings) -> bool:
    """Whether these kernels compute what the reference would, and do so where the SAE is."""
    if sae.W_dec.dtype != torch.float32 or sae.W_dec.device.type != ("cuda" if kernels == "gpu" else "cpu"):
        return False
    prefixes = isinstance(sae, LatentSlice) and bool(sae.whole.prefixes)  # which its own config has cut
    return knows(kernels, sae.config, settings) and (kernels == "native" or not prefixes)


def knows(kernels: str, config: SAEConfig, settings: StepSettings) -> bool:
    """Whether these kernels compute the step of such an SAE: all that they do not know is listed here."""
    penalty = settings.penalty_of(config.sparsity)
    if config.sparsity not in SUITS[kernels]:
        return False
    if settings.resample_every is not None or penalty == "p_anneal" or (config.sites and penalty in ("l1", "tanh")):
        return False
    return kernels == "native" or not (config.prefixes or config.d_out is not None)


def lacking_for_gpu(device: torch.device) -> str | None:
    """What the gpu kernels would need beside this device, or None if they can run there."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "a GPU that multiplies bfloat16 (Ampere or later)"
    return None


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 products; without them they are slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
