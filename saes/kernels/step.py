"""What every training step is given, gives back, and does once the gradients are there."""

import copy
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes import losses
from saes.autoencoder import SparseAutoencoder
from saes.nearest import did_you_mean


@dataclass(frozen=True)
class StepSettings:
    """How a step learns; the learning rate comes with every call."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay of the first and second moment."""
    eps: float = 1e-8
    """Adam's guard against division by zero."""
    auxk_coefficient: float = 1 / 32
    """Weight of the dead-latent rescue of topk and batch_topk; 0 switches it off."""
    k_aux: int | None = None
    """Dead latents that try to explain what a row's living ones left over; None is half of d_in."""
    auxk_rows: int = 512
    """Rows of each batch that the rescue looks at, so that its cost does not grow with the batch."""
    resample_every: int | None = None
    """Steps between two times at which dead latents start anew at badly explained rows; None never does."""
    dead_after_rows: int = 1_000_000
    """A latent that fired in none of this many rows counts as dead."""
    penalty: str | None = None
    """What keeps the code sparse where values are free: one of losses.PENALTIES for the sparsity; None is the first."""
    l1_coefficient: float = 5.0
    """Weight of the penalty on values, of relu, or on the open gates, of gated, whichever penalty it is."""
    l0_coefficient: float = 1.0
    """Weight of jump_relu's penalty, whichever it is."""
    tanh_scale: float = 4.0
    """Of the tanh penalty: values well above 1 / tanh_scale cost the same."""
    target_l0: float | None = None
    """Of the target_l0 penalty: how many latents are to fire a row."""
    p_end: float = 0.2
    """Of the p_anneal penalty: its power at the last step; at the first it is 1."""
    total_steps: int | None = None
    """Steps of the whole run, for what changes over it (p_anneal)."""
    bandwidth: float = 0.05
    """Width around a jump_relu's threshold in which the threshold learns."""
    threshold_decay: float = 0.01
    """Share of each new batch in the running threshold of a batch_topk."""
    clip_norm: float | None = None
    """The gradient, all parameters together, is made no longer than this; None leaves it as it is."""

    def __post_init__(self):
        if self.auxk_rows < 1 or self.dead_after_rows < 1 or (self.k_aux is not None and self.k_aux < 1):
            raise ValueError("auxk_rows, dead_after_rows and k_aux must be at least 1")
        if self.resample_every is not None and self.resample_every < 1:
            raise ValueError(f"resample_every must be at least 1, or left out, got {self.resample_every}")
        if self.bandwidth <= 0 or not 0 < self.threshold_decay <= 1:
            raise ValueError("bandwidth must be above 0 and threshold_decay between 0 and 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0, or left out, got {self.clip_norm}")
        if self.tanh_scale <= 0 or not 0 < self.p_end <= 1:
            raise ValueError("tanh_scale must be above 0 and p_end between 0 and 1")
        if self.target_l0 is not None and not self.target_l0 > 0:
            raise ValueError(f"target_l0 must be above 0, got {self.target_l0}")

    def k_aux_of(self, sae: SparseAutoencoder) -> int:
        """How many dead latents help at a row of this SAE."""
        return self.k_aux or max(1, sae.d_in // 2)

    def penalty_of(self, sparsity: str) -> str | None:
        """The penalty of an SAE of that sparsity; a ValueError for one that it does not have, or that lacks something."""
        known = losses.PENALTIES.get(sparsity, ())
        if self.penalty is not None and self.penalty not in known:
            have = f"has {', '.join(known)}" if known else "needs no penalty"
            elsewhere = [name for name, penalties in losses.PENALTIES.items() if self.penalty in penalties]
            goes = f"; {self.penalty} goes with {', '.join(elsewhere)}" if elsewhere else ""
            raise ValueError(
                f"sparsity {sparsity} {have}, not penalty {self.penalty!r}{goes or did_you_mean(self.penalty, known)}"
            )
        penalty = self.penalty or next(iter(known), None)
        if penalty == "target_l0" and self.target_l0 is None:
            raise ValueError(
                "penalty target_l0 needs target_l0, the number of latents that are to fire, for example 32"
            )
        if penalty == "p_anneal" and self.total_steps is None:
            raise ValueError("penalty p_anneal needs total_steps, since its power falls over the whole run")
        return penalty

    def power_at(self, step: int) -> float:
        """p of the p_anneal penalty at a step, counted from 0: falls evenly from 1 to p_end."""
        assert self.total_steps is not None
        return 1 + (self.p_end - 1) * min(1.0, step / max(1, self.total_steps - 1))


@dataclass(frozen=True)
class StepMetrics:
    """What one step saw, as tensors on the SAE's device: reading a number from one is what waits for the device."""

    loss: Float[Tensor, ""]
    """What was made small: the sum of the terms."""
    terms: dict[str, Float[Tensor, ""]]
    """The parts of the loss, coefficients included."""
    explained_variance: Float[Tensor, ""]
    """Of this batch, before the update."""
    l0: Float[Tensor, ""]
    """Latents that fired a row, on average."""
    dead: Float[Tensor, ""]
    """Share of the latents that have not fired for dead_after_rows rows."""


@runtime_checkable
class TrainingStep(Protocol):
    """One update of an SAE from one batch of rows."""

    update: "Update"
    """What it does with the gradients."""

    def __call__(
        self, x: Float[Tensor, "row d_in"], lr: float, target: Float[Tensor, "row d_out"] | None = None
    ) -> StepMetrics:
        """Learn from ``x`` at learning rate ``lr``; the SAE's weights change in place.

        ``target`` is what a transcoder is to write for each row; None is ``x`` itself.
        """
        ...

    @property
    def rows_since_fired(self) -> Tensor:
        """[d_sae] int64: rows seen since each latent last fired."""
        ...

    def settle(self) -> None:
        """Bring every weight up to date: a kernel may let rows rest while they have no gradient. To be called before the
        SAE is used for anything but the next step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that, beside the SAE's own state_dict, an exact resume needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, which any kernel may have written."""
        ...


class Update:
    """Adam on an SAE whose decoder rows keep length one, and the count of rows since each latent fired."""

    def __init__(self, sae: SparseAutoencoder, settings: StepSettings, fused: bool):
        self.sae = sae
        self.settings = settings
        self.fused = fused
        self.penalty = settings.penalty_of(sae.config.sparsity)
        self.penalty_weight = torch.ones((), device=sae.W_dec.device)
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=0.0, betas=settings.betas, eps=settings.eps, fused=fused)
        self.rows_since_fired = torch.zeros(sae.d_sae, dtype=torch.long, device=sae.W_dec.device)
        self.rows_seen = 0
        self.steps = 0

    @torch.no_grad()
    def apply(self, lr: float, fired: Bool[Tensor, " d_sae"], rows: int) -> None:
        """One step down the gradients in ``.grad``; ``fired`` says which latents did in the batch of ``rows``."""
        W_dec, gradient = self.sae.W_dec, self.sae.W_dec.grad
        assert gradient is not None
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.sae.parameters(), self.settings.clip_norm)
        # Without its part along the row, which renormalising takes back, Adam's moments hold only what can be learned.
        gradient.addcmul_((gradient * W_dec).sum(1, keepdim=True), W_dec, value=-1)
        self.step(lr)
        W_dec.div_(W_dec.norm(dim=1, keepdim=True).clamp_(min=1e-12))
        self.count(fired, rows)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Adam on the parameters that have a gradient in ``.grad``, which is used up."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.sae.config.sparsity == "jump_relu":
            self.sae.threshold.clamp_(min=0)

    def count(self, fired: Bool[Tensor, " d_sae"], rows: int) -> None:
        """Note which latents fired in the batch of ``rows``."""
        self.rows_since_fired.add_(rows).masked_fill_(fired, 0)
        self.rows_seen += rows
        self.steps += 1

    def dead(self) -> Bool[Tensor, " d_sae"] | None:
        """Which latents count as dead, or None while none can: that answer costs no look at the device."""
        if self.rows_seen < self.settings.dead_after_rows:
            return None
        return self.rows_since_fired >= self.settings.dead_after_rows

    @torch.no_grad()
    def follow_threshold(self, smallest: Float[Tensor, ""]) -> None:
        """Let the running threshold of a batch_topk follow the smallest value that passed in this batch."""
        running = self.sae.running_threshold
        smallest = smallest.to(running)
        # The first batch sets it outright: an average that starts at zero would be far too low for hundreds of steps.
        followed = torch.where(running > 0, running.lerp(smallest, self.settings.threshold_decay), smallest)
        running.copy_(torch.where(smallest.isfinite(), followed, running))  # infinite: nothing passed in this batch

    @torch.no_grad()
    def follow_power(
        self,
        values: Float[Tensor, "row d_sae"],
        length: Float[Tensor, " d_sae"],
        everywhere: losses.Sum = losses.alone,
    ) -> None:
        """Weigh the next step's penalty so that the fall of its power changes nothing of its size, on this batch
        (arXiv:2408.00113). ``everywhere`` adds up what several ranks see of it."""
        powers = (self.settings.power_at(step) for step in (self.steps, self.steps + 1))
        now, then = everywhere(torch.stack([losses.lp(values, length, power) for power in powers]))
        sizes = now / then
        self.penalty_weight *= torch.where(sizes.isfinite() & (sizes > 0), sizes, 1.0)  # none: nothing fired

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimiser": self.optimiser.state_dict(),
            "rows_since_fired": self.rows_since_fired.clone(),
            "rows_seen": self.rows_seen,
            "steps": self.steps,
            "penalty_weight": self.penalty_weight.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))  # or both would write to the same moments
        for group in self.optimiser.param_groups:  # settings are the run's own; only the moments are resumed
            group.update(betas=self.settings.betas, eps=self.settings.eps, fused=self.fused)
        self.rows_since_fired.copy_(state["rows_since_fired"])
        self.rows_seen = state["rows_seen"]
        self.steps = state["steps"]
        self.penalty_weight.copy_(state["penalty_weight"])
