"""Muon: momentum whose matrix is made orthogonal before the step (Jordan et al. 2024).

torch.optim.Muon does its Newton-Schulz iteration in bfloat16, which a CPU without instructions for it runs a hundred times
slower; this one does so only where there are such instructions, and takes matrices of one shape together.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from saes.kernels.choose import multiplies_bfloat16

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration x -> a x + b x^3 + c x^5 on the singular values (Jordan et al. 2024)."""


class Muon(torch.optim.Optimizer):
    """For hidden weight matrices only; embeddings, heads and gains belong to AdamW.

    `lr` is on AdamW's scale: an update has a root mean square of about 0.2 lr, whatever the matrix's shape (Liu et al.
    2025, "Muon is scalable for LLM training"). `weight_decay` is decoupled.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.dim() != 2:
                    raise ValueError(f"Muon takes matrices, not a tensor of shape {tuple(weight.shape)}")

    @torch.no_grad()
    def step(self, closure=None) -> None:  # type: ignore[override]  # torch's own returns the closure's loss
        """One update of every matrix that has a gradient. Raises ValueError for a closure."""
        if closure is not None:
            raise ValueError("Muon takes no closure: call backward() first, then step()")
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for shape, weights in alike.items():
                directions = torch.stack([self._direction(weight, group["momentum"]) for weight in weights])
                if directions.device.type != "cpu" or multiplies_bfloat16():  # exact enough: steps are only near 1
                    directions = directions.bfloat16()
                updates = orthogonalised(directions).to(weights[0].dtype)
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=scale)

    def _direction(self, weight: Tensor, momentum: float) -> Tensor:
        """The gradient averaged over steps, looking one step ahead (Nesterov)."""
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None, "the caller leaves out matrices without a gradient"
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """`[matrix, row, column]` with every singular value brought near 1 (0.7 to 1.2), singular vectors kept."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
