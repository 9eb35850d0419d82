"""What computing costs on this machine: a few steps of a few small sizes, and the constants that explain their times."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.choose import choose_step
from saes.losses import PENALTIES
from training.corpora.corpus import texts
from training.costs import CPU, Device, StepCosts
from training.language_models.hugging_face import HuggingFaceModel
from training.language_models.language_model import Tokens
from training.plan import World, kernel_of, kind_of_text, work_of
from training.spec import TrainSpec

SIZES = ((64, 1024, 8, 256), (64, 4096, 8, 512), (128, 4096, 32, 256), (128, 1024, 32, 1024), (256, 2048, 8, 512),
         (256, 4096, 32, 512), (256, 8192, 16, 256), (384, 2048, 64, 256))  # fmt: skip
"""d_in, d_sae, k and rows: they differ in each kind of work, so that the times tell its cost."""
STEPS = 5


def measured(spec: TrainSpec, config: Any, text_tokens: int = 20_000) -> Device:
    """The CPU of this machine: the step of the kernel that ``spec`` gets, its language model, its text."""
    kernel = kernel_of(spec, CPU, World())
    times = [step_seconds(spec, *size) for size in SIZES]
    costs = fitted(kernel, SIZES, times)
    return replace(
        CPU,
        sparse=costs if kernel == "sparse" else CPU.sparse,
        dense=costs if kernel == "dense" else CPU.dense,
        model_flop={**CPU.model_flop, spec.dtype: model_flop_seconds(config, spec.dtype)},
        **text_seconds(spec, text_tokens),
        source="fitted to steps measured on this machine just now",
    )


def step_seconds(spec: TrainSpec, d_in: int, d_sae: int, k: int, rows: int, steps: int = STEPS) -> float:
    """The median time of a training step on random rows, of which about ``k`` latents fire each."""
    config = SAEConfig(d_in, d_sae, spec.sparsity, min(k, d_sae))
    sae = SparseAutoencoder(config)
    if spec.sparsity in PENALTIES:  # half of them would: its products with the rows are normal, like those
        sae.bias.data.fill_(float(torch.special.ndtri(torch.tensor(k / d_sae))))
    step = choose_step(sae, spec.step_settings(), spec.kernels)
    x = torch.randn(rows, d_in, generator=torch.Generator().manual_seed(0))
    return _median(lambda: step(x, 1e-4), steps)


def fitted(kernel: str, sizes: Sequence[tuple[int, int, int, int]], times: Sequence[float]) -> StepCosts:
    """The constants, none negative, that explain ``times`` best, each time's error counting by its share."""
    import numpy
    from scipy.optimize import nnls

    work = numpy.array([
        work_of(kernel, rows, d_in, d_sae, rows * k, 2 * d_sae * d_in + 2 * d_sae + d_in)
        for d_in, d_sae, k, rows in sizes
    ])  # fmt: skip
    shares = work / numpy.array(times)[:, None]
    units = shares.max(0)
    units[units == 0] = 1  # a dense step gathers nothing
    found, _ = nnls(shares / units, numpy.ones(len(times)))
    return StepCosts(*(float(value) for value in found / units))


def model_flop_seconds(config: Any, dtype: str, windows: int = 4, context: int = 128) -> float:
    """Seconds a floating-point operation of a harvest: two blocks of the model, with random weights, read some windows."""
    import transformers

    small = copy.deepcopy(config)
    text = small.get_text_config()
    text.num_hidden_layers, text.vocab_size = 2, 1000
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:2]
    for special in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(text, special, None)
    model = HuggingFaceModel(transformers.AutoModelForCausalLM.from_config(small, dtype=getattr(torch, dtype)).eval())
    context = min(context, model.context)
    ids = torch.randint(1000, (windows, context), generator=torch.Generator().manual_seed(0))
    tokens, last = Tokens(ids, torch.ones_like(ids, dtype=torch.bool)), "blocks.1.hook_resid_post"
    read = sum(weight.numel() for name, weight in model.model.named_parameters() if ".0." in name or ".1." in name)
    flops = ids.numel() * (2 * read + 2 * 2 * model.d_model * context)
    return _median(lambda: model.activations(tokens, [last]), STEPS) / flops


def text_seconds(spec: TrainSpec, tokens: int) -> dict[str, Any]:
    """A Device's constants of the run's own text; the built-in ones where the tokenizer is not here."""
    from transformers import AutoTokenizer

    from training.language_models import tokenising
    from training.language_models.opening import find_folder

    try:
        tokenizer = AutoTokenizer.from_pretrained(find_folder(spec.model) or spec.model, local_files_only=True)
    except (OSError, ValueError):  # a folder with a config and nothing else
        return {"told": CPU.told, "token": CPU.token}
    documents = texts(spec.corpus, spec.corpus_split, spec.corpus_column)
    next(documents)  # opening is no cost of a token
    found, reading, tokenising_them = 0, 0.0, 0.0
    while found < tokens:
        began = time.perf_counter()
        some = list(islice(documents, 64))
        read = time.perf_counter()
        if not some:
            break
        found += sum(len(ids) for ids in tokenising.plain_ids(tokenizer, some))
        reading, tokenising_them = reading + read - began, tokenising_them + time.perf_counter() - read
    found = max(1, found)
    return {"told": {**CPU.told, kind_of_text(spec): reading / found}, "token": tokenising_them / found}


def _median(work: Callable[[], Any], times: int) -> float:
    work()  # the first one allocates
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)
