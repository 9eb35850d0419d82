"""Training an SAE, from a spec to a folder."""

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from saes.autoencoder import SparseAutoencoder, freeze_threshold
from saes.checkpoint import save_sae
from saes.kernels.choose import choose_step
from saes.kernels.step import StepMetrics
from saes.scaling import fold_scale, measure_scales
from saes.site import Site
from training.activations.shuffle import ShuffleState, shuffled_rows
from training.activations.side_by_side import harvest_side_by_side
from training.corpora.corpus import repeated, split_off, texts, windows
from training.evaluate import evaluate
from training.finetune import finetune
from training.journal import Journal
from training.language_models.language_model import LanguageModel, Tokens
from training.language_models.opening import check_hook_names, open_model
from training.optimiser import learning_rate
from training.run_state import asked_to_stop, load_run_state, remove_run_state, replace_file, save_run_state
from training.spec import TrainSpec

log = logging.getLogger(__name__)

SPEC, QUALITY = "spec.json", "quality.json"

FREE = {"out", "device", "journal_every", "save_seconds", "wandb", "wandb_project"}
"""Fields that a resumed run may change: they do not decide what comes out."""


def train(spec: TrainSpec, journal: Journal | None = None, progress: bool = True, resume: bool = False) -> Path:
    """Train the SAE that ``spec`` describes and return its folder: cfg.json, sae_weights.safetensors, spec.json,
    quality.json, journal.jsonl.

    Ctrl-C and SIGTERM save the whole state before a KeyboardInterrupt leaves; with ``resume`` the same spec goes
    on from there to the very same SAE. Until the end the folder holds no checkpoint, so none is ever half-written.
    """
    folder = spec.folder
    state = _state_to_go_on_from(spec, folder, resume)
    if state == "finished":
        return folder

    check_hook_names(spec.model, spec.places.every, spec.revision)
    model = open_model(spec.model, spec.device, spec.dtype, spec.through, spec.revision)
    places = spec.places
    site = Site(model.name, "+".join(places.read), spec.revision, spec.dtype)
    training_windows = _windows(spec, model, held_out=False)
    sae = SparseAutoencoder(spec.sae_config(model.width), seed=spec.seed).to(model.device)
    step_once = choose_step(sae, spec.step_settings(), spec.kernels)
    if state is None:
        step, seconds_before, finetuned = 0, 0.0, False
        first_rows = torch.cat([batch.rows().float() for batch in _first_batches(spec, model)])
        scale = measure_scales(first_rows, [model.width(name) for name in places.every])
        sae.start_at_mean(*places.split(first_rows * scale, model.width))
        del first_rows  # not to be held through the whole run
        shuffle = ShuffleState()
        _begin_folder(spec, folder)
    else:
        step, seconds_before, scale = state["step"], state["seconds"], state["scale"]
        finetuned = state["finetuned"]
        sae.load_state_dict(state["sae"])
        step_once.load_state_dict(state["training_step"])
        shuffle = _moved(ShuffleState.from_state_dict(state["shuffle"]), model.device)
        del state
    scale = scale.to(model.device)
    log.info("training %s at %s on %d activations, %d to a step", spec.sparsity, site, spec.tokens, spec.batch_rows)

    journal = journal or Journal(folder, spec.wandb, spec.wandb_project, dataclasses.asdict(spec), after_step=step)
    unread = islice(training_windows, shuffle.batches_taken, None)
    batches = shuffled_rows(
        harvest_side_by_side(model, places, unread), spec.buffer_rows, spec.batch_rows, spec.seed, shuffle, spec.repeats
    )
    bar = tqdm(total=spec.steps * spec.batch_rows, initial=step * spec.batch_rows, desc="train", unit="tok",
               unit_scale=True, disable=not progress)  # fmt: skip
    began = saved = time.monotonic()
    began_at = step

    def save() -> None:
        if not all(weight.isfinite().all() for weight in sae.parameters()):  # a loss is from before its step
            raise ValueError(f"weights are NaN or infinite at step {step}: a lower lr may do")
        seconds = seconds_before + time.monotonic() - began
        whole = {"spec": spec.to_json(), "step": step, "seconds": seconds, "scale": scale, "sae": sae.state_dict(),
                 "training_step": step_once.state_dict(), "shuffle": shuffle.state_dict(),
                 "finetuned": finetuned}  # fmt: skip
        save_run_state(folder, whole)

    try:
        with asked_to_stop() as stop, bar:
            while step < spec.steps:
                lr = learning_rate(step, spec.steps, spec.peak_lr, spec.warmup, spec.decay)
                x, target = places.split(next(batches) * scale, model.width)
                metrics = step_once(x, lr, target)
                step += 1
                bar.update(spec.batch_rows)
                if step % spec.journal_every == 0 or step == spec.steps:
                    entry = _entry(metrics, step)
                    rate = (step - began_at) * spec.batch_rows / (time.monotonic() - began)
                    journal.write(step, tokens=step * spec.batch_rows, lr=lr, **entry, tokens_per_second=round(rate))
                    bar.set_postfix(ev=f"{entry['explained_variance']:.3f}", l0=f"{entry['l0']:.0f}",
                                    dead=f"{entry['dead']:.0%}")  # fmt: skip
                stopping = stop()
                if stopping or time.monotonic() - saved > spec.save_seconds:
                    _entry(metrics, step)  # nothing that went NaN since the journal's last line may be saved
                    save()
                    saved = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt(f"stopped at step {step} of {spec.steps}; {folder} can be resumed")
        step_once.settle()
        if spec.kl_finetune_tokens and not finetuned:
            save()  # a fine-tuning that is interrupted begins anew from here
            unread = islice(_windows(spec, model, held_out=False), shuffle.batches_taken, None)
            _finetune(spec, sae, step_once.state_dict(), model, scale, unread, journal, progress)
            finetuned = True
        folded = finished = fold_scale(sae, *places.split(scale, model.width))
        if spec.sparsity == "batch_topk":
            finished = freeze_threshold(finished)
        save()  # the quality may still be interrupted
        quality = evaluate(model, finished, places, _held_out(spec, model))
        seconds = seconds_before + time.monotonic() - began
        trained = spec.steps * spec.batch_rows + spec.kl_finetune_tokens
        quality |= {"tokens_trained": trained, "seconds": round(seconds, 1)}
        _write_json(folder / QUALITY, quality)
        save_sae(folded, folder, site, _metadata(spec, model, scale, quality))
        journal.write(step, quality=quality)
    finally:
        journal.close()
    remove_run_state(folder)
    return folder


def _finetune(
    spec: TrainSpec,
    sae: SparseAutoencoder,
    training_step: dict[str, Any],
    model: LanguageModel,
    scale: Tensor,
    unread: Iterator[Tokens],
    journal: Journal,
    progress: bool,
) -> None:
    """The end of the run on KL, written to the journal as further steps; its learning rate rises and then falls."""

    def lr(share: float) -> float:
        return learning_rate(round(1000 * share), 1000, spec.peak_lr, spec.warmup, decay=1.0)

    context = min(model.context, 512) if spec.context is None else spec.context
    few = max(1, spec.batch_rows // context)  # windows in a step
    steps = finetune(sae, spec.step_settings(), training_step, model, spec.places, scale,
                     (part for batch in unread for part in batch.batches(few)), spec.kl_finetune_tokens, lr)  # fmt: skip
    with tqdm(total=spec.kl_finetune_tokens, desc="fine-tune on KL", unit="tok", disable=not progress) as bar:
        for number, (tokens, kl, metrics) in enumerate(steps, spec.steps + 1):
            bar.update(min(tokens, spec.kl_finetune_tokens) - bar.n)
            if number % spec.journal_every == 0 or tokens >= spec.kl_finetune_tokens:
                seen = spec.steps * spec.batch_rows + tokens
                journal.write(number, tokens=seen, kl=kl, **_entry(metrics, number))


# ---- what it reads


def _windows(spec: TrainSpec, model: LanguageModel, held_out: bool) -> Iterator[Tokens]:
    def documents() -> Iterator[str]:
        return split_off(texts(spec.corpus, spec.corpus_split, spec.corpus_column), held_out)

    context = min(model.context, 512) if spec.context is None else spec.context
    return windows(documents() if held_out else repeated(documents), model, context, spec.window_batch)


def _first_batches(spec: TrainSpec, model: LanguageModel) -> Iterator[Any]:
    return harvest_side_by_side(model, spec.places, islice(_windows(spec, model, held_out=False), spec.scale_batches))


def _held_out(spec: TrainSpec, model: LanguageModel) -> Iterator[Tokens]:
    """Windows of held-out documents, about as many tokens as the spec says."""
    tokens = 0
    for batch in _windows(spec, model, held_out=True):
        yield batch
        tokens += batch.ids.numel()
        if tokens >= spec.held_out_tokens:
            return


# ---- what it leaves


def _state_to_go_on_from(spec: TrainSpec, folder: Path, resume: bool) -> Any:
    """The state that was saved, None for a new run, or "finished"; a ValueError where the folder is taken."""
    state = load_run_state(folder) if folder.is_dir() else None
    if state is None:
        if not (folder / "cfg.json").exists():
            return None
        if resume and (folder / SPEC).exists():
            _same_spec(spec, json.loads((folder / SPEC).read_text()), folder)
            return "finished"
        raise ValueError(f"{folder} already holds an SAE; name another folder with out")
    if not resume:
        raise ValueError(f"{folder} holds an unfinished run; resume it, or name another folder with out")
    _same_spec(spec, json.loads(state["spec"]), folder)
    return state


def _same_spec(spec: TrainSpec, before: dict[str, Any], folder: Path) -> None:
    now = json.loads(spec.to_json())
    changed = [name for name in now if name not in FREE and now[name] != before.get(name)]
    if changed:
        told = ", ".join(f"{name} ({before.get(name)!r}, now {now[name]!r})" for name in changed)
        raise ValueError(f"{folder} was begun with other settings: {told}")


def _begin_folder(spec: TrainSpec, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / SPEC, lambda part: part.write_text(spec.to_json()))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    replace_file(path, lambda part: part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n"))


def _metadata(spec: TrainSpec, model: LanguageModel, scale: Tensor, quality: dict[str, Any]) -> dict[str, Any]:
    """What joins the checkpoint's metadata, under SAELens' names where it has some."""
    scales = [float(part[0]) for part in scale.split([model.width(name) for name in spec.places.every])]
    written = {} if spec.target_hook_name is None else {"hook_name_out": spec.target_hook_name}
    return {
        **written,
        "dataset_path": spec.corpus,
        "context_size": min(model.context, 512) if spec.context is None else spec.context,
        "prepend_bos": bool(model.tokenise(["a"]).ids.shape[1] > model.tokenise(["a"], add_bos=False).ids.shape[1]),
        "exclude_special_tokens": True,
        "l0": quality["l0"],
        "explained_variance": quality["explained_variance"],
        "training_tokens": quality["tokens_trained"],
        "seed": spec.seed,
        "activation_scale": scales[0] if len(scales) == 1 else scales,
    }


# ---- small things


def _entry(metrics: StepMetrics, step: int) -> dict[str, float]:
    """The metrics as numbers; a loss that is none ends the run here, before it can be saved over a good state."""
    entry = {"loss": float(metrics.loss), **{f"loss_{name}": float(term) for name, term in metrics.terms.items()}}
    if not all(abs(value) < float("inf") for value in entry.values()):
        raise ValueError(f"the loss is NaN or infinite at step {step}: a lower lr may do")
    return entry | {name: float(getattr(metrics, name)) for name in ("explained_variance", "l0", "dead")}


def _moved(shuffle: ShuffleState, device: torch.device) -> ShuffleState:
    return dataclasses.replace(shuffle, rows=None if shuffle.rows is None else shuffle.rows.to(device))
