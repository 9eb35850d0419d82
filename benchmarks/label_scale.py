"""What scoring every latent x every concept costs beside what cannot be saved: the forward pass and the encoder's product.

    python benchmarks/label_scale.py [--latents N] [--texts N] [--concepts N] [--max-tokens N] [--json] [--record]

A random TopK SAE at the bundled model's site reads stories, which are given concepts and families by chance; then all AUROCs
and average precisions `[concept, latent]` are made, for every pooling. `ratio` is the seconds of all this over those of the
model's bare forward pass (stopped at the site) and the bare encoder product in the SAE's float32 over the same tokens, and
`ratio_bfloat16` the same beside a product in bfloat16, both measured on samples before and after and scaled by tokens.
`memory_mb` is the highest resident memory above that before the texts are read, model and SAE in place.
"""

import argparse
import json
import statistics
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from record import record

from analysis.labelling.ranking import Ranked, Sorting
from analysis.observe import BATCH, observe
from saes.autoencoder import SAEConfig, SparseAutoencoder
from training.corpora.corpus import texts
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

HOOK = "blocks.3.hook_resid_post"
FAMILIES = 17
ROWS = 128
"""Of a product at a time: what is fastest here."""
SAMPLES = 4


def resident(field: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def forward_seconds(model: LanguageModel, stories: list[str], max_tokens: int) -> float:
    """Seconds a token of the bare forward pass, tokenised before."""
    batches = [model.tokenise(stories[start : start + BATCH], max_tokens) for start in range(0, 4 * BATCH, BATCH)]
    began = time.perf_counter()
    for tokens in batches:
        model.activations(tokens, [HOOK])
    return (time.perf_counter() - began) / sum(int(tokens.keep.sum()) for tokens in batches)


@torch.no_grad()
def product_seconds(sae: SparseAutoencoder, dtype: torch.dtype) -> float:
    """Seconds a row of the encoder's product, each chunk written over the last."""
    weights, bias = sae.W_enc.to(dtype), sae.b_enc.to(dtype)
    x, room = torch.randn(ROWS, sae.d_in).to(dtype), torch.empty(ROWS, sae.d_sae, dtype=dtype)
    torch.addmm(bias, x, weights, out=room)
    began, rows = time.perf_counter(), 0
    while time.perf_counter() - began < 3:
        torch.addmm(bias, x, weights, out=room)
        rows += ROWS
    return (time.perf_counter() - began) / rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=65_536)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--concepts", type=int, default=171)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    model = open_model("storyteller")
    sae = SparseAutoencoder(SAEConfig(model.width(HOOK), arguments.latents, k=arguments.k))
    stories = list(islice(texts("storyworld:1"), arguments.texts))
    names = tuple(f"concept {number}" for number in range(arguments.concepts))
    drawn = np.random.default_rng(0).integers(-1, arguments.concepts, arguments.texts)
    family = np.where(drawn < 0, FAMILIES, drawn % FAMILIES).astype(np.int32)
    sorting = Sorting(drawn.astype(np.int32), family, np.zeros_like(family), names)

    bare: dict[str, list[float]] = {"forward": [], "float32": [], "bfloat16": []}

    def measure() -> None:
        bare["forward"].append(forward_seconds(model, stories, arguments.max_tokens))
        for name in ("float32", "bfloat16"):
            bare[name].append(product_seconds(sae, getattr(torch, name)))

    for _ in range(SAMPLES):
        measure()
    before, began = resident("VmRSS"), time.perf_counter()
    seen = observe(model, sae, HOOK, stories, arguments.max_tokens)
    read = time.perf_counter()
    pooled = seen.firings.all_pooled()
    held = time.perf_counter()
    found = [Ranked(matrix).scores(sorting, precision=True).auroc.max() for matrix in pooled.values()]
    done = time.perf_counter()
    memory = resident("VmHWM") - before
    for _ in range(SAMPLES):
        measure()
    tokens = int(seen.firings.n_tokens.sum())
    forward, float32, bfloat16 = (statistics.median(values) * tokens for values in bare.values())
    result = {
        "latents": arguments.latents,
        "texts": arguments.texts,
        "concepts": arguments.concepts,
        "tokens": tokens,
        "poolings": len(found),
        "ratio": round((done - began) / (forward + float32), 2),
        "ratio_bfloat16": round((done - began) / (forward + bfloat16), 2),
        "memory_mb": round(memory),
        "seconds": {"read": round(read - began, 1), "pool": round(held - read, 1), "score": round(done - held, 1)},
        "bare_seconds": {"forward": round(forward, 1), "float32": round(float32, 1), "bfloat16": round(bfloat16, 1)},
    }
    if arguments.record:
        record("label_scale", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
