"""The training step of topk and batch_topk on the CPU, in plain PyTorch: the same sums, over firing latents only.

Only the encoder's product is dense, and it is made in chunks of rows of which nothing but candidates is kept. All that
follows (decoding, gradients) touches the firing latents of each row. Gradients are written out by hand; the tests hold
them against float64 autograd.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from saes.autoencoder import SparseAutoencoder
from saes.kernels.step import StepMetrics, StepSettings, Update
from saes.sparsity import largest

MARGIN = 16
"""Candidates a row beyond k that a bf16 product keeps for exact re-scoring; at 4, one winner in 10^4 was missed."""

CHUNK_VALUES = 2**21
"""Pre-activations held at once: small enough to stay in cache and to be written over, not mapped anew."""

SAMPLE_ROWS = 64
"""Rows from which the level of a batch_topk's candidates is guessed; a wrong guess costs time, never exactness."""


class SparseStep:
    """A TrainingStep for topk and batch_topk SAEs on the CPU.

    ``candidates`` is the dtype of the encoder's product (`Search`).
    """

    def __init__(self, sae: SparseAutoencoder, settings: StepSettings, candidates: torch.dtype = torch.bfloat16):
        assert sae.config.sparsity in ("topk", "batch_topk")
        assert sae.W_dec.device.type == "cpu"
        assert sae.W_enc.T.is_contiguous(), "the sparse sums read W_enc a latent at a time"
        self.sae = sae
        self.settings = settings
        self.search = Search(sae, candidates)
        self.update = Update(sae, settings, fused=True)

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "row d_in"], lr: float, target: Tensor | None = None) -> StepMetrics:
        assert target is None, "transcoders are trained by the reference"
        sae, rows = self.sae, len(x)
        x = x.float()
        x_in = sae.centred(x)
        code = self.select(x_in)
        error = code.decode(sae.W_dec).add_(sae.b_dec).sub_(x)
        squared_error = error.square().sum()
        terms = {"reconstruction": squared_error / rows}

        error_grad = error * (2 / rows)
        value_grad = code.dots(error_grad, sae.W_dec).mul_(code.values > 0)
        fired = torch.zeros(sae.d_sae, dtype=torch.bool).index_fill_(0, code.latents[code.values > 0], True)
        W_dec_grad, encoder_grad, b_enc_grad = code.gradients(x_in, error_grad, value_grad, sae.d_sae)

        dead = self.update.dead()
        if self.settings.auxk_coefficient and dead is not None and dead.any():
            terms["auxk"] = self._add_rescue(x_in, error, dead, encoder_grad, W_dec_grad, b_enc_grad)

        sae.W_enc.grad, sae.W_dec.grad, sae.b_enc.grad = encoder_grad.T, W_dec_grad, b_enc_grad
        sae.b_dec.grad = error_grad.sum(0)
        if sae.config.apply_b_dec_to_input:
            sae.b_dec.grad -= b_enc_grad @ sae.W_enc.T
        if sae.config.sparsity == "batch_topk":
            self.update.follow_threshold(code.values.min() if len(code.values) else torch.tensor(torch.inf))
        self.update.apply(lr, fired, rows)
        return StepMetrics(
            loss=torch.stack(list(terms.values())).sum(),
            terms=terms,
            explained_variance=1 - squared_error / (x - x.mean(0)).square().sum(),
            l0=(code.values > 0).sum() / rows,
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

    def select(self, x_in: Float[Tensor, "row d_in"]) -> "RaggedCode":
        """The firing latents of each row of encoder inputs, with exact float32 values."""
        return self.search.select(x_in)

    def _add_rescue(
        self,
        x_in: Float[Tensor, "row d_in"],
        error: Float[Tensor, "row d_in"],
        dead: Bool[Tensor, " d_sae"],
        encoder_grad: Float[Tensor, "d_sae d_in"],
        W_dec_grad: Float[Tensor, "d_sae d_in"],
        b_enc_grad: Float[Tensor, " d_sae"],
    ) -> Float[Tensor, ""]:
        """losses.auxk and its gradients, added to those given; costs what the dead latents of a few rows cost."""
        sae, ids, k_aux = self.sae, dead.nonzero().squeeze(1), self.settings.k_aux_of(self.sae)
        x_in = x_in[: self.settings.auxk_rows]
        W_enc, W_dec = sae.W_enc.T[ids], sae.W_dec[ids]
        code = RaggedCode.rectangular(*largest(F.linear(x_in, W_enc, sae.b_enc[ids]), k_aux))
        left_over = code.decode(W_dec).add_(error[: len(x_in)])  # explained minus residual, which is minus the error
        weight = self.settings.auxk_coefficient * min(1.0, len(ids) / k_aux) / len(x_in)
        error_grad = left_over * (2 * weight)
        added = code.gradients(x_in, error_grad, code.dots(error_grad, W_dec), len(ids))
        for gradient, more in zip((W_dec_grad, encoder_grad, b_enc_grad), added, strict=True):
            gradient.index_add_(0, ids, more)
        return left_over.square().sum() * weight


class Search:
    """Finds the firing latents of a topk or batch_topk SAE on the CPU.

    ``candidates`` is the dtype of the encoder's product. bfloat16 is several times faster where the processor has
    instructions for it and several times slower where not; its rounding only widens the search, since the candidates
    (k + 16 a row) are scored again in float32 before the winners are chosen.
    """

    def __init__(self, sae: SparseAutoencoder, candidates: torch.dtype = torch.bfloat16):
        assert sae.config.sparsity in ("topk", "batch_topk")
        assert sae.W_enc.T.is_contiguous(), "the sparse sums read W_enc a latent at a time"
        self.sae = sae
        self.candidates = candidates
        self.margin = 0 if candidates == torch.float32 else MARGIN

    @torch.no_grad()
    def select(self, x_in: Float[Tensor, "row d_in"]) -> "RaggedCode":
        """The firing latents of each row of encoder inputs, with exact float32 values."""
        if self.sae.config.sparsity == "topk":
            return self._select_topk(x_in)
        return self._select_batch_topk(x_in)

    def _select_topk(self, x_in: Float[Tensor, "row d_in"]) -> "RaggedCode":
        kept = min(self.sae.config.k + self.margin, self.sae.d_sae)
        found = [largest(pre, kept) for pre in self._products(x_in)]
        values, latents = (torch.cat(parts) for parts in zip(*found, strict=True))
        code = RaggedCode.rectangular(values.float().relu_(), latents)
        if self.margin:
            exact = self._exact(code, x_in).view(len(x_in), kept)
            values, places = exact.topk(min(self.sae.config.k, kept), sorted=False)
            code = RaggedCode.rectangular(values, latents.gather(1, places))
        return code

    def _select_batch_topk(self, x_in: Float[Tensor, "row d_in"]) -> "RaggedCode":
        """The (rows x k) largest positive values of the batch: candidates above a guessed level, then the exact cut."""
        rows, budget = len(x_in), self.sae.config.k * len(x_in)
        wanted = min(budget + self.margin * rows, rows * self.sae.d_sae)
        level = self._level(x_in, 1.25)
        code = self._above(x_in, level)
        if len(code.values) < wanted and level > 0:  # the sample was not like the rest
            level = self._level(x_in, 4.0)
            code = self._above(x_in, level)
        if len(code.values) < wanted and level > 0:
            code = self._above(x_in, 0.0)
        if self.margin:
            if len(code.values) > wanted:  # so that the outcome does not depend on the guessed level
                code = code.where(code.values >= code.values.topk(wanted).values[-1])
            code = code.with_values(self._exact(code, x_in))
        if len(code.values) > budget:
            code = code.where(code.values >= code.values.topk(budget).values[-1])
        return code.where(code.values > 0)

    def _level(self, x_in: Float[Tensor, "row d_in"], generosity: float) -> float:
        """The value that about ``generosity`` times the wanted candidates exceed, going by the first rows."""
        sample = next(iter(self._products(x_in[:SAMPLE_ROWS]))).float().flatten()
        kept = int((self.sae.config.k + self.margin) * min(SAMPLE_ROWS, len(x_in)) * generosity)
        return 0.0 if kept >= len(sample) else max(0.0, float(sample.topk(kept).values[-1]))

    def _above(self, x_in: Float[Tensor, "row d_in"], level: float) -> "RaggedCode":
        """Every latent above ``level``, row by row."""
        places, values = [], []
        first = 0
        for pre in self._products(x_in):
            flat = pre.view(-1)
            place = (flat > level).nonzero().squeeze(1)
            values.append(flat[place].float())
            places.append(place + first * self.sae.d_sae)
            first += len(pre)
        place = torch.cat(places)
        row = place.div(self.sae.d_sae, rounding_mode="floor")
        return RaggedCode(torch.cat(values), place - row * self.sae.d_sae, row, len(x_in))

    def _products(self, x_in: Float[Tensor, "row d_in"]) -> Iterator[Float[Tensor, "part d_sae"]]:
        """Pre-activations in the candidates' dtype, a chunk of rows at a time; each chunk overwrites the last."""
        weights = self.sae.W_enc.detach().to(self.candidates)
        bias = self.sae.b_enc.detach().to(self.candidates)
        chunk = max(16, CHUNK_VALUES // self.sae.d_sae)
        room = torch.empty(min(chunk, len(x_in)), self.sae.d_sae, dtype=self.candidates)
        for part in x_in.to(self.candidates).split(chunk):
            yield torch.addmm(bias, part, weights, out=room[: len(part)])

    def _exact(self, code: "RaggedCode", x_in: Float[Tensor, "row d_in"]) -> Float[Tensor, " firing"]:
        return code.dots(x_in, self.sae.W_enc.T).add_(self.sae.b_enc[code.latents]).relu_()


class RaggedCode(NamedTuple):
    """Firing latents one after the other, row by row, as many a row as there are."""

    values: Float[Tensor, " firing"]
    latents: Int64[Tensor, " firing"]
    row: Int64[Tensor, " firing"]
    rows: int

    @classmethod
    def rectangular(cls, values: Float[Tensor, "row k"], latents: Int64[Tensor, "row k"]) -> "RaggedCode":
        """The same number of latents in each row."""
        rows, k = values.shape
        return cls(values.reshape(-1), latents.reshape(-1), torch.arange(rows).repeat_interleave(k), rows)

    def where(self, kept: Bool[Tensor, " firing"]) -> "RaggedCode":
        """Only the firings that are ``kept``."""
        return RaggedCode(self.values[kept], self.latents[kept], self.row[kept], self.rows)

    def with_values(self, values: Float[Tensor, " firing"]) -> "RaggedCode":
        """Other values for the same firings."""
        return self._replace(values=values)

    def offsets(self) -> Int64[Tensor, " row"]:
        """Where each row begins."""
        return _starts(self.row, self.rows)

    def decode(self, W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, "row d_in"]:
        """values @ W_dec, without a bias."""
        return F.embedding_bag(self.latents, W_dec, self.offsets(), mode="sum", per_sample_weights=self.values)

    def dots(self, vectors: Float[Tensor, "row d_in"], W: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, " firing"]:
        """The product of each row's vector with the row of ``W`` of each latent that fires there."""
        # What autograd calls for an embedding_bag's weights; asked for directly, it needs no forward pass.
        return torch.ops.aten._embedding_bag_per_sample_weights_backward(
            vectors, W, self.latents, self.offsets(), self.row, 0
        )

    def gradients(
        self,
        x_in: Float[Tensor, "row d_in"],
        error_grad: Float[Tensor, "row d_in"],
        value_grad: Float[Tensor, " firing"],
        d_sae: int,
    ) -> tuple[Float[Tensor, "d_sae d_in"], Float[Tensor, "d_sae d_in"], Float[Tensor, " d_sae"]]:
        """The gradients of W_dec, of W_enc's transpose and of b_enc, from those of reconstructions and values."""
        by_latent = self.by_latent(d_sae)
        b_enc_grad = value_grad.new_zeros(d_sae).index_add_(0, self.latents, value_grad)
        return by_latent.sum_rows(error_grad, self.values), by_latent.sum_rows(x_in, value_grad), b_enc_grad

    def by_latent(self, d_sae: int) -> "LatentOrder":
        """The same firings, sorted by latent."""
        latents, order = self.latents.to(torch.int32).sort(stable=True)
        return LatentOrder(order, self.row[order], _starts(latents, d_sae))


class LatentOrder(NamedTuple):
    """The firings of a RaggedCode sorted by latent: for sums over the rows in which a latent fires."""

    order: Int64[Tensor, " firing"]
    row: Int64[Tensor, " firing"]
    offsets: Int64[Tensor, " d_sae"]

    def sum_rows(
        self, vectors: Float[Tensor, "row d_in"], weights: Float[Tensor, " firing"]
    ) -> Float[Tensor, "d_sae d_in"]:
        """For each latent, the sum of the rows' vectors in which it fires, times the firings' weights."""
        return F.embedding_bag(self.row, vectors, self.offsets, mode="sum", per_sample_weights=weights[self.order])


def _starts(ascending: Tensor, bags: int) -> Int64[Tensor, " bag"]:
    """Where each of 0 .. bags-1 begins in a sorted list of numbers below ``bags``."""
    counts = torch.bincount(ascending, minlength=bags)
    return counts.cumsum(0) - counts
