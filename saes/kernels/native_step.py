"""The training step on the CPU with compiled kernels: the dense product in bfloat16, all else over firing latents only.

Two things make it fast beyond the sums of cpu.py: the candidates are picked out of each block of products while it lies in
the cache, and one pass over the latents makes a row's gradient and spends it at once (projection, Adam, length one, the
bfloat16 copy), so that no gradient of the weights is ever stored.

A latent without a gradient is not touched: its row rests. When it has one again, Adam's moments first decay by the steps
missed, and the row first goes the way its momentum would have carried it (exact but for Adam's eps); ``settle`` does the
same for all. So the weights differ from those of dense Adam only in that a resting row is read as it was when it came to
rest.
"""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from saes.autoencoder import SparseAutoencoder
from saes.kernels import native
from saes.kernels.axes import ALONE, Axes
from saes.kernels.native import address
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepMetrics, StepSettings, Update
from saes.losses import PENALTIES

MARGIN = 16
"""Candidates a row beyond k that a bfloat16 product keeps for exact scoring; at 4, one winner in 10^4 was missed."""

BLOCK_ROWS, BLOCK_VALUES = 2048, 2**22
"""Products held at once: smaller blocks stay nearer in the cache, but cost the product more than they save."""

GUESS_SHARE, GUESS_SLACK = 0.02, 0.9
"""The floor of a topk row's candidates is this much of what all but this share of the last batch's rows had. Rows that
then have too few are gathered again."""

DENSE_SHARE = 1 / 24
"""When more of the latents than this are candidates at a row, the dense step is the faster one (relu, jump_relu and gated)."""

ROUNDING = 0.02
"""How far a bfloat16 product strays, in units of |x| |w| / sqrt(d_in): about six standard deviations."""

KEPT_VALUES = 2**23
"""A clipped gradient has to be made before its length is known: up to so many numbers it is kept for the update, beyond
that it is made again, which is then cheaper than writing and reading it."""

MEMORY = 512
"""Steps after which a resting row's momentum is spent: 0.9^512 is nothing."""


@dataclass
class Candidates:
    """Latents that may fire, a few a row: the first ``count[row]`` places of each row hold some."""

    value: Float[Tensor, "row stride"]
    latent: Int32[Tensor, "row stride"]
    count: Int32[Tensor, " row"]
    floor: Float[Tensor, " row"]
    """What a row's candidates had to exceed in the end: more than in the beginning where it had too many."""

    @property
    def stride(self) -> int:
        return self.value.shape[1]

    def __len__(self) -> int:
        return int(self.count.sum())


@dataclass
class RowCode:
    """Firings one after the other, row by row: ``start[row]`` to ``start[row + 1]`` are the row's."""

    start: Int64[Tensor, " rows_and_one"]
    latent: Int32[Tensor, " firing"]
    value: Float[Tensor, " firing"]


class NativeStep:
    """A TrainingStep by the compiled kernels, for SAEs in float32 on the CPU.

    Not for the p_anneal penalty, resampling, or penalties on a crosscoder's lengths. Of a topk SAE, data ranks may each bring
    rows of their own: their gradients are averaged between the two passes over the latents, and every rank then makes the
    same update.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        settings: StepSettings,
        library: ctypes.CDLL,
        candidates: torch.dtype = torch.bfloat16,
        axes: Axes = ALONE,
    ):
        assert axes.latent.size == 1
        assert axes.data.size == 1 or sae.config.sparsity == "topk"
        assert sae.W_dec.device.type == "cpu"
        assert sae.W_dec.dtype == torch.float32
        assert sae.W_enc.T.is_contiguous(), "the kernels read W_enc a latent at a time"
        self.sae, self.settings, self.library, self.dtype = sae, settings, library, candidates
        self.axes, self.data = axes, axes.data
        self.margin = 0 if candidates == torch.float32 else MARGIN
        self.update = Update(sae, settings, fused=True)
        self.dense = ReferenceStep(sae, settings, self.update)
        self.rest = Rest(sae.d_sae)
        self.prefixes = sae.prefixes or (sae.d_sae,)
        self.penalty = settings.penalty_of(sae.config.sparsity)
        self.level = 0.0  # a guess at what the candidates of topk and batch_topk exceed; a wrong one costs time only
        self.capacity = 512
        self._start_moments()
        self._round_weights()

    # ---- the step

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "row d_in"], lr: float, target: Tensor | None = None) -> StepMetrics:
        sae, rows = self.sae, len(x)
        x = x.float().contiguous()
        x_in = sae.centred(x).contiguous()
        candidates = self._candidates(x_in)
        if candidates is None:
            return self._dense_step(x, lr, target)
        code, pre = self._firings(candidates)
        fired_latents = code.latent[code.value > 0].long()
        fired = torch.zeros(sae.d_sae, dtype=torch.bool).index_fill_(0, fired_latents, True)
        y = x if target is None else target.float().contiguous()
        if y.shape[1] != sae.d_out:
            raise ValueError(f"this SAE writes {sae.d_out} numbers a row: a transcoder needs the target to learn from")
        base = sae.without_latents(x).expand_as(y) if sae.config.skip else sae.b_dec.detach()

        scale = 2 / (rows * len(self.prefixes))
        grad, squared, slope = self._decode(code, y, base, scale, self.prefixes)
        squared_error = squared[-1].sum()
        terms = {"reconstruction": squared.sum() / (rows * len(self.prefixes))}
        b_dec_grad = grad[0].sum(0)
        small: dict[str, Tensor] = {}  # the gradients of the small parameters
        if sae.config.skip:
            small["W_skip"] = grad[0].T @ x
        if sae.config.sparsity == "jump_relu":
            small["threshold"], count = self._threshold_gradient(code, pre, slope, rows)
            terms |= count
        if sae.config.sparsity == "gated":
            slope *= code.value > 0
            slope, more, gates = self._gate_gradients(code, pre, slope, y, base)
            terms |= more
            small |= gates
        else:
            if self.penalty in ("l1", "tanh"):
                pull, terms[self.penalty] = self._penalise(code.value, rows)
                slope += pull
            slope *= code.value > 0
        fit = self._by_latent(code, slope, grad)

        dead = self.update.dead()
        rescue = None
        if self.settings.auxk_coefficient and self.penalty is None and dead is not None:
            ids = dead.nonzero().squeeze(1)
            if len(ids):
                error = grad[-1, : self.axes.before(self.settings.auxk_rows)] / scale
                terms["auxk"], rescue = self._rescue(x_in, error, ids)

        self._learn(lr, x_in, fit, rescue, b_dec_grad, small)
        if sae.config.sparsity == "batch_topk":
            self.update.follow_threshold(code.value.min() if len(code.value) else torch.tensor(torch.inf))
        self.update.count(self.data.reduce_(fired.to(torch.uint8), "max").bool(), rows * self.data.size)
        return self._metrics(terms, squared_error, x_in if target is None else y - sae.b_dec, len(fired_latents), dead)

    def _metrics(
        self,
        terms: dict[str, Tensor],
        squared_error: Float[Tensor, ""],
        centred: Float[Tensor, "row d_out"],
        firings: int,
        dead: Tensor | None,
    ) -> StepMetrics:
        """The batch's, by one sum over the data ranks; ``centred`` is what was to be written, near zero."""
        data, rows, flat = self.data, len(centred) * self.data.size, centred.reshape(-1)
        found = [*(term / data.size for term in terms.values()), squared_error, torch.tensor(firings), flat.dot(flat)]
        sums = data.reduce_(torch.cat([torch.stack([one.float() for one in found]), centred.sum(0)]))
        *of_batch, squared_error, fired, squares = sums[: len(found)]
        return StepMetrics(
            loss=torch.stack(of_batch).sum(),
            terms=dict(zip(terms, of_batch, strict=True)),
            explained_variance=1 - squared_error / (squares - sums[len(found) :].square().sum() / rows),
            l0=fired / rows,
            dead=centred.new_zeros(()) if dead is None else dead.float().mean(),
        )

    def _dense_step(self, x: Float[Tensor, "row d_in"], lr: float, target: Tensor | None) -> StepMetrics:
        """While a relu, jump_relu or gated one has not become sparse yet."""
        self.settle()
        with torch.enable_grad():
            metrics = self.dense(x, lr, target)
        self.rest = Rest.at(self.rest.steps + 1, self.sae.d_sae)
        self._round_weights()
        return metrics

    # ---- which latents fire

    def _candidates(self, x_in: Float[Tensor, "row d_in"]) -> Candidates | None:
        """Latents that may fire, with exact values; None where they are so many that the dense step is faster."""
        sae = self.sae
        match sae.config.sparsity:
            case "topk":
                found = self._topk_candidates(x_in)
            case "batch_topk":
                return self._batch_topk_candidates(x_in)
            case _:
                some = self._threshold_candidates(x_in)
                if some is None:
                    return None
                found = some
        self._score(found, x_in)
        return found

    def _topk_candidates(self, x_in: Float[Tensor, "row d_in"]) -> Candidates:
        keep, rows = min(self.sae.config.k + self.margin, self.sae.d_sae), len(x_in)
        found = self._gather(x_in, keep, 2 * keep + 128, floor=self.level)
        short = (found.count < keep).nonzero().squeeze(1)
        if len(short) and self.level > 0:
            again = self._gather(x_in[short], keep, 2 * keep + 128)
            found.value[short], found.latent[short], found.count[short] = again.value, again.latent, again.count
        self.library.keep_best(
            rows, keep, found.stride, address(found.value), address(found.latent), address(found.count)
        )
        inside = torch.arange(keep) < found.count[:, None]
        least = found.value[:, :keep].where(inside, 0).amin(1)
        guess = GUESS_SLACK * least.kthvalue(1 + int(GUESS_SHARE * rows)).values
        # one for all ranks, as the first one saves its own: the order of a row's sums depends on it
        self.level = max(0.0, float(self.data.reduce_(guess, "min")))
        return found

    def _batch_topk_candidates(self, x_in: Float[Tensor, "row d_in"]) -> Candidates:
        """The (rows x k) largest of the batch, and those at the margin; the level is the one that the last batch had."""
        sae, rows = self.sae, len(x_in)
        wanted = min(rows * (sae.config.k + self.margin), rows * sae.d_sae)
        level, capacity = self.level, max(self.capacity, 4 * (sae.config.k + self.margin), 256)
        while True:
            capacity = min(capacity, sae.d_sae + 256)
            found = self._gather(x_in, max(1, capacity // 2), capacity, floor=level)
            if len(found) < wanted and level > 0:
                level = level / 2 if level > 1e-3 else 0.0
                continue
            least = self._nth(found, wanted)
            overfull = found.floor.max() > max(level, least)  # a row had to throw away what belongs to the batch's best
            if not overfull or capacity >= sae.d_sae + 128:
                break
            capacity *= 2
        self.capacity = capacity
        if least > -math.inf:
            self.level = 0.9 * least
            self._cut(found, least)
        self._score(found, x_in)
        return found

    def _threshold_candidates(self, x_in: Float[Tensor, "row d_in"]) -> Candidates | None:
        sae = self.sae
        most = int(sae.d_sae * DENSE_SHARE)
        level = None
        if sae.config.sparsity == "jump_relu":  # also those that do not fire but let the threshold learn
            level = sae.threshold.detach() - self.settings.bandwidth / 2
        floor = torch.zeros(len(x_in))
        if self.margin:
            assert self.lengths is not None
            stray = ROUNDING * float(self.lengths.max()) / math.sqrt(sae.d_in)
            floor = -stray * x_in.norm(dim=1)
        while True:
            capacity = min(self.capacity, 4 * most + 256)
            found = self._gather(x_in, 1, capacity, floor=floor, level=level)
            if len(found) > most * len(x_in):
                return None
            if not bool((found.floor > floor).any()):
                return found
            if capacity < self.capacity:
                return None
            self.capacity *= 2

    def _gather(
        self,
        x_in: Float[Tensor, "row d_in"],
        keep: int,
        capacity: int,
        floor: float | Tensor = 0.0,
        level: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> Candidates:
        """Products block by block, and of each what exceeds the row's floor; with ``ids`` only of those latents, by their
        place in it."""
        assert 1 <= keep <= capacity - 64, "a row must be able to keep what it is to keep"
        sae, rows = self.sae, len(x_in)
        n = sae.d_sae if ids is None else len(ids)
        stride = capacity + 64
        found = Candidates(
            torch.empty(rows, stride),
            torch.empty(rows, stride, dtype=torch.int32),
            torch.zeros(rows, dtype=torch.int32),
            torch.full((rows,), floor) if isinstance(floor, float) else floor.clone(),
        )
        bias = sae.bias.detach() if ids is None else sae.bias.detach()[ids]
        x_low, half = x_in.to(self.dtype), int(self.dtype == torch.bfloat16)
        high = min(BLOCK_ROWS, rows)
        wide = min(n, max(64, BLOCK_VALUES // high // 64 * 64))
        room = torch.empty(high * wide, dtype=self.dtype)
        for first in range(0, n, wide):
            until = min(first + wide, n)
            W = self.rounded[first:until] if ids is None else self.rounded[ids[first:until]]
            for top in range(0, rows, high):
                part = x_low[top : top + high]
                products = room[: len(part) * len(W)].view(len(part), len(W))
                torch.mm(part, W.T, out=products)
                self.library.gather_candidates(
                    address(products), half, len(W), address(bias), address(level), len(part), len(W), first, keep,
                    capacity, stride, address(found.value[top:]), address(found.latent[top:]), address(found.count[top:]),
                    address(found.floor[top:]),
                )  # fmt: skip
        return found

    def _nth(self, found: Candidates, n: int) -> float:
        return self.library.nth_largest(len(found.count), found.stride, address(found.value), address(found.count), n)

    def _cut(self, found: Candidates, least: float) -> None:
        self.library.cut(
            len(found.count), least, found.stride, address(found.value), address(found.latent), address(found.count)
        )

    def _score(self, found: Candidates, x_in: Float[Tensor, "row d_in"]) -> None:
        """Exact values in place of the product's, where that was rounded."""
        if self.margin:
            self.library.score_exactly(
                len(x_in), self.sae.d_in, address(x_in), address(self.sae.W_enc.T), address(self.sae.bias), found.stride,
                address(found.value), address(found.latent), address(found.count),
            )  # fmt: skip

    def _firings(self, found: Candidates) -> tuple[RowCode, Float[Tensor, " firing"]]:
        """The winners among the candidates with their values, and their pre-activations: others than the values for a
        jump_relu, whose latents just below the threshold are kept at value zero, and for a gated one, where they are the
        open gates."""
        sae, rows = self.sae, len(found.count)
        match sae.config.sparsity:
            case "topk":
                self.library.keep_best(
                    rows, sae.config.k, found.stride, address(found.value), address(found.latent), address(found.count)
                )
            case "batch_topk":
                least = self._nth(found, rows * sae.config.k)
                if least > 0:
                    self._cut(found, least)
        if sae.config.sparsity != "jump_relu":
            self._cut(found, 1e-30)  # what is left fires, or has an open gate
        if sae.config.sparsity not in ("jump_relu", "gated"):
            code = self._packed(found)
            return code, code.value
        code = self._packed(found)
        pre, ids = code.value, code.latent.long()
        if sae.config.sparsity == "gated":
            magnitude = (pre - sae.b_gate.detach()[ids]) * sae.r_mag.detach()[ids].exp() + sae.b_mag.detach()[ids]
            return RowCode(code.start, code.latent, magnitude.relu()), pre
        threshold = sae.threshold.detach()[ids]
        return RowCode(code.start, code.latent, pre * ((pre > threshold) & (pre > 0))), pre

    def _packed(self, found: Candidates) -> RowCode:
        start = torch.zeros(len(found.count) + 1, dtype=torch.long)
        torch.cumsum(found.count, 0, out=start[1:])
        value, latent = torch.empty(int(start[-1])), torch.empty(int(start[-1]), dtype=torch.int32)
        self.library.pack(
            len(found.count), found.stride, address(found.value), address(found.latent), address(found.count),
            address(start), address(value), address(latent),
        )  # fmt: skip
        return RowCode(start, latent, value)

    # ---- gradients

    def _decode(
        self, code: RowCode, target: Float[Tensor, "row d_out"], base: Tensor, scale: float, prefixes: Sequence[int]
    ) -> tuple[Float[Tensor, "prefix row d_out"], Float[Tensor, "prefix row"], Float[Tensor, " firing"]]:
        """What the errors of each prefix and all after it add up to, scaled: the gradient of what it writes; each prefix's
        squared errors summed by row; and the gradient of each firing's value. ``base`` is one vector, or one a row."""
        rows, d_out = target.shape
        bounds = torch.tensor([0, *prefixes], dtype=torch.int32)
        grad, squared = torch.empty(len(prefixes), rows, d_out), torch.empty(len(prefixes), rows)
        slope, base = torch.empty_like(code.value), base.contiguous()
        self.library.decode_rows(
            rows, d_out, len(prefixes), address(bounds), address(target), address(base), d_out if base.ndim == 2 else 0,
            address(self.sae.W_dec), address(code.start), address(code.latent), address(code.value), scale, address(grad),
            address(squared), address(slope),
        )  # fmt: skip
        return grad, squared, slope

    def _threshold_gradient(
        self, code: RowCode, pre: Float[Tensor, " firing"], slope: Float[Tensor, " firing"], rows: int
    ) -> tuple[Float[Tensor, " d_sae"], dict[str, Tensor]]:
        """The straight-through estimates of arXiv:2407.14435, equations 11 and 12, as saes.sparsity has them; and the
        cost of the number of latents that fire, where that is what is penalised."""
        ids, width, settings = code.latent.long(), self.settings.bandwidth, self.settings
        threshold = self.sae.threshold.detach()[ids]
        near = (pre - threshold).abs() < width / 2
        through, terms = threshold * slope, {}
        if self.penalty == "tanh":
            pull, _ = self._penalise(code.value, rows)
            through = through + threshold * pull
        elif self.penalty == "l0":
            through = through + settings.l0_coefficient / rows
            terms["l0"] = settings.l0_coefficient * (code.value > 0).sum() / rows
        else:
            assert settings.target_l0 is not None
            row = torch.repeat_interleave(torch.arange(rows), code.start.diff())
            missed = torch.zeros(rows).index_add_(0, row, (code.value > 0).float()) / settings.target_l0 - 1
            through = through + (2 * settings.l0_coefficient / (rows * settings.target_l0)) * missed[row]
            terms["l0"] = settings.l0_coefficient * missed.square().mean()
        return torch.zeros(self.sae.d_sae).index_add_(0, ids, -through / width * near), terms

    def _penalise(
        self, value: Float[Tensor, " firing"], rows: int
    ) -> tuple[Float[Tensor, " firing"], Float[Tensor, ""]]:
        """The gradient of the penalty on values, and the penalty. Directions are of length one, and stay so."""
        settings = self.settings
        free = settings.l0_coefficient if self.sae.config.sparsity == "jump_relu" else settings.l1_coefficient
        if self.penalty == "l1":
            return torch.full_like(value, free / rows), free * value.sum() / rows
        bent = torch.tanh(value * settings.tanh_scale)
        return (free * settings.tanh_scale / rows) * (1 - bent.square()), free * bent.sum() / rows

    def _gate_gradients(
        self, code: RowCode, gate: Float[Tensor, " firing"], slope: Float[Tensor, " firing"],
        target: Float[Tensor, "row d_out"], base: Tensor,
    ) -> tuple[Float[Tensor, " firing"], dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
        """What reaches the product x @ W_enc through magnitude and gate, the gate's terms of the loss, and the gradients
        of the three biases (losses.through_gate and losses.l1 say what is computed)."""
        sae, rows, ids = self.sae, len(target), code.latent.long()
        ratio = sae.r_mag.detach()[ids].exp()
        opened = RowCode(code.start, code.latent, gate)
        _, squared, gate_slope = self._decode(opened, target, base, 2 / rows, [sae.d_sae])
        pull, cost = self._penalise(gate, rows)
        gate_slope += pull
        assert self.penalty is not None
        terms = {self.penalty: cost, "gate": squared.sum() / rows}

        def by_latent(each: Tensor) -> Tensor:
            return torch.zeros(sae.d_sae).index_add_(0, ids, each)

        product = gate - sae.b_gate.detach()[ids]
        small = {
            "b_gate": by_latent(gate_slope),
            "r_mag": by_latent(slope * product * ratio),
            "b_mag": by_latent(slope),
        }
        return slope * ratio + gate_slope, terms, small

    def _by_latent(self, code: RowCode, slope: Tensor, grad: Float[Tensor, "prefix row d_out"]) -> "SortedFirings":
        d_sae, n = self.sae.d_sae, len(code.latent)
        sorted_ = SortedFirings(
            torch.empty(d_sae + 1, dtype=torch.long),
            torch.empty(n, dtype=torch.int32),
            torch.empty(n),
            torch.empty(n),
            grad,
        )
        self.library.sort_by_latent(
            len(code.start) - 1, d_sae, address(code.start), address(code.latent), address(code.value), address(slope),
            address(sorted_.ptr), address(sorted_.row_of), address(sorted_.value), address(sorted_.slope),
        )  # fmt: skip
        return sorted_

    def _rescue(
        self, x_in: Float[Tensor, "row d_in"], error: Float[Tensor, "part d_out"], ids: Int64[Tensor, " dead"]
    ) -> tuple[Float[Tensor, ""], "SortedFirings | None"]:
        """losses.auxk and its firings: dead latents try to explain what is left over at the first rows of the batch, of
        which a data rank may have none."""
        if not len(error):
            return error.sum(), None
        k_aux = self.settings.k_aux_of(self.sae)
        looked_at = (
            min(len(x_in) * self.data.size, self.settings.auxk_rows) / self.data.size
        )  # on average over the ranks
        x_in = x_in[: len(error)].contiguous()
        keep = min(k_aux + self.margin, len(ids))
        found = self._gather(x_in, keep, 2 * keep + 128, floor=-math.inf, ids=ids)
        at = (len(x_in), keep, found.stride, address(found.value), address(found.latent), address(found.count))
        self.library.keep_best(*at)
        inside = torch.arange(found.stride) < found.count[:, None]
        found.latent = torch.where(inside, ids[found.latent.long().where(inside, 0)], 0).int()
        self._score(found, x_in)
        kept = min(k_aux, keep)
        self.library.keep_best(
            len(x_in), kept, found.stride, address(found.value), address(found.latent), address(found.count)
        )
        code = self._packed(found)
        weight = self.settings.auxk_coefficient * min(1.0, len(ids) / k_aux) / looked_at
        grad, squared, slope = self._decode(code, torch.zeros_like(error), error, 2 * weight, [self.sae.d_sae])
        return squared.sum() * weight, self._by_latent(code, slope, grad)

    # ---- the update

    def _learn(
        self,
        lr: float,
        x_in: Float[Tensor, "row d_in"],
        fit: "SortedFirings",
        rescue: "SortedFirings | None",
        b_dec_grad: Float[Tensor, " d_out"],
        small: dict[str, Tensor],
    ) -> None:
        sae, settings = self.sae, self.settings
        bounds = torch.tensor([0, *self.prefixes], dtype=torch.int32)
        width = sae.d_in + sae.d_out
        several, two_passes = self.data.size > 1, settings.clip_norm is not None or self.data.size > 1
        kept = None
        if several:
            kept = torch.zeros(sae.d_sae, width)
        elif two_passes and sae.d_sae * width <= KEPT_VALUES:
            kept = torch.empty(sae.d_sae, width)
        gradients = native.Gradients(
            sae.d_sae, sae.d_in, sae.d_out, len(self.prefixes), int(sae.config.sparsity != "gated"), address(bounds),
            address(x_in), fit.struct(), rescue.struct() if rescue else native.Firings(), address(kept),
        )  # fmt: skip
        bias_grad, input_grad = torch.empty(sae.d_sae), torch.zeros(sae.d_in)
        scale = 1.0
        if two_passes:
            size = self.library.gradient_size(
                ctypes.byref(gradients), address(sae.W_enc.T), address(bias_grad), address(input_grad)
            )
            if sae.config.apply_b_dec_to_input:
                b_dec_grad = b_dec_grad - input_grad
        if several:
            assert kept is not None
            self.data.average_([kept, bias_grad, b_dec_grad, *small.values()])
            size = float(torch.linalg.vector_norm(kept)) ** 2 + float(torch.linalg.vector_norm(bias_grad)) ** 2
            ptr = self._fired_anywhere(fit, rescue)
            gradients.fit, gradients.rescue = native.Firings(address(ptr)), native.Firings()
        if settings.clip_norm is not None:
            size += float(b_dec_grad.double().square().sum())
            size += sum(float(gradient.double().square().sum()) for gradient in small.values())
            scale = min(1.0, settings.clip_norm / (math.sqrt(size) + 1e-6))  # as torch.nn.utils.clip_grad_norm_
        input_grad_later = sae.config.apply_b_dec_to_input and not two_passes
        self.rest.begin_step()
        adam = self.rest.adam(lr, settings)
        self.library.update_latents(
            ctypes.byref(gradients), ctypes.byref(adam), scale, *map(ctypes.byref, self._moments()),
            address(self.rounded) if self.margin else None, address(self.lengths), address(bias_grad),
            address(input_grad) if input_grad_later else None,
        )  # fmt: skip
        self.rest.end_step(lr, settings)
        if input_grad_later:
            b_dec_grad = b_dec_grad - input_grad
        sae.b_dec.grad = b_dec_grad * scale
        for name, gradient in small.items():
            getattr(sae, name).grad = gradient * scale
        self.update.step(lr)  # the small parameters
        for parameter in self._latent_parameters():
            self.update.optimiser.state[parameter]["step"].fill_(self.rest.steps)

    def _fired_anywhere(self, fit: "SortedFirings", rescue: "SortedFirings | None") -> Int64[Tensor, " d_sae_and_one"]:
        """As SortedFirings.ptr, one firing for each latent that has a gradient on any data rank."""
        fires = fit.ptr.diff() > 0
        if rescue is not None:
            fires |= rescue.ptr.diff() > 0
        counts = self.data.reduce_(fires.to(torch.uint8), "max")
        return torch.cat([torch.zeros(1, dtype=torch.long), counts.long().cumsum(0)])

    def settle(self) -> None:
        """Move every resting row to where dense Adam would have taken it."""
        adam = self.rest.adam(0.0, self.settings)
        self.library.catch_up(
            self.sae.d_sae, self.sae.d_in, self.sae.d_out, ctypes.byref(adam),
            *map(ctypes.byref, self._moments()), address(self.rounded) if self.margin else None, address(self.lengths),
        )  # fmt: skip

    def _latent_parameters(self) -> tuple[Tensor, ...]:
        """What the kernels move: the rest is small and moves all at once."""
        rows = self.sae.W_enc, self.sae.W_dec
        return rows if self.sae.config.sparsity == "gated" else (*rows, self.sae.b_enc)

    def _moments(self) -> list[native.Moments]:
        """Of the encoder, the decoder and the encoder's bias: where the weights and Adam's moments lie."""
        found = []
        for parameter in self._latent_parameters():
            state = self.update.optimiser.state[parameter]
            by_latent = [parameter.detach(), state["exp_avg"], state["exp_avg_sq"]]
            if parameter is self.sae.W_enc:
                by_latent = [tensor.T for tensor in by_latent]
            found.append(native.Moments(*map(address, by_latent)))
        return [*found, native.Moments()][:3]

    def _start_moments(self) -> None:
        for parameter in self._latent_parameters():
            if not self.update.optimiser.state.get(parameter):
                self.update.optimiser.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }

    def _round_weights(self) -> None:
        """The encoder as the product reads it and, where a row's candidates are told by how far the product may stray, the
        lengths of its rows; the kernels keep both up to date from then on."""
        W_enc = self.sae.W_enc.detach().T
        self.rounded = W_enc.to(self.dtype)
        self.lengths = torch.empty(len(W_enc)) if self.margin and self.sae.config.sparsity in PENALTIES else None
        if self.lengths is not None:
            self.library.row_lengths(*W_enc.shape, address(W_enc), address(self.lengths))

    @property
    def rows_since_fired(self) -> Tensor:
        return self.update.rows_since_fired

    def state_dict(self) -> dict[str, Any]:
        guesses = {"level": self.level, "capacity": self.capacity}
        return {**self.update.state_dict(), "rest": self.rest.state_dict(), "guesses": guesses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.update.load_state_dict(state)
        self._start_moments()
        self._round_weights()
        step = int(self.update.optimiser.state[self.sae.W_dec]["step"])
        if "rest" in state:
            self.rest.load_state_dict(state["rest"])
            self.level, self.capacity = state["guesses"]["level"], state["guesses"]["capacity"]
        else:  # written by a kernel that moves every row at every step
            self.rest = Rest.at(step, self.sae.d_sae)


class Rest:
    """Since when each latent's row has stood still, and how far it would have gone since."""

    def __init__(self, d_sae: int):
        self.steps = 0
        self.last = torch.zeros(d_sae, dtype=torch.long)
        """[d_sae] the step after which the row was last up to date."""
        self.missed = torch.zeros(1024)
        """[step] how far a row that was up to date after that step would have gone since, in units of m / sqrt(v)."""

    @classmethod
    def at(cls, steps: int, d_sae: int) -> "Rest":
        """All rows up to date after so many steps."""
        rest = cls(d_sae)
        rest.steps = steps
        rest.missed = torch.zeros(2 * steps + 1024)
        rest.last.fill_(steps)
        return rest

    def begin_step(self) -> None:
        self.steps += 1
        if self.steps >= len(self.missed):
            self.missed = torch.cat([self.missed, torch.zeros_like(self.missed)])

    def end_step(self, lr: float, settings: StepSettings) -> None:
        """Adam without a gradient goes lr sqrt(1 - beta2^t) / (1 - beta1^t) (beta1 / sqrt(beta2))^rested m / sqrt(v)."""
        beta1, beta2 = settings.betas
        until = self.steps  # rows up to date after the step itself have missed nothing
        first = max(0, until - MEMORY)
        rested = torch.arange(until - first, 0, -1, dtype=torch.float64)
        way = lr * math.sqrt(1 - beta2**self.steps) / (1 - beta1**self.steps)
        self.missed[first:until] += (way * (beta1 / math.sqrt(beta2)) ** rested).float()

    def adam(self, lr: float, settings: StepSettings) -> native.Adam:
        beta1, beta2 = settings.betas
        step = max(1, self.steps)
        return native.Adam(
            lr, beta1, beta2, settings.eps, 1 - beta1**step, 1 - beta2**step, self.steps, address(self.last),
            address(self.missed),
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "last": self.last.clone(), "missed": self.missed.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.last, self.missed = state["last"].clone(), state["missed"].clone()


@dataclass
class SortedFirings:
    """Firings sorted by latent, with what their rows' errors became: the fields are explained in native.cpp."""

    ptr: Int64[Tensor, " d_sae_and_one"]
    row_of: Int32[Tensor, " firing"]
    value: Float[Tensor, " firing"]
    slope: Float[Tensor, " firing"]
    grad: Float[Tensor, "prefix row d_out"]

    def struct(self) -> native.Firings:
        return native.Firings(
            address(self.ptr), address(self.row_of), address(self.value), address(self.slope), address(self.grad),
            self.grad.shape[1],
        )  # fmt: skip
