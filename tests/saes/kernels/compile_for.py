"""Compiles every kernel of the GPU's step for a GPU that is not there: python compile_for.py 90 768 16384 32, which are
its compute capability, d_in, d_sae and k. Prints the size of each kernel's machine code.

The step runs on CPU tensors, but its kernels are only compiled, for the launches that the step really makes, and what
they would have written stays zero. Triton's interpreter lets much through that its compiler does not.
"""

import json
import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.gpu import GpuStep
from saes.kernels.step import StepSettings


class Absent:
    """Answers for a GPU of one compute capability."""

    def __init__(self, capability: int):
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compiled(capability: int, d_in: int, d_sae: int, k: int) -> dict[str, bytes]:
    """The machine code of every kernel that a few steps launch."""
    found: dict[str, bytes] = {}
    run = JITFunction.run

    def compile_only(self, *args, warmup, **kwargs):
        found[self.fn.__name__] = run(self, *args, warmup=True, **kwargs).asm["cubin"]

    JITFunction.run = compile_only
    torch.empty = torch.zeros  # what no kernel wrote must still be an index that exists
    driver.set_active(Absent(capability))
    for sparsity in ("topk", "batch_topk"):
        sae = SparseAutoencoder(SAEConfig(d_in, d_sae, sparsity, k=k))
        step = GpuStep(sae, StepSettings(dead_after_rows=1, auxk_rows=4, clip_norm=1.0))
        for _ in range(2):  # the rescue joins at the second
            step(torch.zeros(64, d_in), 1e-3)
    return found


if __name__ == "__main__":
    kernels = compiled(*map(int, sys.argv[1:5]))
    print(json.dumps({name: len(code) for name, code in kernels.items()}))
