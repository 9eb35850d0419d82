"""Quality against L0 at equal tokens: our SAEs beside SAELens', on the bundled model's activations, several seeds.

    python benchmarks/frontier.py [--tokens N] [--d-sae N] [--k 16,32,64] [--seeds N] [--json] [--record]

Activations of the bundled model are read once. Both sides then learn from the very same batches in the same order, at the
same learning rate (warm-up and decay included), and are measured on the same held-out activations by the same function.
Numbers are [l0, explained_variance], one pair for each k and seed; `dead` holds the shares of latents that never fired on
the held-out activations.
"""

import argparse
import json
import logging
from typing import Any

import torch
from record import record
from tqdm import tqdm

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.choose import choose_step
from saes.kernels.step import StepSettings
from saes.quality import explained_variance
from saes.scaling import measure_scale
from training.activations.harvest import harvest
from training.corpora.corpus import texts, windows
from training.language_models.opening import open_model
from training.optimiser import learning_rate

BATCH = 2048
HELD_OUT = 32_768


def activations(model_name: str, hook_name: str, rows: int, corpus: str) -> torch.Tensor:
    model = open_model(model_name)
    parts, held = [], 0
    for batch in harvest(model, [hook_name], windows(texts(corpus), model, model.context, 32)):
        parts.append(batch[hook_name].rows())
        held += len(parts[-1])
        if held >= rows:
            break
    x = torch.cat(parts)[:rows]
    return x * measure_scale([x])


def batches(x: torch.Tensor, seed: int) -> list[torch.Tensor]:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return [x[ids] for ids in order.split(BATCH) if len(ids) == BATCH]


def ours(train: list[torch.Tensor], d_sae: int, k: int, seed: int, lr: float) -> Any:
    sae = SparseAutoencoder(SAEConfig(train[0].shape[1], d_sae, "topk", k), seed=seed)
    sae.start_at_mean(train[0])
    step = choose_step(sae, StepSettings(dead_after_rows=200_000, clip_norm=1.0))
    for number, batch in enumerate(train):
        step(batch, learning_rate(number, len(train), lr, 0.02, 0.2))
    step.settle()
    return sae


def sae_lens(train: list[torch.Tensor], d_sae: int, k: int, seed: int, lr: float) -> Any:
    from sae_lens import TopKTrainingSAEConfig, TrainingSAE
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(seed)
    sae = TrainingSAE.from_dict(TopKTrainingSAEConfig(d_in=train[0].shape[1], d_sae=d_sae, k=k).to_dict())
    with torch.no_grad():
        sae.b_dec.copy_(train[0].mean(0))
    steps = len(train)
    settings = SAETrainerConfig(
        total_training_samples=steps * BATCH, train_batch_size_samples=BATCH, lr=lr, lr_end=lr / 10,
        lr_warm_up_steps=round(0.02 * steps), lr_decay_steps=round(0.2 * steps), dead_feature_window=100,
    )  # fmt: skip
    SAETrainer(settings, sae, data_provider=iter(train)).fit()
    return sae


def figures(sae: Any, held_out: torch.Tensor) -> tuple[float, float, float]:
    with torch.no_grad():
        z = sae.encode(held_out)
        fitted = sae.decode(z)
    fired = z > 0
    return (
        float(fired.sum(1).float().mean()),
        float(explained_variance(held_out, fitted)),
        float((~fired.any(0)).float().mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="storyteller")
    parser.add_argument("--hook-name", default="blocks.3.hook_resid_post")
    parser.add_argument("--corpus", default="storyworld:1")
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--d-sae", type=int, default=2048)
    parser.add_argument("--k", default="16,32,64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    x = activations(arguments.model, arguments.hook_name, arguments.tokens + HELD_OUT, arguments.corpus)
    train, held_out = x[:-HELD_OUT], x[-HELD_OUT:]
    result: dict[str, Any] = {"ours": [], "sae_lens": [], "dead": {"ours": [], "sae_lens": []}}
    runs = [(int(k), seed) for k in arguments.k.split(",") for seed in range(arguments.seeds)]
    for k, seed in tqdm(runs, unit="pair"):
        order = batches(train, seed)
        for name, learn in (("ours", ours), ("sae_lens", sae_lens)):
            try:
                sae = learn(order, arguments.d_sae, k, seed, arguments.lr)
            except ImportError:
                continue
            l0, fit, dead = figures(sae, held_out)
            result[name].append([round(l0, 2), round(fit, 4)])
            result["dead"][name].append(round(dead, 4))
    if arguments.record:
        record("frontier", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
