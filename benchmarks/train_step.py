"""How fast one training step is: ours, SAELens', sparsify's, dictionary_learning's, and the bare encoder product.

    python benchmarks/train_step.py [--sizes 256x4096,768x16384,768x65536] [--only NAME,…] [--rounds N] [--json] [--record]

Every step learns from the same activations (sums of a few of 8 d random directions with Zipf frequencies, a mean, 10 %
noise), with its own defaults but for what would make it easier: dead latents are counted and their rescue is on (none is
dead in the first steps, as in everybody's default), and the gradient is clipped to length one where the peer does that.
The steps of one architecture take turns within a round, so that a slow moment of the machine strikes all; the medians over rounds stand. Peers
that cannot be imported are left out. `memory_mb` is what building it and three steps add to the peak of a process of its own.

Sizes are d_in x d_sae; k is 32, the batch 2048 rows (1024 from 65,536 latents on). relu, jump_relu and gated start from an encoder bias at which about
k latents fire, as late in training: at random weights half of all would. Numbers are tokens a second.
"""

import argparse
import gc
import json
import logging
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from record import record
from tqdm import tqdm

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.choose import choose_step
from saes.kernels.step import StepSettings

K = 32
CLIP = 1.0
BATCHES = 4
BARE = "gemm_bf16"
OURS = ("topk", "batch_topk", "relu", "jump_relu", "gated", "matryoshka")
FREE = ("relu", "jump_relu", "gated")
"""Those whose number of firing latents is free, and large at random weights."""

Step = Callable[[torch.Tensor], Any]


def activations(d_in: int, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(8 * d_in, d_in, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    frequency = 1 / torch.arange(1, 8 * d_in + 1) ** 0.7
    frequency *= 24 / frequency.sum()
    parts = []
    for _ in range(0, rows, 1024):
        on = torch.rand(1024, 8 * d_in, generator=generator) < frequency
        values = on * torch.rand(1024, 8 * d_in, generator=generator) * 2
        parts.append(values @ directions)
    x = torch.cat(parts)[:rows]
    x += 0.1 * x.std() * torch.randn(x.shape, generator=generator) + 0.3 * torch.randn(d_in, generator=generator)
    return x * (d_in**0.5 / x.norm(dim=1).mean())


def sparse_bias(x: torch.Tensor, W_enc: torch.Tensor, b_dec: torch.Tensor) -> float:
    """The encoder bias at which K latents fire a row."""
    pre = (x[:256] - b_dec) @ W_enc
    return -float(pre.flatten().topk(K * 256).values[-1])


# ---- the steps


def bare_product(d_in: int, d_sae: int, x: torch.Tensor) -> Step:
    W = torch.randn(d_sae, d_in).bfloat16()
    out = torch.empty(len(x), d_sae, dtype=torch.bfloat16)
    return lambda batch: torch.mm(batch.bfloat16(), W.T, out=out)


def ours(d_in: int, d_sae: int, x: torch.Tensor, sparsity: str, kernels: str = "auto") -> Step:
    prefixes = tuple(d_sae // part for part in (16, 8, 4, 2, 1)) if sparsity == "matryoshka" else ()
    kind = "batch_topk" if sparsity == "matryoshka" else sparsity
    sae = SparseAutoencoder(SAEConfig(d_in, d_sae, kind, K, prefixes=prefixes))
    sae.start_at_mean(x)
    if sparsity in FREE:
        with torch.no_grad():
            sae.bias.fill_(sparse_bias(x, sae.W_enc, sae.b_dec))
    step = choose_step(sae, StepSettings(clip_norm=CLIP), kernels)
    return lambda batch: step(batch, 1e-4)


def sae_lens(d_in: int, d_sae: int, x: torch.Tensor, architecture: str, autocast: bool = False) -> Step:
    import sae_lens
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    kind, settings = {
        "topk": (sae_lens.TopKTrainingSAEConfig, {"k": K}),
        "batch_topk": (sae_lens.BatchTopKTrainingSAEConfig, {"k": K}),
        "relu": (sae_lens.StandardTrainingSAEConfig, {"l1_coefficient": 5.0}),
        "jump_relu": (sae_lens.JumpReLUTrainingSAEConfig, {}),
        "gated": (sae_lens.GatedTrainingSAEConfig, {}),
        "matryoshka": (
            sae_lens.MatryoshkaBatchTopKTrainingSAEConfig,
            {"k": K, "matryoshka_widths": [d_sae // 16, d_sae // 8, d_sae // 4, d_sae // 2, d_sae]},
        ),
    }[architecture]
    config = kind(d_in=d_in, d_sae=d_sae, **settings)
    sae = sae_lens.TrainingSAE.from_dict(config.to_dict())
    with torch.no_grad():
        sae.b_dec.copy_(x.mean(0))
        if architecture in FREE:
            bias = sae.b_gate if architecture == "gated" else sae.b_enc
            bias.fill_(sparse_bias(x, sae.W_enc, sae.b_dec))
    settings = SAETrainerConfig(
        total_training_samples=10**9, train_batch_size_samples=len(x), lr=1e-4, lr_end=1e-4, autocast=autocast
    )
    trainer = SAETrainer(settings, sae, data_provider=iter([x]))
    return lambda batch: trainer._train_step(sae=sae, sae_in=batch)


def sparsify(d_in: int, d_sae: int, x: torch.Tensor) -> Step:
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(d_in, SparseCoderConfig(num_latents=d_sae, k=K))
    coder.b_dec.data = x.mean(0)
    optimiser = torch.optim.Adam(coder.parameters(), lr=1e-4)
    silent = torch.zeros(d_sae, dtype=torch.long)

    def step(batch: torch.Tensor) -> None:  # the body of sparsify's Trainer.fit
        coder.set_decoder_norm_to_unit_norm()
        out = coder(batch, dead_mask=silent > 10_000_000)
        fired = torch.zeros(d_sae, dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        (out.fvu + out.auxk_loss / 32).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        silent.add_(len(batch)).masked_fill_(fired, 0)

    return step


def dictionary_learning(d_in: int, d_sae: int, x: torch.Tensor, architecture: str) -> Step:
    import dictionary_learning.trainers as trainers
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

    shape = {"steps": 10**6, "activation_dim": d_in, "dict_size": d_sae, "layer": 0, "lm_name": "none", "device": "cpu"}
    if architecture == "matryoshka":
        trainer = MatryoshkaBatchTopKTrainer(**shape, k=K, group_fractions=[1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2])
    else:
        kind = {"topk": trainers.TopKTrainer, "batch_topk": trainers.BatchTopKTrainer}[architecture]
        trainer = kind(**shape, k=K)
    steps = iter(range(1, 10**9))
    return lambda batch: trainer.update(next(steps), batch)


def contestants() -> dict[str, Callable[[int, int, torch.Tensor], Step]]:
    found: dict[str, Callable[[int, int, torch.Tensor], Step]] = {BARE: bare_product}
    for name in OURS:
        found[f"ours/{name}"] = lambda d, n, x, name=name: ours(d, n, x, name)
    found["ours/topk/pytorch"] = lambda d, n, x: ours(d, n, x, "topk", "cpu")
    for name in ("topk", "batch_topk", "relu", "jump_relu", "gated", "matryoshka"):
        found[f"sae_lens/{name}"] = lambda d, n, x, name=name: sae_lens(d, n, x, name)
    found["sae_lens/topk/autocast"] = lambda d, n, x: sae_lens(d, n, x, "topk", autocast=True)
    found["sparsify/topk"] = sparsify
    for name in ("topk", "batch_topk", "matryoshka"):
        found[f"dictionary_learning/{name}"] = lambda d, n, x, name=name: dictionary_learning(d, n, x, name)
    return found


# ---- measuring


def rows_of(d_sae: int) -> int:
    return 1024 if d_sae >= 65536 else 2048


def measure(d_in: int, d_sae: int, names: list[str], rounds: int) -> dict[str, float]:
    """Median tokens a second of each. Those of one architecture take turns, beside the bare product; then the next
    architecture's: all at once would not fit into memory."""
    rows = rows_of(d_sae)
    x = activations(d_in, BATCHES * rows).split(rows)
    seconds: dict[str, list[float]] = {}
    for architecture in dict.fromkeys(name.split("/")[1] for name in names if "/" in name):
        steps: dict[str, Step] = {}
        for name in names:
            if name != BARE and name.split("/")[1] != architecture:
                continue
            try:
                steps[name] = contestants()[name](d_in, d_sae, x[0])
            except ImportError as error:
                print(f"{name} left out: {error}", file=sys.stderr)
                continue
            steps[name](x[0])
            steps[name](x[1])
        for number in tqdm(range(rounds), desc=f"{d_in}x{d_sae} {architecture}", unit="round"):
            for name, step in steps.items():
                began = time.perf_counter()
                step(x[number % BATCHES])
                seconds.setdefault(name, []).append(time.perf_counter() - began)
        del steps
        gc.collect()
    return {name: round(rows / statistics.median(seconds[name])) for name in names if name in seconds}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(d_in: int, d_sae: int, name: str) -> float | None:
    """What a process of its own adds to its peak by building one contestant and taking three steps."""
    command = [sys.executable, __file__, "--sizes", f"{d_in}x{d_sae}", "--only", name, "--memory-of-one"]
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def memory_of_one(d_in: int, d_sae: int, name: str) -> float:
    make, rows = contestants()[name], rows_of(d_sae)
    x = activations(d_in, rows)
    tiny = make(8, 64, activations(8, 64))  # whatever importing and the first call of anything costs
    tiny(activations(8, 64))
    gc.collect()
    before = peak_mb()
    step = make(d_in, d_sae, x)
    for _ in range(3):
        step(x)
    return round(peak_mb() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256x4096,768x16384,768x65536")
    parser.add_argument("--only", help="names, separated by commas; default all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of-one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    names = arguments.only.split(",") if arguments.only else list(contestants())
    sizes = [tuple(int(n) for n in size.split("x")) for size in arguments.sizes.split(",")]
    if arguments.memory_of_one:
        print(memory_of_one(*sizes[0], names[0]))
        return
    result: dict[str, Any] = {}
    for d_in, d_sae in sizes:
        figures: dict[str, Any] = measure(d_in, d_sae, names, arguments.rounds)
        if not arguments.no_memory:
            figures["memory_mb"] = {name: memory(d_in, d_sae, name) for name in figures if name != BARE}
        result[f"{d_in}x{d_sae}"] = figures
    if arguments.record:
        record("train_step", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
