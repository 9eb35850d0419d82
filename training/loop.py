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
from tqdm import tqdm

from saes.autoencoder import SparseAutoencoder, freeze_threshold
from saes.checkpoint import save_sae
from saes.kernels.choose import choose_step
from saes.kernels.step import StepMetrics
from saes.scaling import fold_scale, measure_scale
from saes.site import Site
from training.activations.harvest import harvest
from training.activations.shuffle import ShuffleState, shuffled_rows
from training.corpora.corpus import repeated, split_off, texts, windows
from training.evaluate import QUALITY, evaluate, held_out_windows
from training.guard import Guard
from training.journal import Journal
from training.language_models.language_model import LanguageModel, Tokens
from training.language_models.opening import open_model
from training.optimiser import learning_rate
from training.run_state import asked_to_stop, load_run_state, remove_run_state, replace_file, save_run_state
from training.spec import TrainSpec

log = logging.getLogger(__name__)

SPEC = "spec.json"

FREE = {"out", "device", "journal_every", "save_seconds", "spike_factor", "wandb", "wandb_project"}
"""Fields that a resumed run may change: they do not decide what comes out."""


def train(spec: TrainSpec, journal: Journal | None = None, progress: bool = True, resume: bool = False) -> Path:
    """Train the SAE that ``spec`` describes and return its folder: cfg.json, sae_weights.safetensors, spec.json,
    quality.json, journal.jsonl.

    Ctrl-C, SIGTERM and SIGUSR1 save the whole state before a KeyboardInterrupt leaves; with ``resume`` the same spec goes
    on from there to the very same SAE. Until the end the folder holds no checkpoint, so none is ever half-written.
    """
    folder = spec.folder
    state = _state_to_go_on_from(spec, folder, resume)
    if state == "finished":
        return folder

    model = open_model(spec.model, spec.device, spec.dtype, spec.through, spec.revision)
    d_in = model.width(spec.hook_name)
    site = Site(model.name, spec.hook_name, spec.revision, spec.dtype)
    training_windows = _windows(spec, model, held_out=False)
    sae = SparseAutoencoder(spec.sae_config(d_in), seed=spec.seed).to(model.device)
    step_once = choose_step(sae, spec.step_settings(), spec.kernels)
    guard = Guard(folder, spec.spike_factor, saved_at=None if state is None else state["step"])
    if state is None:
        step, seconds_before = 0, 0.0
        first_rows = [batch.rows().float() for batch in _first_batches(spec, model)]
        scale = measure_scale(first_rows)
        sae.start_at_mean(torch.cat(first_rows) * scale)
        del first_rows  # not to be held through the whole run
        shuffle = ShuffleState()
        _begin_folder(spec, folder)
    else:
        step, seconds_before, scale = state["step"], state["seconds"], state["scale"]
        sae.load_state_dict(state["sae"])
        step_once.load_state_dict(state["training_step"])
        guard.load_state_dict(state["guard"])
        shuffle = _moved(ShuffleState.from_state_dict(state["shuffle"]), model.device)
        del state
    log.info("training %s at %s on %d activations, %d to a step", spec.sparsity, site, spec.tokens, spec.batch_rows)

    journal = journal or Journal(folder, spec.wandb, spec.wandb_project, dataclasses.asdict(spec), after_step=step)
    unread = islice(training_windows, shuffle.batches_taken, None)
    batches = shuffled_rows(
        harvest(model, spec.hook_name, unread), spec.buffer_rows, spec.batch_rows, spec.seed, shuffle, spec.repeats
    )
    bar = tqdm(total=spec.steps * spec.batch_rows, initial=step * spec.batch_rows, desc="train", unit="tok",
               unit_scale=True, disable=not progress)  # fmt: skip
    began = saved = time.monotonic()
    began_at = step

    def save() -> None:
        seconds = seconds_before + time.monotonic() - began
        whole = {"spec": spec.to_json(), "step": step, "seconds": seconds, "scale": scale, "sae": sae.state_dict(),
                 "training_step": step_once.state_dict(), "guard": guard.state_dict(),
                 "shuffle": shuffle.state_dict()}  # fmt: skip
        save_run_state(folder, whole)
        guard.saved_at = step

    try:
        with asked_to_stop() as stop, bar:
            while step < spec.steps:
                lr = learning_rate(step, spec.steps, spec.peak_lr, spec.warmup, spec.decay)
                metrics = step_once(next(batches) * scale, lr)
                step += 1
                bar.update(spec.batch_rows)
                if step % spec.journal_every == 0 or step == spec.steps:
                    entry = _entry(metrics)
                    guard.look(step, entry, sae)
                    rate = (step - began_at) * spec.batch_rows / (time.monotonic() - began)
                    journal.write(step, tokens=step * spec.batch_rows, lr=lr, **entry, tokens_per_second=round(rate))
                    bar.set_postfix(ev=f"{entry['explained_variance']:.3f}", l0=f"{entry['l0']:.0f}",
                                    dead=f"{entry['dead']:.0%}")  # fmt: skip
                stopping = stop()
                if stopping or time.monotonic() - saved > spec.save_seconds:
                    guard.look(step, _entry(metrics), sae)  # nothing that went wrong since the last look may be saved
                    save()
                    saved = time.monotonic()
                if stopping:
                    raise stop.error(f"stopped at step {step} of {spec.steps}; {folder} can be resumed")
        step_once.settle()
        finished = fold_scale(sae, scale)
        if spec.sparsity == "batch_topk":
            finished = freeze_threshold(finished)
        save()  # the quality may still be interrupted
        quality = evaluate(model, finished, spec.hook_name, _held_out(spec, model))
        seconds = seconds_before + time.monotonic() - began
        quality |= {"tokens_trained": spec.steps * spec.batch_rows, "seconds": round(seconds, 1)}
        _write_json(folder / QUALITY, quality)
        save_sae(fold_scale(sae, scale), folder, site, _metadata(spec, model, scale, quality))
        journal.write(step, quality=quality)
    finally:
        journal.close()
    remove_run_state(folder)
    return folder


# ---- what it reads


def _windows(spec: TrainSpec, model: LanguageModel, held_out: bool) -> Iterator[Tokens]:
    def documents() -> Iterator[str]:
        return split_off(texts(spec.corpus, spec.corpus_split, spec.corpus_column), held_out)

    context = min(model.context, 512) if spec.context is None else spec.context
    return windows(documents() if held_out else repeated(documents), model, context, spec.window_batch)


def _first_batches(spec: TrainSpec, model: LanguageModel) -> Iterator[Any]:
    return harvest(model, spec.hook_name, islice(_windows(spec, model, held_out=False), spec.scale_batches))


def _held_out(spec: TrainSpec, model: LanguageModel) -> Iterator[Tokens]:
    """Windows of held-out documents, about as many tokens as the spec says."""
    place = (spec.corpus_split, spec.corpus_column)
    return held_out_windows(model, spec.corpus, spec.held_out_tokens, spec.context, spec.window_batch, *place)


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
    now = dataclasses.asdict(spec)
    changed = [name for name in now if name not in FREE and now[name] != before.get(name)]
    if changed:
        told = ", ".join(f"{name} ({before.get(name)!r}, now {now[name]!r})" for name in changed)
        raise ValueError(f"{folder} was begun with other settings: {told}")


def _begin_folder(spec: TrainSpec, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / SPEC, lambda part: part.write_text(spec.to_json()))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    replace_file(path, lambda part: part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n"))


def _metadata(spec: TrainSpec, model: LanguageModel, scale: float, quality: dict[str, Any]) -> dict[str, Any]:
    """What joins the checkpoint's metadata, under SAELens' names where it has some."""
    return {
        "dataset_path": spec.corpus,
        "context_size": min(model.context, 512) if spec.context is None else spec.context,
        "prepend_bos": bool(model.tokenise(["a"]).ids.shape[1] > model.tokenise(["a"], add_bos=False).ids.shape[1]),
        "exclude_special_tokens": True,
        "l0": quality["l0"],
        "explained_variance": quality["explained_variance"],
        "training_tokens": quality["tokens_trained"],
        "seed": spec.seed,
        "activation_scale": scale,
    }


# ---- small things


def _entry(metrics: StepMetrics) -> dict[str, float]:
    """The metrics as numbers."""
    entry = {"loss": float(metrics.loss), **{f"loss_{name}": float(term) for name, term in metrics.terms.items()}}
    return entry | {name: float(getattr(metrics, name)) for name in ("explained_variance", "l0", "dead")}


def _moved(shuffle: ShuffleState, device: torch.device) -> ShuffleState:
    return dataclasses.replace(shuffle, rows=None if shuffle.rows is None else shuffle.rows.to(device))
