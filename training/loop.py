"""Training SAEs, from a spec to a folder."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from saes.checkpoint import CONFIG, save_sae
from saes.losses import alone
from training.activations.batch import on_device
from training.activations.shards import DTYPES
from training.activations.shuffle import ShuffleState, shuffled_rows
from training.activations.source import Source, open_source
from training.evaluate import QUALITY, evaluate
from training.journal import Journal, NoJournal
from training.language_models.language_model import LanguageModel, Tokens
from training.learner import Learner
from training.plan import refuse_what_cannot_fit
from training.ranks import Ranks, join_ranks, launched, processes_here, restarted
from training.run_state import (
    asked_to_stop,
    load_run_state,
    load_share,
    next_number,
    remove_parts,
    remove_run_state,
    replace_file,
    save_run_state,
    save_share,
)
from training.spec import TrainSpec
from training.spliced import evaluate_at
from training.windows import held_out_windows, training_windows

log = logging.getLogger(__name__)

SPEC, SWEEP = "spec.json", "sweep.json"

NOT_MEASURED = "not_measured"
"""Stands in quality.json with the reason, instead of all figures, where there is no language model to measure them on."""

FREE = {
    "out",
    "device",
    "journal_every",
    "save_seconds",
    "keep_states",
    "latent_ranks",
    "read_ahead",
    "spike_factor",
    "wandb",
    "wandb_project",
}
"""Fields that a resumed run may change: they do not decide what comes out."""


def train(spec: TrainSpec, journal: Journal | None = None, progress: bool = True, resume: bool = False) -> Path:
    """Train the SAE that ``spec`` describes and return its folder: cfg.json, sae_weights.safetensors, spec.json,
    quality.json, journal.jsonl.

    A spec with sites or a grid is a sweep: each of its SAEs gets a folder of its own, exactly as if it had been trained
    alone, and sweep.json lists them; but the text is read, and the activations are shuffled, once for all of them.

    Ctrl-C, SIGTERM and SIGUSR1 save the whole state before a KeyboardInterrupt leaves; with ``resume`` the same spec
    goes on from there to the very same SAE. Until the end the folder holds no checkpoint, so none is ever half-written.

    Under torchrun every process calls this with the same spec, and together they train the SAE that one would. Any
    number of them may go on with the run; where each reads a share of its own, as many as began it. Only the first writes
    files, but for the state of such shares.
    """
    folder = spec.folder
    ranks = join_ranks(spec.latent_ranks, spec.batch_rows, spec.device)
    state = _state_to_go_on_from(spec, folder, resume or restarted(), ranks)
    if not ranks.agree(-1 if state is None else -2 if state == "finished" else state["step"]):
        raise ValueError(f"the processes see different files in {folder}: all machines must share its file system")
    if state == "finished":
        return folder

    data_ranks = ranks.axes.data.size
    if spec.kl_finetune_tokens and spec.reading == "shared" and spec.window_batch < data_ranks:
        raise ValueError(
            f"kl_finetune_tokens needs a window for each of {data_ranks} data ranks: window_batch ({spec.window_batch}) must "
            "be at least that"
        )
    refuse_what_cannot_fit(spec.with_fields(device=ranks.device), spec.latent_ranks, ranks.size, processes_here())
    source = open_source(spec.with_fields(device=ranks.device), ranks)
    part, parts = ranks.share(spec.reading)
    learners = [
        Learner(member, source.site("+".join(member.places.read)), source.width, source.device, ranks.axes)
        for member in spec.members()
    ]
    if state is None:
        step, seconds_before = 0, 0.0
        shuffle, unread = ShuffleState(), source.batches()
        first = list(islice(unread, -(-spec.scale_batches // parts)))
        for learner in learners:
            learner.start(first, alone if parts == 1 else ranks.axes.world.reduce_)
        for begun in (spec, *spec.members()) if ranks.first else ():
            _begin_folder(begun, begun.folder)
    else:
        step, seconds_before = state["step"], state["seconds"]
        for learner, saved in zip(learners, state["learners"], strict=True):
            learner.load_state_dict(saved)
            learner.guard.saved(step, folder)
        saved = state["shuffle"] if parts == 1 else load_share(folder, state, part)
        shuffle = ShuffleState.from_state_dict(saved, source.rows_device)
        unread, first = source.batches(shuffle.batches_taken), []
        del state
    log.info("training %s on %d activations, %d to a step", _told(learners), spec.tokens, spec.batch_rows)

    for place in (folder, *(learner.folder for learner in learners)) if ranks.first else ():
        remove_parts(place)
    for learner in learners:
        learner.open_journal(step, journal if ranks.first else NoJournal())
    batches = shuffled_rows(
        _given_out(first, unread), spec.buffer_rows // parts, spec.batch_rows // parts,
        spec.order_seed if parts == 1 else f"{spec.order_seed}/{part}", shuffle, spec.repeats, DTYPES[spec.buffer_dtype],
    )  # fmt: skip
    own = ranks.axes.own if parts == 1 else lambda rows: rows  # of the rows that all have read, or that this rank has
    bar = tqdm(total=spec.steps * spec.batch_rows, initial=step * spec.batch_rows, desc="train", unit="tok",
               unit_scale=True, disable=not (progress and ranks.first))  # fmt: skip
    began = saved = time.monotonic()
    began_at = step

    def save() -> None:
        seconds = seconds_before + time.monotonic() - began
        whole = {"spec": spec.to_json(), "step": step, "seconds": seconds,
                 "learners": [learner.state_dict() for learner in learners]}  # fmt: skip
        if parts == 1:
            whole["shuffle"] = shuffle.state_dict()
        else:
            number = int(ranks.told(str(next_number(folder)))[0])
            shares = ranks.told(save_share(folder, number, part, shuffle.state_dict()))
            whole |= {"number": number, "shares": shares}
        if ranks.first:
            save_run_state(folder, whole, spec.keep_states)
        for learner in learners:
            learner.guard.saved(step, folder)

    try:
        with asked_to_stop(patient=launched()) as stop, bar:
            while step < spec.steps:
                rows = {name: on_device(own(rows), source.device) for name, rows in next(batches).items()}
                for learner in learners:
                    learner.learn(rows, step)
                step += 1
                bar.update(spec.batch_rows)
                if step % spec.journal_every == 0 or step == spec.steps:
                    rate = round((step - began_at) * spec.batch_rows / (time.monotonic() - began))
                    for learner in learners:
                        entry = learner.check(step)
                        learner.write(
                            step, tokens=step * spec.batch_rows, lr=learner.lr, **entry, tokens_per_second=rate
                        )
                    bar.set_postfix(ev=f"{entry['explained_variance']:.3f}", l0=f"{entry['l0']:.0f}",
                                    dead=f"{entry['dead']:.0%}")  # fmt: skip
                stopping, due = ranks.any(stop(), time.monotonic() - saved > spec.save_seconds)
                if stopping or due:
                    for learner in learners:  # nothing that went wrong since the journal's last line may be saved
                        learner.check(step)
                    save()
                    saved = time.monotonic()
                if stopping:
                    raise stop.error(f"stopped at step {step} of {spec.steps}; {folder} can be resumed")
        unread.close()  # whatever runs ahead must leave the language model alone from here on
        for learner in learners:
            learner.step_once.settle()
        save()  # what follows may still be interrupted
        for learner in learners:
            if spec.kl_finetune_tokens and not learner.finetuned:
                model = source.language_model()
                learner.finetune(model, _unread_windows(spec, model, shuffle, ranks), progress and ranks.first)
                save()  # whoever interrupts the fine-tuning of the next begins that one anew
        for learner in learners:
            learner.gather()
        if ranks.first:
            judge = _judge(spec, source)
            table = []
            for learner in learners:
                quality = judge(learner)
                seconds = seconds_before + time.monotonic() - began
                trained = spec.steps * spec.batch_rows + spec.kl_finetune_tokens
                quality |= {"tokens_trained": trained, "seconds": round(seconds, 1)}
                _write_json(learner.folder / QUALITY, quality)
                learner.write(step, quality=quality)
                save_sae(learner.folded(), learner.folder, learner.site,
                         _metadata(learner, source, quality))  # fmt: skip
                table.append(_row(spec, learner, quality))
            if spec.is_sweep:
                _write_json(folder / SWEEP, {"members": table})
    finally:
        unread.close()
        for learner in learners:
            learner.close_journal()
    if ranks.first:
        remove_run_state(folder)
    ranks.wait()  # so that whoever goes on finds the folder whole
    return folder


def _unread_windows(spec: TrainSpec, model: LanguageModel, shuffle: ShuffleState, ranks: Ranks) -> Iterator[Tokens]:
    """Windows that were not trained on yet, the same along the latent axis: of own shares, those of its first rank."""
    reader = ranks.axes.world.rank - ranks.axes.latent.rank
    taken = 0 if spec.activations else int(ranks.told(str(shuffle.batches_taken))[reader])  # shards say nothing of text
    share = (reader, ranks.size) if spec.reading == "own" else (0, 1)
    return islice(training_windows(spec, model, *share), taken, None)


def _given_out(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    """The first batches, which were looked at before and are let go one by one, and then the rest."""
    first.reverse()
    while first:
        yield first.pop()
    yield from rest


# ---- what it measures at the end


def _judge(spec: TrainSpec, source: Source) -> Callable[[Learner], dict[str, Any]]:
    """What measures the quality of an SAE on held-out text, or says why there is none."""
    try:
        model = source.language_model()
        windows = list(held_out_windows(spec, model))
    except (OSError, ValueError, ImportError) as error:
        if not spec.activations:
            raise
        reason = f"no language model or no text to measure it on: {error}"
        log.warning("the quality is not measured: %s", reason)
        return lambda learner: {NOT_MEASURED: reason}

    def judge(learner: Learner) -> dict[str, Any]:
        if learner.places.is_one:
            return evaluate(model, learner.finished(), learner.site.hook_name, windows)
        return evaluate_at(model, learner.finished(), learner.places, windows)

    return judge


# ---- what it leaves


def _state_to_go_on_from(spec: TrainSpec, folder: Path, resume: bool, ranks: Ranks) -> Any:
    """The state that was saved, None for a new run, or "finished"; a ValueError where the folder is taken."""
    state = _whole_everywhere(folder, ranks)
    if state is None:
        whole = folder / (SWEEP if spec.is_sweep else CONFIG)
        if resume and whole.exists() and (folder / SPEC).exists():
            _same_spec(spec, json.loads((folder / SPEC).read_text()), folder)
            return "finished"
        for taken in (folder, *(member.folder for member in spec.members())):
            if (taken / CONFIG).exists() or (taken / SWEEP).exists():
                raise ValueError(f"{taken} already holds an SAE; name another folder with out")
        return None
    if not resume:
        raise ValueError(f"{folder} holds an unfinished run; resume it, or name another folder with out")
    _same_spec(spec, json.loads(state["spec"]), folder)
    processes = len(state.get("shares", [0]))
    if spec.reading == "own" and processes != ranks.size:
        raise ValueError(
            f"{folder} was saved by {processes} processes, each with a share of the reading (reading: own): go on with "
            f"as many, not with {ranks.size}"
        )
    return state


def _whole_everywhere(folder: Path, ranks: Ranks) -> dict[str, Any] | None:
    """The last state of which every rank finds its share whole, too."""
    until = None
    while True:
        state = load_run_state(folder, ranks.axes.world.rank, until)
        number = 0 if state is None else state.get("number", 0)
        until = ranks.least(number)
        if until == 0 or ranks.agree(number):  # 0: a rank sees none, or they have no shares
            return state


def _same_spec(spec: TrainSpec, before: dict[str, Any], folder: Path) -> None:
    now = json.loads(spec.to_json())
    before = json.loads(TrainSpec().to_json()) | before  # a field that is newer than the run had its default
    changed = [name for name in now if name not in FREE and now[name] != before.get(name)]
    if changed:
        told = ", ".join(f"{name} ({before.get(name)!r}, now {now[name]!r})" for name in changed)
        raise ValueError(f"{folder} was begun with other settings: {told}")


def _begin_folder(spec: TrainSpec, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / SPEC, lambda part: part.write_text(spec.to_json()))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    replace_file(path, lambda part: part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n"))


def _metadata(learner: Learner, source: Source, quality: dict[str, Any]) -> dict[str, Any]:
    """What joins the checkpoint's metadata, under SAELens' names where it has some."""
    target, scales = learner.spec.target_hook_name, list(learner.scales.values())
    return {
        **({} if target is None else {"hook_name_out": target}),
        "dataset_path": learner.spec.corpus,
        "context_size": source.context,
        "prepend_bos": source.prepend_bos,
        "exclude_special_tokens": True,
        **{name: quality[name] for name in ("l0", "explained_variance") if name in quality},
        "training_tokens": quality["tokens_trained"],
        "seed": learner.spec.seed,
        "activation_scale": scales[0] if len(scales) == 1 else scales,
    }


def _row(spec: TrainSpec, learner: Learner, quality: dict[str, Any]) -> dict[str, Any]:
    """An SAE's line in sweep.json: its folder, what is its own, and its figures."""
    own = {name: getattr(learner.spec, name) for name in ("hook_name", *spec.grid)}
    return {"folder": learner.folder.name, **own, "quality": quality}


def _told(learners: list[Learner]) -> str:
    first = learners[0]
    if len(learners) == 1:
        return f"{first.spec.sparsity} at {first.site}"
    return f"{len(learners)} SAEs at {', '.join(dict.fromkeys(str(one.site) for one in learners))}"
