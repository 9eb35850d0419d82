"""The training step as one would write it down: dense, by autograd, for every sparsity and device. The truth."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes import losses
from saes.autoencoder import SparseAutoencoder
from saes.kernels.step import StepMetrics, StepSettings, Update
from saes.losses import Loss
from saes.quality import explained_variance


class ReferenceStep:
    """A TrainingStep by autograd."""

    def __init__(self, sae: SparseAutoencoder, settings: StepSettings, update: Update | None = None):
        self.sae = sae
        self.settings = settings
        self.update = update or Update(sae, settings, fused=False)

    def __call__(self, x: Float[Tensor, "row d_in"], lr: float) -> StepMetrics:
        sae, dead = self.sae, self.update.dead()
        x = x.to(sae.W_dec.dtype)
        pre = sae.pre_activations(x)
        z = sae.activate(pre, self.settings.bandwidth)
        x_hat = sae.decode(z)
        loss = loss_of(sae, self.settings, x, pre, z, x_hat, dead)
        loss.total.backward()
        with torch.no_grad():
            fired = z > 0
            if sae.config.sparsity == "batch_topk":
                self.update.follow_threshold(z.masked_fill(~fired, torch.inf).min())
            self.update.apply(lr, fired.any(0), len(x))
            return StepMetrics(
                loss=loss.total.detach(),
                terms={name: term.detach() for name, term in loss.terms.items()},
                explained_variance=explained_variance(x, x_hat.detach()),
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
    x: Float[Tensor, "row d_in"],
    pre: Float[Tensor, "row d_sae"],
    z: Float[Tensor, "row d_sae"],
    x_hat: Float[Tensor, "row d_in"],
    dead: Tensor | None,
) -> Loss:
    """The loss that belongs to the SAE's sparsity: a penalty where values are free, a rescue where they compete."""
    fit = losses.reconstruction(x, x_hat)
    match sae.config.sparsity:
        case "relu":
            return Loss.of(reconstruction=fit, l1=settings.l1_coefficient * losses.l1(z, sae.W_dec))
        case "gated":
            sparse = settings.l1_coefficient * losses.l1(pre.relu(), sae.W_dec)
            gate = losses.through_gate(x, pre, sae.W_dec, sae.b_dec)
            return Loss.of(reconstruction=fit, l1=sparse, gate=gate)
        case "jump_relu":
            fired = losses.l0(pre, sae.threshold, settings.bandwidth)
            return Loss.of(reconstruction=fit, l0=settings.l0_coefficient * fired)
    if not settings.auxk_coefficient or dead is None or not dead.any():
        return Loss.of(reconstruction=fit)
    looked_at = slice(0, settings.auxk_rows)
    residual = (x - x_hat)[looked_at].detach()
    rescue = losses.auxk(residual, pre[looked_at], dead, sae.W_dec, settings.k_aux_of(sae))
    return Loss.of(reconstruction=fit, auxk=settings.auxk_coefficient * rescue)
