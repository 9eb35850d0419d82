"""The training step over many ranks: each owns a slice of the latents and sees a share of the rows.

What is sent in a step, for ``row`` rows of a data shard and R ranks on the latent axis: the activations (all-gather,
[row, d_in]); k values a row and rank, from which all ranks tell the winners; the partial reconstructions (all-reduce,
[row, d_in]: a reduce-scatter would need the errors gathered again, since each rank's latents learn from whole errors);
on the data axis the gradients. Gradients of latents never cross the latent axis.

A loss is computed on every rank of a latent axis alike, from sums over the axis, so each rank's gradient for its own
latents is complete. Of what all of them hold (b_dec) each finds a part, and the parts are summed: it enters the
reconstruction on the first rank alone and the encoder on every one. An architecture that adds weights says in
slices.LATENT_DIM how they are cut; one with several reconstructions (prefixes) or another target sums and compares
them where ``x_hat`` is made here; a penalty over latents joins PARTIAL.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from saes.kernels.cpu import CHUNK_VALUES, RaggedCode, SparseStep
from saes.kernels.reference import Further, loss_of, penalised
from saes.kernels.resample import resample_if_due
from saes.kernels.selection import kth_largest, row_winners
from saes.kernels.slices import LatentSlice, own_state, whole_state
from saes.kernels.step import StepMetrics, StepSettings, Update
from saes.losses import Loss, lengths
from saes.sparsity import largest

PARTIAL = ("l1", "l0", "lp", "tanh")
"""Terms of the loss that each rank finds for its own latents; the others are the same all along the latent axis."""


@dataclass
class Pass:
    """What one pass over a rank's rows found; its gradients stand in ``.grad``, not yet summed over ranks."""

    terms: dict[str, Tensor]
    """The parts of the loss, as means over the shard's rows."""
    error: Float[Tensor, "row d_in"]
    """Reconstruction minus activation."""
    fired: Bool[Tensor, " d_sae"]
    firings: Float[Tensor, ""]
    smallest: Float[Tensor, ""]
    """The least value that passed; infinite where none did."""


class Rescue(NamedTuple):
    """A rank's share of the rescue of dead latents."""

    ids: Int64[Tensor, " dead"]
    """The dead ones among its latents; maybe none."""
    k_aux: int
    """How many of all ranks' may help at a row."""
    rows: int
    """How many of the shard's rows are looked at, from the first on."""
    weight: float
    """What a squared error counts, so that the mean over data shards is the mean over the rows looked at."""


class ParallelStep:
    """A TrainingStep on one of many ranks. All of them must call it, each with its own rows of the batch (Axes.own).

    ``candidates`` is the dtype of the sparse sums' search on the CPU (see kernels.cpu); None computes the step densely,
    by autograd, as for every other sparsity and device. Either way it is one process's update of the global batch.
    """

    def __init__(self, sae: LatentSlice, settings: StepSettings, candidates: torch.dtype | None = None):
        self.sae = sae
        self.settings = settings
        self.axes = sae.axes
        ours = replace(settings, clip_norm=None)  # an Update knows one rank's gradients; they are clipped here
        self.sparse = None if candidates is None else SparseStep(sae, ours, candidates)
        self.update = Update(sae, ours, fused=True) if self.sparse is None else self.sparse.update

    def __call__(
        self, x: Float[Tensor, "own d_in"], lr: float, target: Float[Tensor, "own d_out"] | None = None
    ) -> StepMetrics:
        axes, dtype = self.axes, self.sae.W_dec.dtype
        rows = len(x) * axes.world.size
        x = axes.shard(x.to(dtype))
        return self._step(x, lr, x if target is None else axes.shard(target.to(dtype)), rows)

    def learn(
        self,
        x: Float[Tensor, "row d_in"],
        lr: float,
        target: Float[Tensor, "row d_out"] | None = None,
        further: Further | None = None,
    ) -> StepMetrics:
        """A step from the rows of a data rank, which all of its latent axis bring alike; their number may differ among
        data ranks. ``further`` gives terms to add to the loss, as in ReferenceStep: what it gets and gives are parts
        whose mean over the data ranks is the batch's."""
        dtype = self.sae.W_dec.dtype
        rows = int(self.axes.data.reduce_(torch.tensor(len(x), device=x.device)))
        return self._step(x.to(dtype), lr, (x if target is None else target).to(dtype), rows, further)

    def _step(
        self,
        x: Float[Tensor, "row d_in"],
        lr: float,
        target: Float[Tensor, "row d_out"],
        rows: int,
        further: Further | None = None,
    ) -> StepMetrics:
        """The step from a shard of a batch of ``rows``."""
        sae, axes = self.sae, self.axes
        if target.shape[1] != sae.d_out:
            raise ValueError(f"this SAE writes {sae.d_out} numbers a row: a transcoder needs the target to learn from")
        dead = self.update.dead()
        rescue = self._rescue(dead, len(x), rows)
        if self.sparse is None:
            found = self._by_autograd(x, target, rescue, rows, further)
        else:
            assert further is None, "further terms are for autograd"
            found = self._by_sparse_sums(x, rescue)
        with torch.no_grad():
            self._sum_gradients()
            self._clip()
            if sae.config.sparsity == "batch_topk":
                self.update.follow_threshold(axes.world.reduce_(found.smallest, "min"))
            fired = axes.data.reduce_(found.fired.to(torch.uint8), "max").bool()
            self.update.apply(lr, fired, rows)
            resample_if_due(self.update, x, target, found.error, axes)
            return self._metrics(target, found, dead, rows)

    @property
    def rows_since_fired(self) -> Tensor:
        return self.update.rows_since_fired

    def settle(self) -> None:
        """Nothing to do: every step moves every row."""

    def state_dict(self) -> dict[str, Any]:
        """The state of the whole SAE on the first rank, empty on the others; all must ask."""
        return whole_state(self.sae, self.update.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take this rank's part of a whole SAE's state."""
        self.update.load_state_dict(own_state(self.sae, state))

    # ---- one pass over the rows

    def _by_autograd(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"],
        rescue: Rescue | None,
        rows: int,
        further: Further | None,
    ) -> Pass:
        sae, update, latent = self.sae, self.update, self.axes.latent
        pre = sae.pre_activations(x)
        z = self._activate(pre, rows)
        base = sae.without_latents(x)
        base = base if latent.first else base.detach()
        x_hat = latent.summed(z @ sae.W_dec) + base
        loss = loss_of(
            sae, self.settings, target, pre, z, x_hat, None, base, update.steps, update.penalty_weight, latent.summed
        )
        share = len(x) * self.axes.data.size / rows  # 1, unless data ranks brought unequal numbers of rows
        terms = {name: term * share for name, term in loss.terms.items()}
        error = (x_hat - target).detach()
        if rescue is not None:
            of_dead = pre[: rescue.rows, rescue.ids]
            values, places = largest(of_dead, rescue.k_aux)
            values = values * row_winners(values, rescue.k_aux, latent)
            z_dead = torch.zeros_like(of_dead).scatter(1, places, values)
            left_over = latent.summed(z_dead @ sae.W_dec[rescue.ids]) + error[: rescue.rows]
            terms["auxk"] = left_over.square().sum() * rescue.weight
        if further is not None:
            terms |= further(x_hat, Loss.of(**terms))
        torch.stack(list(terms.values())).sum().backward()
        if update.penalty == "p_anneal":
            update.follow_power(penalised(sae, pre, z), lengths(sae.W_dec, sae.site_widths), self.axes.world.reduce_)
        fires = z.detach() > 0
        smallest = z.detach().masked_fill(~fires, torch.inf).min()
        return Pass({name: term.detach() for name, term in terms.items()}, error, fires.any(0), fires.sum(), smallest)

    def _activate(self, pre: Float[Tensor, "row d_sae"], rows: int) -> Float[Tensor, "row d_sae"]:
        """The sparsity, in which the latents of all ranks, and of a batch_topk all ``rows`` of the batch, compete."""
        whole, axes = self.sae.whole, self.axes
        match whole.sparsity:
            case "topk":
                values, latents = largest(pre, whole.k)
                values = values.relu() * row_winners(values, whole.k, axes.latent)
                return torch.zeros_like(pre).scatter(1, latents, values)
            case "batch_topk":
                level = kth_largest(pre.flatten(), whole.k * rows, axes.world)
                return pre.relu() * (pre >= level)
        return self.sae.activate(pre, self.settings.bandwidth)

    @torch.no_grad()
    def _by_sparse_sums(self, x: Float[Tensor, "row d_in"], rescue: Rescue | None) -> Pass:
        sae, latent = self.sae, self.axes.latent
        x_in = sae.centred(x)
        code = self._select(x_in)
        error = latent.reduce_(code.decode(sae.W_dec)).add_(sae.b_dec).sub_(x)
        terms = {"reconstruction": error.square().sum() / len(x)}
        error_grad = error * (2 / len(x))
        gradients = code.gradients(x_in, error_grad, code.dots(error_grad, sae.W_dec), sae.d_sae)
        if rescue is not None:
            terms["auxk"] = self._add_rescue(rescue, x_in, error, gradients)
        W_dec_grad, encoder_grad, b_enc_grad = gradients
        sae.W_enc.grad, sae.W_dec.grad, sae.b_enc.grad = encoder_grad.T, W_dec_grad, b_enc_grad
        sae.b_dec.grad = error_grad.sum(0) if latent.first else torch.zeros_like(sae.b_dec)
        if sae.config.apply_b_dec_to_input:
            sae.b_dec.grad -= b_enc_grad @ sae.W_enc.T
        fired = torch.zeros(sae.d_sae, dtype=torch.bool).index_fill_(0, code.latents, True)
        firings = torch.tensor(len(code.values))
        return Pass(terms, error, fired, firings, code.values.min() if len(code.values) else x.new_tensor(torch.inf))

    def _select(self, x_in: Float[Tensor, "row d_in"]) -> RaggedCode:
        """This rank's firing latents of each row, as all ranks' latents compete."""
        assert self.sparse is not None
        whole, axes = self.sae.whole, self.axes
        code = self.sparse.select(x_in)
        if whole.sparsity == "topk":
            wins = row_winners(code.values.view(len(x_in), -1), whole.k, axes.latent)
            return code.where(wins.flatten() & (code.values > 0))
        budget, proposed = whole.k * len(x_in) * axes.data.size, self.sae.config.k * len(x_in)
        level = kth_largest(code.values, budget, axes.world)
        # A rank whose least proposal wins may have more to propose; the level found without it is too low, if wrong.
        short = torch.tensor(int(len(code.values) >= proposed and bool(code.values.min() > level)))
        if axes.world.reduce_(short.clone(), "max"):
            if short:
                code = self._at_least(x_in, float(level))
            level = kth_largest(code.values, budget, axes.world)
        return code.where(code.values >= level)

    def _at_least(self, x_in: Float[Tensor, "row d_in"], level: float) -> RaggedCode:
        """Every latent with a positive value from ``level`` on."""
        first, parts = 0, []
        for part in x_in.split(max(16, CHUNK_VALUES // self.sae.d_sae)):
            pre = F.linear(part, self.sae.W_enc.T, self.sae.b_enc)
            row, latents = ((pre >= level) & (pre > 0)).nonzero().unbind(1)
            parts.append((pre[row, latents], latents, row + first))
            first += len(part)
        values, latents, row = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return RaggedCode(values, latents, row, len(x_in))

    # ---- the rescue of dead latents: losses.auxk, in which those of all ranks compete

    def _rescue(self, dead: Bool[Tensor, " d_sae"] | None, here: int, rows: int) -> Rescue | None:
        """This rank's share of the rescue; None, on all ranks alike, where there is nothing to rescue. ``here`` of the
        batch's ``rows`` are in the shard."""
        if dead is None or self.sae.config.sparsity not in ("topk", "batch_topk") or not self.settings.auxk_coefficient:
            return None
        everywhere = int(self.axes.latent.reduce_(dead.sum()))
        if not everywhere:
            return None
        k_aux, data_ranks = self.settings.k_aux_of(self.sae), self.axes.data.size
        looked_at = min(rows, self.settings.auxk_rows) / data_ranks  # on average over the data shards
        weight = self.settings.auxk_coefficient * min(1.0, everywhere / k_aux) / looked_at
        return Rescue(dead.nonzero().squeeze(1), k_aux, min(here, self.axes.before(self.settings.auxk_rows)), weight)

    def _add_rescue(
        self,
        rescue: Rescue,
        x_in: Float[Tensor, "row d_in"],
        error: Float[Tensor, "row d_in"],
        gradients: tuple[Tensor, Tensor, Tensor],
    ) -> Float[Tensor, ""]:
        """The rescue's loss; its gradients are added to those given."""
        sae, latent, ids = self.sae, self.axes.latent, rescue.ids
        x_in, W_dec = x_in[: rescue.rows], sae.W_dec[ids]
        values, places = largest(F.linear(x_in, sae.W_enc.T[ids], sae.b_enc[ids]), rescue.k_aux)
        code = RaggedCode.rectangular(values, places).where(row_winners(values, rescue.k_aux, latent).flatten())
        explained = code.decode(W_dec) if len(ids) else torch.zeros_like(x_in)
        left_over = latent.reduce_(explained).add_(error[: rescue.rows])
        if len(ids):
            error_grad = left_over * (2 * rescue.weight)
            added = code.gradients(x_in, error_grad, code.dots(error_grad, W_dec), len(ids))
            for gradient, more in zip(gradients, added, strict=True):
                gradient.index_add_(0, ids, more)
        return left_over.square().sum() * rescue.weight

    # ---- over all ranks

    def _gradients(self) -> dict[str, Tensor]:
        gradients = {}
        for name, parameter in self.sae.named_parameters():
            if parameter.grad is None:  # what only the first rank's reconstruction uses; all must sum it
                parameter.grad = torch.zeros_like(parameter)
            gradients[name] = parameter.grad
        return gradients

    def _sum_gradients(self) -> None:
        """Of what every rank holds whole, the sum of the parts; then of all, the mean over the data axis."""
        gradients = self._gradients()
        for name, gradient in gradients.items():
            if not self.sae.is_cut(name):
                self.axes.latent.reduce_(gradient)
        self.axes.data.average_(gradients.values())

    def _clip(self) -> None:
        """torch.nn.utils.clip_grad_norm_, over the parameters of all ranks."""
        if self.settings.clip_norm is None:
            return
        gradients, latent = self._gradients(), self.axes.latent
        counted = [one.norm().double() for name, one in gradients.items() if self.sae.is_cut(name) or latent.first]
        norm = latent.reduce_(torch.stack(counted).square().sum()).sqrt()
        factor = (self.settings.clip_norm / (norm + 1e-6)).clamp(max=1)
        for gradient in gradients.values():
            gradient.mul_(factor.to(gradient.dtype))

    def _is_partial(self, term: str) -> bool:
        """Whether each rank found the term for its own latents; a target_l0 is missed by all of them together."""
        return term in PARTIAL and self.update.penalty != "target_l0"

    def _metrics(self, x: Tensor, found: Pass, dead: Tensor | None, rows: int) -> StepMetrics:
        """The batch's, by one sum over all ranks."""
        axes, names = self.axes, list(found.terms)
        once = float(axes.latent.first)  # what is the same all along the latent axis counts once
        centred = (x - self.sae.b_dec).double()  # near the mean, so that no digits are lost below
        scalars = [
            *(term / axes.data.size * (1.0 if self._is_partial(name) else once) for name, term in found.terms.items()),
            found.firings,
            x.new_zeros(()) if dead is None else dead.sum() / axes.data.size,
            found.error.double().square().sum() * once,
            centred.square().sum() * once,
        ]
        sums = torch.cat([torch.stack([scalar.double() for scalar in scalars]), centred.sum(0) * once])
        *terms, firings, dead_latents, squared_error, squares = axes.world.reduce_(sums)[: len(scalars)]
        variance = squares - sums[len(scalars) :].square().sum() / rows
        return StepMetrics(
            loss=torch.stack(terms).sum(),
            terms=dict(zip(names, terms, strict=True)),
            explained_variance=1 - squared_error / variance,
            l0=firings / rows,
            dead=dead_latents / self.sae.whole.d_sae,
        )
