"""The training step of topk and batch_topk on a GPU, with Triton kernels: the same sums, over firing latents only.

The encoder's product is torch's own, in bfloat16, and nothing but candidates is kept of it; they are scored again in
float32. A program a row decodes and takes the gradients of the values; a program a latent sums both weight gradients
and spends them on Adam at once, so no gradient is as large as the weights. There is no atomic addition of gradients and
no search for launch shapes by time: the same rows give the same bits. Nothing is read back from the device.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import BFloat16, Bool, Float, Int32, Int64
from torch import Tensor, nn

from saes.autoencoder import SparseAutoencoder
from saes.kernels import triton_candidates, triton_latents, triton_rows
from saes.kernels.cpu import MARGIN
from saes.kernels.step import StepMetrics, StepSettings, Update

CHUNK_VALUES = 2**26
"""Pre-activations that topk holds at once, so that much of them is still in the cache when they are read."""

CHUNK_ROWS = 1024
"""Rows that it holds at least: with fewer the product would be slower."""


class GpuStep:
    """A TrainingStep for topk and batch_topk SAEs on a GPU.

    topk holds the product a chunk of rows at a time; batch_topk all of it, in bfloat16, since its cut depends on all.
    A step is a fixed sequence of launches, but for Adam's bias correction, which comes from the host: a CUDA graph
    would have to hand it over on the device. torch.compile has nothing left to fuse.
    """

    def __init__(self, sae: SparseAutoencoder, settings: StepSettings):
        assert sae.config.sparsity in ("topk", "batch_topk")
        assert sae.W_dec.dtype == torch.float32
        assert sae.W_enc.T.is_contiguous(), "the sparse sums read W_enc a latent at a time"
        self.sae = sae
        self.settings = settings
        self.update = Update(sae, settings, fused=False)
        self.copy = torch.empty(sae.d_sae, sae.d_in, dtype=torch.bfloat16, device=sae.W_dec.device)
        self.copied = (-1, -1)  # which W_enc it is a copy of
        self._take_moments()

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "row d_in"], lr: float, target: Tensor | None = None) -> StepMetrics:
        assert target is None, "transcoders are trained by the reference"
        with torch.cuda.device_of(self.sae.W_dec):  # Triton launches on the current device
            return self._step(x.float().contiguous(), lr)

    def _step(self, x: Float[Tensor, "row d_in"], lr: float) -> StepMetrics:
        sae, rows = self.sae, len(x)
        x_in = sae.centred(x).contiguous()
        dead = self.update.dead()
        looked_at = min(self.settings.auxk_rows, rows) if self.settings.auxk_coefficient and dead is not None else 0
        code, rescue = self._select(x_in, dead, looked_at)

        # What is left over: x_hat - x, and below it the same for the rescue's attempt at its rows.
        left = torch.empty(rows + looked_at, sae.d_in, device=x.device)
        torch.sub(sae.b_dec, x, out=left[:rows])
        squares, firings = self._decode(left[:rows], code, x.new_full((), 2 / rows))
        squared_error = squares.sum()
        error_sum = left[:rows].sum(0)
        terms = {"reconstruction": squared_error / rows}
        parts = [firings]
        if rescue is not None and dead is not None:
            k_aux = self.settings.k_aux_of(sae)
            weight = (dead.sum() / k_aux).clamp(max=1) * (self.settings.auxk_coefficient / looked_at)
            left[rows:] = left[:looked_at]
            squares, firings = self._decode(left[rows:], rescue, weight * 2)
            terms["auxk"] = squares.sum() * weight
            parts.append(firings._replace(row=firings.row + rows))

        self._learn(parts, left, x_in, error_sum * (2 / rows), lr)
        if sae.config.sparsity == "batch_topk":
            self.update.follow_threshold(code.values.masked_fill(code.latents < 0, torch.inf).min())
        self._count_rows(code, rows)
        return StepMetrics(
            loss=torch.stack(list(terms.values())).sum(),
            terms=terms,
            explained_variance=1 - squared_error / (x - x.mean(0)).square().sum(),
            l0=(code.latents >= 0).sum() / rows,
            dead=x.new_zeros(()) if dead is None else dead.float().mean(),
        )

    @property
    def rows_since_fired(self) -> Tensor:
        return self.update.rows_since_fired

    def settle(self) -> None:
        """Nothing to do: every step moves every row."""

    def state_dict(self) -> dict[str, Any]:
        for state in self.update.optimiser.state.values():
            state["step"] = torch.tensor(float(self.steps))
        return self.update.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.update.load_state_dict(state)
        self._take_moments()

    # ---- the parts of a step

    def _select(
        self, x_in: Float[Tensor, "row d_in"], dead: Bool[Tensor, " d_sae"] | None, looked_at: int
    ) -> tuple["SlotCode", "SlotCode | None"]:
        """The firing latents of each row; with ``dead`` also the best dead ones of the first ``looked_at`` rows."""
        found, attempts, offsets, first = [], [], None, 0
        k_aux = min(self.settings.k_aux_of(self.sae), self.sae.d_sae)
        for pre in self._products(x_in):
            if self.sae.config.sparsity == "topk":
                kept = min(self.sae.config.k + MARGIN, self.sae.d_sae)
                found.append(triton_candidates.largest_of_rows(pre, kept))
            else:
                wanted = min((self.sae.config.k + MARGIN) * len(pre), pre.numel())
                latents, offsets = triton_candidates.largest_of_batch(pre, wanted)
                found.append(latents)
            if first < looked_at:
                # More values lie within a rounding of the last winner where there are more winners.
                kept = min(k_aux + MARGIN + k_aux // 8, self.sae.d_sae)
                attempts.append(triton_candidates.largest_of_rows(pre[: looked_at - first], kept, dead))
            first += len(pre)
        rescue = self._best(x_in[:looked_at], torch.cat(attempts), k_aux, relu=False) if attempts else None
        if offsets is None:
            return self._best(x_in, torch.cat(found), self.sae.config.k, relu=True), rescue
        return self._cut(x_in, found[0], offsets), rescue

    def _products(self, x_in: Float[Tensor, "row d_in"]) -> Iterator[BFloat16[Tensor, "part d_sae"]]:
        """Rounded pre-activations, chunk after chunk of the rows; a chunk is gone when the next is asked for."""
        sae = self.sae
        version = (sae.W_enc._version, sae.W_enc.data_ptr())
        if version != self.copied:  # someone else has written the weights: a checkpoint was read
            self.copy.copy_(sae.W_enc.T)
            self.copied = version
        bias, rounded = sae.b_enc.bfloat16(), x_in.bfloat16()
        chunk = len(x_in) if sae.config.sparsity == "batch_topk" else max(CHUNK_ROWS, CHUNK_VALUES // sae.d_sae)
        room = torch.empty(min(chunk, len(x_in)), sae.d_sae, dtype=torch.bfloat16, device=x_in.device)
        for part in rounded.split(chunk):
            yield torch.addmm(bias, part, self.copy.T, out=room[: len(part)])

    def _scores(
        self, x_in: Float[Tensor, "row d_in"], latents: Int32[Tensor, " slot"], offsets: Int64[Tensor, " row_and_end"]
    ) -> Float[Tensor, " slot"]:
        return triton_rows.scores(x_in, self.sae.W_enc.T, self.sae.b_enc, latents, offsets)

    def _best(
        self, x_in: Float[Tensor, "row d_in"], latents: Int32[Tensor, "row slot"], k: int, relu: bool
    ) -> "SlotCode":
        """The ``k`` candidates of each row with the highest exact scores; with ``relu`` those above zero of them."""
        rows, slots = latents.shape
        scores = self._scores(x_in, latents.flatten(), _starts(rows, slots, x_in.device)).view(rows, slots)
        k = min(k, slots)
        values, places = scores.topk(k, sorted=False)
        latents = latents.gather(1, places)
        fires = values > (0 if relu else -torch.inf)
        return SlotCode.of(values.flatten(), latents.flatten(), fires.flatten(), _starts(rows, k, x_in.device))

    def _cut(
        self, x_in: Float[Tensor, "row d_in"], latents: Int32[Tensor, " slot"], offsets: Int64[Tensor, " row_and_end"]
    ) -> "SlotCode":
        """The (rows x k) candidates of the batch with the highest exact scores, as far as they are above zero."""
        scores = self._scores(x_in, latents, offsets)
        budget = min(self.sae.config.k * len(x_in), len(scores))
        last = scores.topk(budget, sorted=False).values.min()
        return SlotCode.of(scores, latents, (scores >= last) & (scores > 0), offsets)

    def _decode(
        self, left: Float[Tensor, "row d_in"], code: "SlotCode", scale: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, " row"], "Firings"]:
        """Add the code to ``left`` in place; the squares of its rows, and what the code's firings do to the weights
        where the gradient of ``left`` is ``scale`` times itself."""
        squares, value_grad = triton_rows.decode_into(
            left, self.sae.W_dec, code.values, code.latents, code.offsets, scale
        )
        slot = torch.arange(len(code.latents), device=left.device)
        row = torch.searchsorted(code.offsets[1:], slot, right=True, out_int32=True)
        return squares, Firings(row, code.values * scale, value_grad, code.latents)

    def _learn(
        self,
        parts: list["Firings"],
        left: Float[Tensor, "left_row d_in"],
        x_in: Float[Tensor, "row d_in"],
        b_dec_grad: Float[Tensor, " d_in"],
        lr: float,
    ) -> None:
        """Adam on all weights; ``b_dec_grad`` is the part of its gradient that does not come through the encoder."""
        sae, settings = self.sae, self.settings
        row, pull, push, latent = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        latent, order = torch.where(latent < 0, sae.d_sae, latent).sort(stable=True)
        ids = torch.arange(sae.d_sae + 1, dtype=torch.int32, device=latent.device)
        firings = triton_latents.SortedFirings(
            row[order], pull[order], push[order], latent, torch.searchsorted(latent, ids, out_int32=True), left, x_in
        )
        spans = triton_latents.sum_spans(firings)
        scale = b_dec_grad.new_ones(())
        if settings.clip_norm is not None:
            sums = triton_latents.latent_pass(firings, spans, self.weights, None, scale)
            whole = self._b_dec_grad(b_dec_grad, sums).square().sum() + sums.squares
            scale = (settings.clip_norm / (whole.sqrt() + 1e-6)).clamp(max=1)  # as clip_grad_norm_ has it
        self.steps += 1
        adam = triton_latents.AdamRates.at(self.steps, lr, settings.betas, settings.eps)
        sums = triton_latents.latent_pass(firings, spans, self.weights, adam, scale)
        for weight in (sae.W_enc, sae.W_dec, sae.b_enc):  # autograd cannot see what Triton writes
            torch.autograd.graph.increment_version(weight)
        self.copied = (sae.W_enc._version, sae.W_enc.data_ptr())

        grad = self._b_dec_grad(b_dec_grad, sums) * scale
        first, second = self._moments(sae.b_dec)
        first.lerp_(grad, adam.fresh1)
        second.mul_(adam.beta2).addcmul_(grad, grad, value=adam.fresh2)
        sae.b_dec.addcdiv_(first, (second.sqrt() / adam.root).add_(adam.eps), value=-adam.rate)

    def _b_dec_grad(self, direct: Float[Tensor, " d_in"], sums: "triton_latents.LatentSums") -> Float[Tensor, " d_in"]:
        return direct - sums.b_enc_part if self.sae.config.apply_b_dec_to_input else direct

    def _count_rows(self, code: "SlotCode", rows: int) -> None:
        latents = torch.where(code.latents < 0, self.sae.d_sae, code.latents).long()
        fired = torch.zeros(self.sae.d_sae + 1, dtype=torch.bool, device=latents.device).scatter_(0, latents, True)
        self.update.count(fired[:-1], rows)

    # ---- Adam's state, kept where torch's Adam keeps it: any kernel goes on from it

    def _take_moments(self) -> None:
        states = self.update.optimiser.state
        for parameter in self.sae.parameters():
            if not states[parameter]:
                states[parameter] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        self.steps = int(states[self.sae.W_dec]["step"])
        W_enc = (self.sae.W_enc, *self._moments(self.sae.W_enc))
        assert all(tensor.T.is_contiguous() for tensor in W_enc)
        self.weights = triton_latents.LatentWeights(
            W_enc=(W_enc[0].T, W_enc[1].T, W_enc[2].T),
            W_dec=(self.sae.W_dec, *self._moments(self.sae.W_dec)),
            b_enc=(self.sae.b_enc, *self._moments(self.sae.b_enc)),
            copy=self.copy,
        )

    def _moments(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor]:
        state = self.update.optimiser.state[parameter]
        return state["exp_avg"], state["exp_avg_sq"]


class SlotCode(NamedTuple):
    """Firing latents in slots, row by row; how many slots a row has is known on the host only for all rows together."""

    values: Float[Tensor, " slot"]
    latents: Int32[Tensor, " slot"]
    """-1 in a slot that holds none."""
    offsets: Int64[Tensor, " row_and_end"]

    @classmethod
    def of(
        cls,
        values: Float[Tensor, " slot"],
        latents: Int32[Tensor, " slot"],
        fires: Bool[Tensor, " slot"],
        offsets: Int64[Tensor, " row_and_end"],
    ) -> "SlotCode":
        """A code in which whatever does not fire has become an empty slot."""
        return cls(values.masked_fill(~fires, 0), latents.masked_fill(~fires, -1), offsets)


class Firings(NamedTuple):
    """What every slot of a code does to the weights of its latent: see triton_latents.SortedFirings."""

    row: Int32[Tensor, " slot"]
    pull: Float[Tensor, " slot"]
    push: Float[Tensor, " slot"]
    latent: Int32[Tensor, " slot"]


def _starts(rows: int, slots: int, device: torch.device) -> Int64[Tensor, " row_and_end"]:
    """Where each row begins, and the last one ends, with the same number of slots in each."""
    return torch.arange(rows + 1, device=device) * slots
