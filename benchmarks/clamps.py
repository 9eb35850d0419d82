"""What a clamp costs while text is written: tokens a second with and without one, and with SAELens' SAE spliced in.

    python benchmarks/clamps.py [--sparsity relu,jump_relu,topk] [--d-sae N] [--rows N] [--rounds N] [--json] [--record]

Medians of rounds in turn, all writing the same number of tokens on the bundled model. `generate` is its unhooked
generation, `clamped` the same with two latents set at every token; the SAE is jump_relu, which an exported batch_topk one
is too. The other figures: `clamped/NAME` for other sparsities (topk has to encode in full wherever a clamped latent is
positive, to know which latents win), `hugging_face` and `hugging_face_clamped` for transformers' own generate, left alone and
inside `clamped(...)`. `sae_lens_spliced` is the same model behind TransformerLens' bridge writing with SAELens' SAE of the
same weights spliced in (encode, set, decode, error term), with a KV cache; left out where either is not installed. The
ratios on stderr are of processor time, which other work on the machine does not touch as long as torch runs on one thread
(OMP_NUM_THREADS=1).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from record import record

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.intervention import Edit, Intervention
from training.language_models.clamped import clamped
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

HOOK_NAME = "blocks.3.hook_resid_post"
PROMPT = "She opened the door and"
LATENTS = (307, 12)
"""Which are clamped; in an SAE of random directions one is as good as another."""


def sae_of(sparsity: str, d_in: int, d_sae: int) -> SparseAutoencoder:
    """Random directions: what a clamp costs does not hang on what was learned."""
    return SparseAutoencoder(SAEConfig(d_in, d_sae, sparsity, k=32, initial_threshold=1.0), seed=0).eval()


def sae_lens_spliced(sae: SparseAutoencoder, rows: int, tokens: int) -> Callable[[], Any]:
    """Writes with SAELens' SAE in the model, its latents set, the error term added back."""
    from transformer_lens.model_bridge import TransformerBridge

    from saes.sae_lens_bridge import to_sae_lens
    from saes.site import Site
    from training.language_models.opening import find_folder

    bridge = TransformerBridge.boot_transformers(find_folder("storyteller"), device="cpu", dtype=torch.float32)
    theirs = to_sae_lens(sae, Site("storyteller", HOOK_NAME))

    def splice(x: torch.Tensor, hook: Any) -> torch.Tensor:
        z = theirs.encode(x)
        error = x - theirs.decode(z)
        z[..., list(LATENTS)] = 8.0
        return theirs.decode(z) + error

    ids = bridge.to_tokens([PROMPT] * rows)

    def write() -> None:
        with torch.no_grad(), bridge.hooks(fwd_hooks=[(HOOK_NAME, splice)]):
            bridge.generate(
                ids, max_new_tokens=tokens, do_sample=False, stop_at_eos=False, use_past_kv_cache=True, verbose=False
            )

    return write


def writers(model: LanguageModel, sparsities: list[str], d_sae: int, rows: int, tokens: int) -> dict[str, Callable]:
    """name -> what writes `rows` x `tokens` tokens."""
    push = Intervention((Edit(LATENTS, 8.0),))
    prompts = [PROMPT] * rows
    saes = {name: sae_of(name, model.d_model, d_sae) for name in dict.fromkeys(["jump_relu", *sparsities])}
    hooks = {name: {HOOK_NAME: push.hook(sae)} for name, sae in saes.items()}
    plain = model.model  # type: ignore[attr-defined]  # the bundled model is a Hugging Face one
    ids = model.tokenise(prompts).ids

    def theirs() -> None:
        plain.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)

    def theirs_clamped() -> None:
        with clamped(plain, push, saes["jump_relu"], HOOK_NAME):
            theirs()

    found: dict[str, Callable] = {
        "generate": lambda: model.generate(prompts, tokens),
        "clamped": lambda: model.generate(prompts, tokens, hooks=hooks["jump_relu"]),
        "hugging_face": theirs,
        "hugging_face_clamped": theirs_clamped,
    }
    for name in sparsities:
        found[f"clamped/{name}"] = lambda name=name: model.generate(prompts, tokens, hooks=hooks[name])
    try:
        found["sae_lens_spliced"] = sae_lens_spliced(saes["jump_relu"], rows, tokens)
    except ImportError as error:
        print(f"sae_lens_spliced is left out: {error}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", default="relu,topk", help="other sparsities to measure")
    parser.add_argument("--d-sae", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    model = open_model("storyteller", "cpu")
    model._ends = lambda: torch.zeros(0, dtype=torch.long)  # type: ignore[attr-defined]  # every run writes all its tokens
    runs = writers(model, arguments.sparsity.split(","), arguments.d_sae, arguments.rows, arguments.tokens)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 1):
        for name, write in runs.items():
            started, used = time.perf_counter(), time.process_time()
            write()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - used)
    total = arguments.rows * arguments.tokens
    result = {name: round(total / statistics.median(values), 1) for name, values in seconds.items()}
    for name, base in (("clamped", "generate"), ("hugging_face_clamped", "hugging_face")):
        ratio = statistics.median(one / other for one, other in zip(processor[name], processor[base], strict=True))
        print(f"{name} takes {ratio:.3f} of {base}'s processor time, median over rounds", file=sys.stderr)
    if arguments.record:
        record("clamps", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
