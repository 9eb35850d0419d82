"""Which kernel computes the training step: chosen by itself, said in the log, and open to being forced."""

import logging

import torch

from saes.autoencoder import SparseAutoencoder
from saes.kernels.cpu import SparseStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepSettings, TrainingStep

log = logging.getLogger(__name__)

KERNELS = ("auto", "reference", "cpu")


def choose_step(sae: SparseAutoencoder, settings: StepSettings | None = None, kernels: str = "auto") -> TrainingStep:
    """The training step for ``sae``: the sparse one for topk and batch_topk on the CPU, else the reference.

    Every kernel computes the same update, so the choice changes the speed alone.
    """
    if kernels not in KERNELS:
        raise ValueError(f"unknown kernels {kernels!r}; one of {', '.join(KERNELS)}")
    settings = settings or StepSettings()
    device, sparsity = sae.W_dec.device.type, sae.config.sparsity
    suits_cpu = device == "cpu" and suits_sparse(sae, settings)
    if kernels == "cpu" and not suits_cpu:
        raise ValueError(
            f"the cpu kernel trains plain topk and batch_topk in float32 on the CPU, not this {sparsity} in "
            f"{sae.W_dec.dtype} on {device}; kernels='auto' chooses one that does"
        )
    if kernels == "reference" or not suits_cpu:
        log.info("training step: reference kernel (%s on %s)", sparsity, device)
        return ReferenceStep(sae, settings)
    candidates = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    log.info("training step: sparse cpu kernel (%s, candidates in %s)", sparsity, candidates)
    return SparseStep(sae, settings, candidates)


def suits_sparse(sae: SparseAutoencoder, settings: StepSettings) -> bool:
    """Whether the sparse steps compute what the reference would: all that they do not know is listed here."""
    config = sae.config
    if config.prefixes or config.d_out is not None or settings.resample_every is not None:
        return False
    return config.sparsity in ("topk", "batch_topk") and sae.W_dec.dtype == torch.float32


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 products; without them they are slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
