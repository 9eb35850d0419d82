"""The training step as one would write it down: dense, by autograd, for every sparsity and device. The truth."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes import losses
from saes.autoencoder import SparseAutoencoder
from saes.kernels.resample import resample_if_due
from saes.kernels.step import StepMetrics, StepSettings, Update
from saes.losses import Loss, Sum, alone
from saes.quality import explained_variance

Further = Callable[[Float[Tensor, "row d_out"], Loss], dict[str, Tensor]]
"""From x_hat and the loss so far, terms to add to it."""


class ReferenceStep:
    """A TrainingStep by autograd."""

    def __init__(self, sae: SparseAutoencoder, settings: StepSettings, update: Update | None = None):
        self.sae = sae
        self.settings = settings
        self.update = update or Update(sae, settings, fused=False)

    def __call__(
        self, x: Float[Tensor, "row d_in"], lr: float, target: Float[Tensor, "row d_out"] | None = None
    ) -> StepMetrics:
        return self.learn(x, lr, target)

    def learn(
        self,
        x: Float[Tensor, "row d_in"],
        lr: float,
        target: Float[Tensor, "row d_out"] | None = None,
        further: Further | None = None,
    ) -> StepMetrics:
        """The step itself; ``further`` gives terms to add to the loss, from x_hat and the loss without them."""
        sae, dead = self.sae, self.update.dead()
        x = x.to(sae.W_dec.dtype)
        target = x if target is None else target.to(sae.W_dec.dtype)
        pre = sae.pre_activations(x)
        z = sae.activate(pre, self.settings.bandwidth)
        base = sae.without_latents(x)
        x_hat = z @ sae.W_dec + base
        if target.shape != x_hat.shape:
            raise ValueError(f"this SAE writes {sae.d_out} numbers a row: a transcoder needs the target to learn from")
        loss = loss_of(
            sae, self.settings, target, pre, z, x_hat, dead, base, self.update.steps, self.update.penalty_weight
        )
        if further is not None:
            loss = Loss.of(**loss.terms, **further(x_hat, loss))
        loss.total.backward()
        with torch.no_grad():
            fired = z > 0
            if sae.config.sparsity == "batch_topk":
                self.update.follow_threshold(z.masked_fill(~fired, torch.inf).min())
            if self.update.penalty == "p_anneal":
                self.update.follow_power(penalised(sae, pre, z), losses.lengths(sae.W_dec, sae.site_widths))
            self.update.apply(lr, fired.any(0), len(x))
            resample_if_due(self.update, x, target, x_hat - target)
            return StepMetrics(
                loss=loss.total.detach(),
                terms={name: term.detach() for name, term in loss.terms.items()},
                explained_variance=explained_variance(target, x_hat.detach()),
                l0=fired.sum(1).float().mean(),
                dead=x.new_zeros(()) if dead is None else dead.float().mean(),
            )

    @property
    def rows_since_fired(self) -> Tensor:
        return self.update.rows_since_fired

    def settle(self) -> None:
        """Nothing to do: every step moves every row."""

    def state_dict(self) -> dict[str, Any]:
        return self.update.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.update.load_state_dict(state)


def loss_of(
    sae: SparseAutoencoder,
    settings: StepSettings,
    x: Float[Tensor, "row d_out"],
    pre: Float[Tensor, "row d_sae"],
    z: Float[Tensor, "row d_sae"],
    x_hat: Float[Tensor, "row d_out"],
    dead: Tensor | None,
    base: Float[Tensor, "*row d_out"] | None = None,
    step: int = 0,
    weight: float | Tensor = 1.0,
    over_latents: Sum = alone,
) -> Loss:
    """The loss that belongs to the SAE's sparsity: a penalty where values are free, a rescue where they compete.

    ``x`` is what ``x_hat`` is to be like (a transcoder's target), ``base`` what a skip transcoder writes without latents.
    ``step``, counted from 0, and ``weight`` (Update.penalty_weight) matter to the p_anneal penalty alone. Where ``sae``
    holds some latents of a whole one, ``over_latents`` sums what belongs to all; penalties are then those of its own.
    """
    base = sae.b_dec if base is None else base
    terms = {"reconstruction": losses.reconstruction(x, x_hat)}
    if sae.prefixes:
        terms["reconstruction"] = losses.nested(x, z, sae.W_dec, base, sae.prefixes, over_latents)
    if sae.config.sparsity == "gated":
        terms["gate"] = losses.through_gate(x, pre, sae.W_dec, base, over_latents)
    values, length = penalised(sae, pre, z), losses.lengths(sae.W_dec, sae.site_widths)
    match settings.penalty_of(sae.config.sparsity):
        case "l1":
            terms["l1"] = settings.l1_coefficient * losses.l1(values, length)
        case "p_anneal":
            power = losses.lp(values, length, settings.power_at(step))
            terms["lp"] = settings.l1_coefficient * weight * power
        case "tanh":
            free = settings.l0_coefficient if sae.config.sparsity == "jump_relu" else settings.l1_coefficient
            terms["tanh"] = free * losses.tanh(values, length, settings.tanh_scale)
        case "l0":
            terms["l0"] = settings.l0_coefficient * losses.l0(pre, sae.threshold, settings.bandwidth)
        case "target_l0":
            assert settings.target_l0 is not None
            missed = losses.target_l0(pre, sae.threshold, settings.bandwidth, settings.target_l0, over_latents)
            terms["l0"] = settings.l0_coefficient * missed
        case None if settings.auxk_coefficient and dead is not None and dead.any():
            looked_at = slice(0, settings.auxk_rows)
            residual = (x - x_hat)[looked_at].detach()
            rescue = losses.auxk(residual, pre[looked_at], dead, sae.W_dec, settings.k_aux_of(sae))
            terms["auxk"] = settings.auxk_coefficient * rescue
    return Loss.of(**terms)


def penalised(
    sae: SparseAutoencoder, pre: Float[Tensor, "row d_sae"], z: Float[Tensor, "row d_sae"]
) -> Float[Tensor, "row d_sae"]:
    """What a penalty on values is taken of: the values, or the open gates of a gated one (arXiv:2404.16014)."""
    return pre.relu() if sae.config.sparsity == "gated" else z
