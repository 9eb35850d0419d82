"""The journey from a language model to shards of its activations on disk."""

from pathlib import Path

from training.activations.shards import ROWS_A_SHARD, write_shards
from training.activations.source import begins_with_bos, origin
from training.language_models.opening import open_model
from training.language_models.tokenising import tokenizer_hash
from training.spec import TrainSpec
from training.windows import context_of, training_windows


def harvest_to_disk(
    spec: TrainSpec,
    folder: str | Path,
    rows: int | None = None,
    dtype: str = "bfloat16",
    rows_a_shard: int = ROWS_A_SHARD,
    progress: bool = True,
) -> Path:
    """Write what a run of ``spec`` reads to ``folder``: at least ``rows`` activations at each of its hook names.

    By default as many as it takes for that run to come out exactly as it would from the language model (in float32):
    those that it learns from, and those that lie in the shuffle buffer when it ends. Called again after it was
    killed, it goes on after the last whole shard.
    """
    rows = rows_of(spec) if rows is None else rows
    if rows < 1 or rows_a_shard < 1:
        raise ValueError(f"rows and rows a shard must be at least 1, got {rows} and {rows_a_shard}")
    model = open_model(spec.model, spec.device, spec.dtype, spec.through, spec.revision)
    about = {
        **origin(spec),
        "context": context_of(spec, model),
        "window_batch": spec.window_batch,
        "prepend_bos": begins_with_bos(model),
        "tokenizer_sha256": tokenizer_hash(model.tokenizer),
    }
    windows = training_windows(spec, model)
    return write_shards(folder, model, spec.hook_names, windows, rows, about, dtype, rows_a_shard, progress)


def rows_of(spec: TrainSpec) -> int:
    """How many activations a run takes from its stream."""
    return -(-spec.tokens // spec.repeats) + spec.buffer_rows
