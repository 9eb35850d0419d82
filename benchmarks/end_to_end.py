"""From a language model and texts to a trained SAE: `saes train` beside SAELens' runner, to the same held-out quality.

    python benchmarks/end_to_end.py [--tokens N] [--d-sae N] [--k N] [--json] [--record]

Both read the same local model, hook name and documents, with the same width, k, batch, learning rate and number of tokens,
each with its own reading, shuffling and training; both SAEs are then measured by the same function on the same held-out
text. `seconds` is the whole run, the opening of the model left out on both sides. Where ours is as good or better at equal
tokens, `seconds_to_their_quality` is a second run of ours with as few tokens (of N/2, N/4, N/8) as still reach what SAELens reached.
"""

import argparse
import json
import logging
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from record import record

from saes.opening import open_dictionary
from training.corpora.corpus import texts, windows
from training.evaluate import evaluate
from training.language_models.opening import find_folder, open_model
from training.loop import train
from training.spec import TrainSpec

BATCH, CONTEXT = 2048, 256


def spec_of(arguments: argparse.Namespace, tokens: int, out: Path) -> TrainSpec:
    return TrainSpec(
        model=arguments.model, hook_name=arguments.hook_name, corpus=arguments.corpus, sparsity="topk",
        d_sae=arguments.d_sae, k=arguments.k, tokens=tokens, lr=arguments.lr, batch_rows=BATCH, context=CONTEXT,
        clip_norm=1.0, dead_after_rows=200_000, held_out_tokens=2048, save_seconds=1e9, out=str(out),
    )  # fmt: skip


def ours(arguments: argparse.Namespace, tokens: int, room: Path) -> tuple[Any, float]:
    folder = room / f"ours-{tokens}"
    open_model(arguments.model)  # so that what importing costs is paid
    began = time.monotonic()
    train(spec_of(arguments, tokens, folder), progress=False)
    return open_dictionary(folder)[0], time.monotonic() - began


def sae_lens(arguments: argparse.Namespace, room: Path) -> tuple[Any, float]:
    from datasets import Dataset
    from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig
    from transformer_lens.model_bridge import TransformerBridge

    documents = list(islice(texts(arguments.corpus), arguments.tokens // 40))  # more than enough
    bridge = TransformerBridge.boot_transformers(find_folder(arguments.model), device="cpu")
    steps = arguments.tokens // BATCH
    settings = LanguageModelSAERunnerConfig(
        sae=TopKTrainingSAEConfig(
            d_in=bridge.cfg.d_model, d_sae=arguments.d_sae, k=arguments.k, normalize_activations="expected_average_only_in"
        ),
        model_name=arguments.model, hook_name=arguments.hook_name, dataset_path="local", context_size=CONTEXT,
        streaming=False, training_tokens=steps * BATCH, train_batch_size_tokens=BATCH, store_batch_size_prompts=32,
        n_batches_in_buffer=8, lr=arguments.lr, lr_warm_up_steps=round(0.02 * steps), lr_decay_steps=round(0.2 * steps),
        dead_feature_window=100, n_batches_for_norm_estimate=8, device="cpu", prepend_bos=True, n_checkpoints=0,
        exclude_special_tokens=True, checkpoint_path=None, output_path=None, verbose=False,
        logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    runner = LanguageModelSAETrainingRunner(
        settings, override_dataset=Dataset.from_dict({"text": documents}), override_model=bridge
    )
    began = time.monotonic()
    trained = runner.run()
    seconds = time.monotonic() - began
    folder = room / "sae_lens"
    trained.save_inference_model(folder)
    return open_dictionary(folder)[0], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="storyteller")
    parser.add_argument("--hook-name", default="blocks.3.hook_resid_post")
    parser.add_argument("--corpus", default="storyworld:1")
    parser.add_argument("--tokens", type=int, default=800_000)
    parser.add_argument("--d-sae", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    model = open_model(arguments.model)
    held_out = list(islice(windows(texts("storyworld:7"), model, CONTEXT, 32), 4))

    def quality(sae: Any) -> float:
        return round(evaluate(model, sae, arguments.hook_name, iter(held_out))["explained_variance"], 4)

    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        mine, seconds = ours(arguments, arguments.tokens, room)
        result: dict[str, Any] = {"ours": {"seconds": round(seconds, 1), "explained_variance": quality(mine)}}
        try:
            theirs, seconds = sae_lens(arguments, room)
        except ImportError:
            theirs = None
        if theirs is not None:
            result["sae_lens"] = {"seconds": round(seconds, 1), "explained_variance": quality(theirs)}
            bar, tokens = result["sae_lens"]["explained_variance"], arguments.tokens // 2
            while result["ours"]["explained_variance"] >= bar and tokens >= arguments.tokens // 8:
                shorter, seconds = ours(arguments, tokens, room)
                reached = quality(shorter)
                if reached < bar:
                    break
                result["ours"] |= {"seconds_to_their_quality": round(seconds, 1), "tokens_to_their_quality": tokens}
                tokens //= 2
    result["tokens"] = arguments.tokens
    if arguments.record:
        record("end_to_end", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
