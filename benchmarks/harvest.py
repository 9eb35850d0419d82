"""How fast activations come out of a language model, to batches through the shuffle, beside its bare forward pass.

    python benchmarks/harvest.py [--model NAME_OR_DIR] [--hook-name NAME] [--rounds N] [--json] [--record]

Tokens a second, medians of rounds in turn. `ours` is what a run gets to learn from: text tokenised, packed, read, freed
of attention sinks, shuffled, in batches of 2048 float32 rows. `bare_forward` is the model's own forward pass over the same
windows, already tokenised, stopped after the same block, nothing kept. `sae_lens` is SAELens' ActivationsStore (its mixing
buffer and batches of 2048) over the same local model behind TransformerLens' bridge and the same texts, where both are
installed.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from record import record

from training.activations.shuffle import shuffled_rows
from training.activations.source import ModelSource, what_to_read_ahead
from training.corpora.corpus import texts
from training.language_models.hugging_face import blocks_of
from training.language_models.opening import find_folder
from training.spec import TrainSpec
from training.windows import training_windows

BATCH = 2048
TEXTS = 4000
"""Documents that all three read."""


class Stopped(Exception):
    pass


def ours(spec: TrainSpec, source: ModelSource) -> Iterator[int]:
    """Tokens of each batch that comes out of the shuffle."""
    for batch in shuffled_rows(source.batches(), spec.buffer_rows, spec.batch_rows, spec.seed):
        yield len(batch[spec.hook_name])


def bare_forward(spec: TrainSpec, source: ModelSource) -> Iterator[int]:
    """Tokens of each batch of windows that went through the blocks up to the hook name's."""
    model = source.model.model
    layer = int(spec.hook_name.split(".")[1])

    def stop(*_: Any) -> None:
        raise Stopped

    windows = [batch.to(source.device) for batch in itertools.islice(training_windows(spec, source.model), 8)]
    for batch in itertools.cycle(windows):
        handle = blocks_of(model)[layer].register_forward_hook(stop)
        try:
            with torch.no_grad():
                model(input_ids=batch.ids, use_cache=False)
        except Stopped:
            pass
        finally:
            handle.remove()  # the model is also read by the others
        yield int(batch.keep.sum())


def sae_lens(spec: TrainSpec, source: ModelSource, corpus: Path) -> Iterator[int]:
    """Tokens of each batch of SAELens' store."""
    import datasets
    from sae_lens.training.activations_store import ActivationsStore
    from transformer_lens.model_bridge import TransformerBridge

    folder = find_folder(spec.model) or spec.model
    device = str(source.device)
    bridge = TransformerBridge.boot_transformers(folder, device=device, dtype=source.model.dtype)
    rows = datasets.load_dataset("json", data_files=str(corpus), split="train", streaming=True)
    store = ActivationsStore(
        model=bridge,
        dataset=rows,
        streaming=True,
        hook_name=spec.hook_name,
        hook_head_index=None,
        context_size=source.context,
        d_in=source.width(spec.hook_name),
        n_batches_in_buffer=spec.buffer_rows // source.context,  # they count it in windows
        total_training_tokens=10**9,
        store_batch_size_prompts=spec.window_batch,
        train_batch_size_tokens=BATCH,
        prepend_bos=source.prepend_bos,
        normalize_activations="none",
        device=torch.device(device),
        dtype="float32",
    )
    for batch in store:
        yield len(batch)


def rate(items: Iterator[int], tokens: int) -> float:
    """Tokens a second over at least so many."""
    started, seen = time.perf_counter(), 0
    while seen < tokens:
        seen += next(items)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return seen / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="storyteller")
    parser.add_argument("--hook-name", default="blocks.3.hook_resid_post")
    parser.add_argument("--buffer-rows", type=int, default=65536)
    parser.add_argument(
        "--tokens",
        type=int,
        default=131_072,
        help="of each round: two fillings of the buffer, since SAELens reads in such bursts",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts("storyworld:1", limit=TEXTS)))
        spec = TrainSpec(
            model=arguments.model, hook_name=arguments.hook_name, corpus=str(corpus), batch_rows=BATCH,
            buffer_rows=arguments.buffer_rows, device=arguments.device, dtype=arguments.dtype,
        )  # fmt: skip
        source = ModelSource(spec)
        runs: dict[str, Callable[[], Iterator[int]]] = {
            "ours": lambda: ours(spec, source),
            "bare_forward": lambda: bare_forward(spec, source),
            "sae_lens": lambda: sae_lens(spec, source, corpus),
        }
        begun: dict[str, Iterator[int]] = {}
        for name, begin in runs.items():
            items = begin()
            try:
                next(items)  # fills the buffer, which is no part of the steady state
            except ImportError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            begun[name] = items
        rates: dict[str, list[float]] = {name: [] for name in begun}
        for _ in range(arguments.rounds):
            for name, items in begun.items():
                rates[name].append(rate(items, arguments.tokens))
        for items in begun.values():
            items.close()  # type: ignore[attr-defined]
        result = {name: round(statistics.median(values)) for name, values in rates.items()}
    print(
        f"{spec.model} at {spec.hook_name} on {source.device}, {torch.get_num_threads()} threads, reading ahead: "
        f"{what_to_read_ahead(spec.read_ahead, source.device)}; ours is {result['ours'] / result['bare_forward']:.0%} of "
        "the bare forward pass",
        file=sys.stderr,
    )
    if arguments.record:
        record("harvest", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
