"""The end of a training, end to end: the SAE learns inside the frozen language model from what it makes of the answers."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from saes.autoencoder import SparseAutoencoder
from saes.kernels.axes import Axis
from saes.kernels.parallel import ParallelStep
from saes.kernels.reference import ReferenceStep
from saes.kernels.slices import LatentSlice
from saes.kernels.step import StepMetrics, StepSettings
from saes.losses import Loss
from training.activations.places import Places, side_by_side
from training.language_models.language_model import LanguageModel, Tokens
from training.spliced import kl_divergence, read_at, splice


def finetune(
    sae: SparseAutoencoder,
    settings: StepSettings,
    update: dict[str, Any],
    model: LanguageModel,
    places: Places,
    scales: Mapping[str, float],
    token_batches: Iterable[Tokens],
    tokens: int,
    learning_rate: Callable[[float], float],
) -> Iterator[tuple[int, float, StepMetrics]]:
    """Train ``sae`` in place until it has learned from ``tokens`` activations; gives tokens, KL and metrics of each step.

    The loss is that of the training and KL(the model as it is || with x_hat in place), through the model's remaining
    layers (arXiv:2405.12241). Each step weighs the KL so that it is as large as the reconstruction error, of which a
    short end of a run is enough (arXiv:2503.17272). Adam goes on from ``update``, the state of the training's, or of
    this rank's part of it. ``learning_rate`` is asked for a share of the tokens. Activations are scaled by ``scales``, as in the training.

    Of several processes, data ranks bring windows of their own, and those of a latent axis the same ones.
    """
    settings, data = dataclasses.replace(settings, resample_every=None), Axis()
    step: ReferenceStep | ParallelStep
    if isinstance(sae, LatentSlice):
        step, data = ParallelStep(sae, settings), sae.axes.data
    else:
        step = ReferenceStep(sae, settings)
    step.update.load_state_dict(update)
    done = 0
    for part in token_batches:
        rows, batch = read_at(model, places, part)
        here = torch.tensor(len(rows[places.read[0]]), device=model.device)
        if not data.reduce_(here.clone(), "min"):
            continue
        written = side_by_side(
            {name: x.new_tensor(scales[name]).expand_as(x[0]) for name, x in rows.items()}, places.written
        )
        real = batch.tokens.real
        before = model.logits(batch.tokens)[real].float().log_softmax(-1)
        answers = data.reduce_(real.sum())
        found: list[Tensor] = []

        def end_to_end(x_hat: Tensor, loss: Loss) -> dict[str, Tensor]:
            hooks = splice(model, places, batch.keep, x_hat / written)  # noqa: B023 (called at once)
            after = model.differentiable_logits(batch.tokens, hooks)[real].float().log_softmax(-1)  # noqa: B023
            kl = kl_divergence(before, after).sum() * data.size / answers  # noqa: B023
            both = torch.stack([loss.terms["reconstruction"].detach(), kl.detach()])
            reconstruction, everywhere = data.reduce_(both) / data.size
            found.append(everywhere)  # noqa: B023
            return {"kl": kl * (reconstruction / everywhere.clamp(min=1e-8))}

        x, target = places.split({name: one * scales[name] for name, one in rows.items()})
        metrics = step.learn(x, learning_rate(done / tokens), target, end_to_end)
        done += int(data.reduce_(here))
        yield done, float(found[0]), metrics
        if done >= tokens:
            return
