"""One SAE as it is trained: its weights, what updates them, the scale of what it is given, and its files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from saes.autoencoder import SparseAutoencoder, freeze_threshold
from saes.kernels.axes import ALONE, Axes
from saes.kernels.choose import choose_step, settled
from saes.kernels.parallel import ParallelStep
from saes.kernels.slices import LatentSlice, latents_of, whole_sae
from saes.kernels.step import StepMetrics
from saes.losses import Sum, alone
from saes.scaling import fold_scale, measure_scale
from saes.site import Site
from training.activations.shuffle import Rows
from training.finetune import finetune
from training.guard import Guard
from training.journal import Journal
from training.language_models.language_model import LanguageModel, Tokens
from training.optimiser import learning_rate
from training.spec import TrainSpec


class Learner:
    """The SAE of one spec. ``learn`` changes its weights; what it learns from is given to it, by hook name.

    On one of many ranks ``sae`` holds this rank's latents until ``gather``, and all ranks must make the same calls.
    """

    def __init__(
        self, spec: TrainSpec, site: Site, width: Callable[[str], int], device: torch.device, axes: Axes = ALONE
    ):
        self.spec = spec
        self.site = site
        self.places = spec.places
        self.widths = {name: width(name) for name in self.places.every}
        self.config = spec.sae_config(width)
        self.sae = latents_of(SparseAutoencoder(self.config, seed=spec.seed), axes).to(device)
        self.step_once = choose_step(self.sae, spec.step_settings(), spec.kernels)
        self.guard = Guard(spec.spike_factor)
        self.device = device
        self.axes = axes
        self.scales = dict.fromkeys(self.places.every, 1.0)
        self.finetuned = False
        self.lr = 0.0
        self.metrics: StepMetrics | None = None
        self.journal: Journal | None = None
        self.wandb_id: str | None = None

    @property
    def folder(self) -> Path:
        return self.spec.folder

    @property
    def scale(self) -> float:
        """Of what is read (first)."""
        return self.scales[self.places.read[0]]

    def start(self, first_rows: Sequence[Rows], everywhere: Sum = alone) -> None:
        """Measure the scale of the activations of each place, and begin at their mean. ``everywhere`` adds up what ranks
        that read rows of their own see of them."""
        first = {name: [rows[name].float() for rows in first_rows] for name in self.places.every}
        self.scales = {name: measure_scale(parts, everywhere) for name, parts in first.items()}
        means = {name: _mean(torch.cat(parts), everywhere).to(self.device) for name, parts in first.items()}
        self.sae.start_at_mean(*self._scaled(means))

    def learn(self, rows: Rows, step: int) -> None:
        """The step after ``step`` others."""
        self.lr = learning_rate(step, self.spec.steps, self.spec.peak_lr, self.spec.warmup, self.spec.decay)
        x, target = self._scaled(rows)
        self.metrics = self.step_once(x, self.lr) if target is None else self.step_once(x, self.lr, target)

    def _scaled(self, rows: Rows) -> tuple[Tensor, Tensor | None]:
        return self.places.split({name: rows[name] * self.scales[name] for name in self.places.every})

    def folded(self) -> SparseAutoencoder:
        """The SAE for activations as they are."""
        if self.places.is_one:
            return fold_scale(self.sae, self.scale)
        columns = {name: torch.full((width,), self.scales[name]) for name, width in self.widths.items()}
        return fold_scale(self.sae, *self.places.split(columns))

    def gather(self) -> None:
        """When all is learned: the first rank gets the whole SAE, settled; the others are done with theirs."""
        self.step_once.settle()
        whole = whole_sae(self.sae)
        if whole is not None:
            self.sae = whole.to(self.device)

    def finished(self) -> SparseAutoencoder:
        """The same, each row's code independent of the others."""
        return freeze_threshold(self.folded()) if self.spec.sparsity == "batch_topk" else self.folded()

    def finetune(self, model: LanguageModel, token_batches: Iterable[Tokens], progress: bool = True) -> None:
        """The end of the run on KL, written to the journal as further steps; the learning rate rises, then falls.

        Data ranks get the same batches of windows, of which each takes its share, or where the spec's reading is own their
        own ones.
        """
        spec, data = self.spec, self.axes.data

        def lr(share: float) -> float:
            self.lr = learning_rate(round(1000 * share), 1000, spec.peak_lr, spec.warmup, decay=1.0)
            return self.lr

        def few() -> Iterator[Tokens]:
            for batch in token_batches:
                windows = spec.batch_rows // batch.ids.shape[1]  # about a step's rows
                if spec.reading == "own":
                    yield from batch.batches(max(1, windows // data.size))
                    continue
                for part in batch.batches(max(data.size, windows)):
                    if len(part.ids) >= data.size:
                        yield part.take(slice(data.rank, None, data.size))

        wanted, update = spec.kl_finetune_tokens, self.step_once.update.state_dict()
        steps = finetune(self.sae, spec.step_settings(), update, model, self.places, self.scales, few(), wanted, lr)
        with tqdm(total=wanted, desc="fine-tune on KL", unit="tok", unit_scale=True, disable=not progress) as bar:
            for step, (tokens, kl, self.metrics) in enumerate(steps, spec.steps + 1):
                bar.update(min(tokens, wanted) - bar.n)
                if step % spec.journal_every == 0 or tokens >= wanted:
                    seen = spec.steps * spec.batch_rows + tokens
                    self.write(step, tokens=seen, lr=self.lr, kl=kl, **self.check(step))
        self.finetuned = True

    # ---- its journal

    def open_journal(self, after_step: int, journal: Journal | None = None) -> None:
        spec = self.spec
        self.journal = journal or Journal(
            self.folder, spec.wandb, spec.wandb_project, asdict(spec), after_step=after_step, wandb_id=self.wandb_id
        )
        self.wandb_id = self.journal.wandb_id

    def write(self, step: int, **entry: Any) -> None:
        assert self.journal is not None
        self.journal.write(step, **entry)

    def close_journal(self) -> None:
        if self.journal is not None:
            self.journal.close()

    # ---- its state

    def check(self, step: int) -> dict[str, float]:
        """What the last step saw, as numbers; a ValueError where the run has gone wrong, before that can be saved."""
        if self.metrics is None:
            return {}
        terms = {f"loss_{name}": float(term) for name, term in self.metrics.terms.items()}
        entry = {"loss": float(self.metrics.loss), **terms}
        self.guard.look(step, entry, self.sae)
        return entry | {name: float(getattr(self.metrics, name)) for name in ("explained_variance", "l0", "dead")}

    def state_dict(self) -> dict[str, Any]:
        """The whole SAE's, however many ranks hold it; on the first of them, and of no use on the others."""
        whole, step = whole_sae(self.sae), self.step_once.state_dict()
        return {"sae": {} if whole is None else whole.state_dict(), "training_step": step, "scales": self.scales,
                "finetuned": self.finetuned, "wandb_id": self.wandb_id, "guard": self.guard.state_dict()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scales, self.finetuned, self.wandb_id = state["scales"], state["finetuned"], state["wandb_id"]
        weights, step = state["sae"], state["training_step"]
        if isinstance(self.step_once, ParallelStep):
            weights, step = settled(self.config, self.spec.step_settings(), weights, step)
        if isinstance(self.sae, LatentSlice):
            self.sae.load_whole(weights)
        else:
            self.sae.load_state_dict(weights)
        self.step_once.load_state_dict(step)
        self.guard.load_state_dict(state["guard"])


def _mean(rows: Float[Tensor, "row d"], everywhere: Sum) -> Float[Tensor, "one d"]:
    """The mean of all ranks' rows, as one row."""
    sums = torch.cat([rows.double().sum(0), rows.new_tensor([len(rows)], dtype=torch.float64)]).cpu()
    *total, count = everywhere(sums).split([rows.shape[1], 1])
    return (total[0] / count)[None].float()
