"""One SAE as it is trained: its weights, what updates them, the scale of what it is given, and its files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes.autoencoder import SparseAutoencoder, freeze_threshold
from saes.kernels.axes import ALONE, Axes
from saes.kernels.choose import choose_step, settled
from saes.kernels.slices import LatentSlice, latents_of, whole_sae
from saes.kernels.step import StepMetrics
from saes.scaling import fold_scale, measure_scale
from saes.site import Site
from training.guard import Guard
from training.journal import Journal
from training.optimiser import learning_rate
from training.spec import TrainSpec


class Learner:
    """The SAE of one spec, at one site. ``learn`` changes its weights; what it learns from is given to it.

    On one of many ranks ``sae`` holds this rank's latents until ``gather``, and all ranks must make the same calls.
    """

    def __init__(self, spec: TrainSpec, site: Site, d_in: int, device: torch.device, axes: Axes = ALONE):
        self.spec = spec
        self.site = site
        self.config = spec.sae_config(d_in)
        self.sae = latents_of(SparseAutoencoder(self.config, seed=spec.seed), axes).to(device)
        self.step_once = choose_step(self.sae, spec.step_settings(), spec.kernels)
        self.guard = Guard(spec.spike_factor)
        self.device = device
        self.scale = 1.0
        self.lr = 0.0
        self.metrics: StepMetrics | None = None
        self.journal: Journal | None = None
        self.wandb_id: str | None = None

    @property
    def folder(self) -> Path:
        return self.spec.folder

    def start(self, first_rows: Sequence[Float[Tensor, "_ d_in"]]) -> None:
        """Measure the scale of the activations, and begin at their mean."""
        self.scale = measure_scale(first_rows)
        self.sae.start_at_mean(torch.cat(list(first_rows)).to(self.device) * self.scale)

    def learn(self, rows: Float[Tensor, "row d_in"], step: int) -> None:
        """The step after ``step`` others."""
        self.lr = learning_rate(step, self.spec.steps, self.spec.peak_lr, self.spec.warmup, self.spec.decay)
        self.metrics = self.step_once(rows * self.scale, self.lr)

    def gather(self) -> None:
        """When all is learned: the first rank gets the whole SAE, settled; the others are done with theirs."""
        self.step_once.settle()
        whole = whole_sae(self.sae)
        if whole is not None:
            self.sae = whole.to(self.device)

    def finished(self) -> SparseAutoencoder:
        """The SAE for activations as they are, each row's code independent of the others."""
        sae = fold_scale(self.sae, self.scale)
        return freeze_threshold(sae) if self.spec.sparsity == "batch_topk" else sae

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
        return {"sae": {} if whole is None else whole.state_dict(), "training_step": step, "scale": self.scale,
                "wandb_id": self.wandb_id, "guard": self.guard.state_dict()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale, self.wandb_id = state["scale"], state["wandb_id"]
        weights, step = state["sae"], state["training_step"]
        if isinstance(self.sae, LatentSlice):
            weights, step = settled(self.config, self.spec.step_settings(), weights, step)
            self.sae.load_whole(weights)
        else:
            self.sae.load_state_dict(weights)
        self.step_once.load_state_dict(step)
        self.guard.load_state_dict(state["guard"])
