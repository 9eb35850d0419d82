"""Trains a small language model, from nothing or from where another run of it ended: the recipe of the bundled one.

    pretrain(PretrainSpec(out="checkpoints/mine", tokens=20_000_000, corpus=("texts/",))) -> the Hugging Face folder

Text comes from storyworld (endless, from the seed) and, where given, from folders or files of prose. The tokenizer is
learned on the same mixture. Stopped at any time, the same command goes on where it was: what a step reads depends on the
seed and the step alone.
"""

import io
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from tqdm import tqdm

from saes.kernels.choose import multiplies_bfloat16
from training.corpora.corpus import texts
from training.corpora.storyworld.bank import VARIETY
from training.corpora.storyworld.stream import documents
from training.journal import Journal
from training.language_models.llama import Llama, LlamaShape
from training.language_models.muon import Muon
from training.run_state import asked_to_stop, replace_file

END = "<|endoftext|>"
"""Stands between documents, and before a text that begins one."""
HELD_OUT_SEED = 1_000_003
"""Storyworld's seed for the held-out loss is the spec's seed plus this."""
OPENINGS = ("One morning", "Tom was so angry that", "Old Ruth", "Mia was afraid", "The letter", "Ben and Lily", "At the shop",
            "She was calm and", "It was Friday afternoon", "Nora was asked for a rule.")  # fmt: skip
"""How the ten samples in the model card begin: fixed, so that nobody picks the good ones."""


@dataclass(frozen=True)
class PretrainSpec:
    out: str = "checkpoints/storyteller"
    """The Hugging Face folder to make."""
    tokens: int = 18_000_000
    """How many tokens to train on."""
    start: str = ""
    """The folder of a model of the same shape, made by an earlier run, whose weights and tokenizer this one begins with."""
    corpus: tuple[str, ...] = ()
    """Prose to mix in: folders, files, or `datasets` names; each read as often as its share needs."""
    storyworld_share: float = 0.8
    """Of the training windows, how many are storyworld's (stories and workshop); all of them when there is no corpus."""
    variety: float = VARIETY
    """The share of storyworld's lines and scenes that its stories are drawn from."""
    wider: float = 0.0
    """Of the feelings that most stories are about, the share drawn from the 147 wider ones, which stand beside the 24."""
    corpus_weights: tuple[float, ...] = ()
    """How the rest is divided among the corpus entries; evenly when not given."""
    vocab_size: int = 4096
    d_model: int = 192
    n_layers: int = 5
    n_heads: int = 4
    d_mlp: int = 512
    context: int = 256
    batch_windows: int = 16
    """Windows of `context` tokens in a step."""
    lr: float = 3e-3
    """AdamW's, for the embedding and the gains."""
    hidden_lr: float = 6e-3
    """Muon's, for the matrices between."""
    warmup: float = 0.02
    """The share of steps in which the learning rate rises."""
    cooldown: float = 0.4
    """The share of steps at the end in which it falls to zero, in a straight line."""
    weight_decay: float = 0.05
    seed: int = 0
    compile: bool = True
    """Use torch.compile where a compiler is found; the plain model otherwise."""
    save_seconds: float = 300.0
    """How often the run's state is put away."""
    data_note: str = ""
    """What the model card says of the corpus's origin and licences."""
    sample_documents: int = 20_000
    """Storyworld documents from which the tokenizer learns its vocabulary."""

    def __post_init__(self) -> None:
        for name in ("tokens", "n_layers", "n_heads", "d_mlp", "batch_windows", "sample_documents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.context < 2:
            raise ValueError(f"context must be at least 2, a token and the one after it, got {self.context}")
        if self.d_model < 1 or self.d_model % (2 * self.n_heads):
            raise ValueError(
                f"d_model must be n_heads ({self.n_heads}) times an even number, for the rotary embedding: got "
                f"{self.d_model}"
            )
        if not 257 <= self.vocab_size <= 65536:
            raise ValueError(
                f"vocab_size must lie between 257 (the bytes and the end sign) and 65536, got {self.vocab_size}"
            )
        for name in ("storyworld_share", "variety", "wider", "warmup", "cooldown"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, between 0 and 1, got {getattr(self, name)}")
        if not self.variety:
            raise ValueError("variety must be above 0: storyworld cannot tell of nothing")
        self._check_corpus()

    def _check_corpus(self) -> None:
        entries, weights = self.corpus, self.corpus_weights
        if weights and len(weights) != len(entries):
            raise ValueError(f"{len(entries)} corpus entries but {len(weights)} corpus_weights: give one for each")
        if weights and not (min(weights) >= 0 and sum(weights) > 0):
            raise ValueError(f"corpus_weights must not be negative, nor all 0, got {weights}")
        for entry in entries:
            if entries.count(entry) > 1:
                raise ValueError(f"the corpus names {entry} more than once: give it a weight instead")
            if entry.partition(":")[0] == "storyworld":  # without end, so it could never be encoded whole
                raise ValueError(
                    "storyworld is mixed in by storyworld_share; a folder of that name is given as ./storyworld"
                )

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.batch_windows * self.context))

    @property
    def shape(self) -> LlamaShape:
        return LlamaShape(self.vocab_size, self.d_model, self.n_layers, self.n_heads, self.d_mlp, self.context)

    def share_of_lr(self, step: int) -> float:
        """The factor on both learning rates at a step."""
        rising = (step + 1) / max(1, self.warmup * self.steps)
        falling = (self.steps - step) / max(1, self.cooldown * self.steps)
        return min(1.0, rising, falling)


def pretrain(spec: PretrainSpec, device: str = "cpu", progress: bool = True) -> Path:
    """Trains the model, saves it as a Hugging Face folder with a model card, and returns the folder.

    Ctrl-C and SIGTERM save the run's state before a KeyboardInterrupt leaves; the same spec goes on from there.
    """
    out = Path(spec.out)
    state_folder = out / "run"
    if not state_folder.exists():
        for entry in spec.corpus:
            next(texts(entry))  # one that cannot be read is an error before there is a folder
        if spec.start:
            _check_start(spec)
        state_folder.mkdir(parents=True)
    _same_spec(spec, state_folder / "spec.json")
    tokenizer = _tokenizer(spec, state_folder)
    sources = Sources(spec, tokenizer, state_folder)

    torch.manual_seed(spec.seed)
    model = Llama(spec.shape)
    if spec.start:
        model.load_state_dict(load_file(Path(spec.start) / "model.safetensors"))
    model.to(device)
    optimiser = Optimiser(model, spec)
    loss_of = _maybe_compiled(model, spec)
    kind = torch.device(device).type
    bfloat16 = kind != "cpu" or multiplies_bfloat16()
    step, seconds = _resume(model, optimiser, state_folder)
    journal = Journal(state_folder, after_step=step)
    bar = tqdm(total=spec.steps * spec.batch_windows * spec.context, unit="tok", unit_scale=True, disable=not progress,
               initial=step * spec.batch_windows * spec.context, desc="pretrain")  # fmt: skip
    started = saved = time.monotonic()
    with asked_to_stop() as stop, bar:
        while step < spec.steps:
            batch = torch.from_numpy(sources.batch(step)).to(device)
            with torch.autocast(kind, torch.bfloat16, enabled=bfloat16):
                loss = loss_of(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step(spec.share_of_lr(step))
            step += 1
            bar.update(batch.numel())
            if step % 20 == 0 or step == spec.steps:
                journal.write(
                    step=step, tokens=step * batch.numel(), loss=loss.item(), lr=spec.lr * spec.share_of_lr(step - 1)
                )
                bar.set_postfix(loss=f"{loss.item():.3f}")
            stopping = stop()
            if stopping or time.monotonic() - saved > spec.save_seconds or step == spec.steps:
                if not all(weight.isfinite().all() for weight in model.parameters()):  # not to replace a good state
                    raise ValueError(f"weights are NaN or infinite at step {step}: a lower lr or hidden_lr may do")
                _save_state(model, optimiser, step, seconds + time.monotonic() - started, state_folder)
                save_hugging_face(model, state_folder / "tokenizer.json", out)
                saved = time.monotonic()
            if stopping:
                raise stop.error(
                    f"stopped at step {step} of {spec.steps}; {out} can be gone on with by the same command"
                )
    seconds += time.monotonic() - started
    held_out = {name: held_out_loss(model, windows) for name, windows in sources.held_out().items()}
    journal.write(step=step, held_out=held_out)
    save_hugging_face(model, state_folder / "tokenizer.json", out)
    _write(out / "README.md", model_card(spec, model, sources, held_out, seconds, samples(out), kind))
    return out


# ---- what it reads


class Sources:
    """The mixture as token arrays: each document once after another with the end sign between, no padding.

    Storyworld's share is written (and encoded) once for the whole run; prose is kept as it is and its windows are drawn
    at random, so that a small folder is simply read several times.
    """

    def __init__(self, spec: PretrainSpec, tokenizer, folder: Path):
        self.spec, self.tokenizer = spec, tokenizer
        share = spec.storyworld_share if spec.corpus else 1.0
        needed = int(spec.steps * spec.batch_windows * share * 1.05 + 8) * spec.context
        self.arrays = {
            "storyworld": _encoded(
                _until(documents(spec.seed, variety=spec.variety, wider=spec.wider), tokenizer),
                needed,
                folder / "storyworld.npy",
            )
        }
        self.weights = [share]
        weights = spec.corpus_weights or (1.0,) * len(spec.corpus)
        names = ["storyworld", *(Path(entry).name for entry in spec.corpus)]
        for number, (entry, weight) in enumerate(zip(spec.corpus, weights, strict=True)):
            array = _encoded(_until(texts(entry), tokenizer), None, folder / f"corpus{number}.npy")
            if len(array) < 4 * spec.context:
                raise ValueError(f"{entry} holds only {len(array)} tokens: too few for windows of {spec.context}")
            name = Path(entry).name
            self.arrays[name if names.count(name) == 1 else entry] = array
            self.weights.append((1 - share) * weight / sum(weights))

    def batch(self, step: int) -> np.ndarray:
        """The windows `[window, token]` of one step: the same for the same seed and step."""
        rng = random.Random(f"{self.spec.seed}:{step}")
        context, rows = self.spec.context, []
        names = rng.choices(list(self.arrays), self.weights, k=self.spec.batch_windows)
        for name in names:
            array = self.arrays[name]
            start = rng.randrange(0, self._train_end(array) - context)
            rows.append(array[start : start + context])
        return np.stack(rows).astype(np.int64)

    def _train_end(self, array: np.ndarray) -> int:
        return len(array) - max(self.spec.context * 2, len(array) // 50)

    def held_out(self) -> dict[str, np.ndarray]:
        """Windows never trained on: the last fiftieth of each array, and for storyworld stories of another seed."""
        context, out = self.spec.context, {}
        for name, array in self.arrays.items():
            if name == "storyworld":
                array = _encoded(
                    _until(
                        documents(self.spec.seed + HELD_OUT_SEED, variety=self.spec.variety, wider=self.spec.wider),
                        self.tokenizer,
                    ),
                    200 * context,
                    None,
                )
                tail = array
            else:
                tail = array[self._train_end(array) :]
            count = min(200, len(tail) // context)
            out[name] = tail[: count * context].reshape(count, context).astype(np.int64)
        return out


def _until(stream: Iterator[str], tokenizer) -> Iterator[list[int]]:
    """Documents as token lists with the end sign before each."""
    end = tokenizer.token_to_id(END)
    chunk: list[str] = []
    for text in stream:
        chunk.append(text)
        if len(chunk) == 1000:
            yield from ([end, *encoding.ids] for encoding in tokenizer.encode_batch(chunk, add_special_tokens=False))
            chunk = []
    yield from ([end, *encoding.ids] for encoding in tokenizer.encode_batch(chunk, add_special_tokens=False))


def _encoded(pieces: Iterator[list[int]], needed: int | None, path: Path | None) -> np.ndarray:
    """One flat array of at least `needed` tokens (all there are when None), kept at `path`."""
    if path is not None and path.exists():
        return np.load(path, mmap_mode="r")
    parts, total = [], 0
    for piece in pieces:
        parts.append(np.asarray(piece, dtype=np.uint16))
        total += len(piece)
        if needed is not None and total >= needed:
            break
    array = np.concatenate(parts) if parts else np.zeros(0, np.uint16)
    if path is not None:
        packed = io.BytesIO()  # numpy writes to a file itself, and then a full disk has no error number
        np.save(packed, array)
        replace_file(path, lambda part: part.write_bytes(packed.getbuffer()))
    return array


def _tokenizer(spec: PretrainSpec, folder: Path):
    """A byte-level BPE learned on a sample of the mixture, where the run begins from nothing; digits stand alone."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    path = folder / "tokenizer.json"
    if path.exists():
        return Tokenizer.from_file(str(path))
    if spec.start:
        tokenizer = Tokenizer.from_file(str(Path(spec.start) / "tokenizer.json"))
        _write(path, tokenizer.to_str(pretty=True))
        return tokenizer

    def sample() -> Iterator[str]:
        yield from islice(documents(spec.seed, variety=spec.variety, wider=spec.wider), spec.sample_documents)
        for entry in spec.corpus:
            budget = 6_000_000
            for text in texts(entry):
                yield text
                budget -= len(text)
                if budget < 0:
                    break

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    _write(path, tokenizer.to_str(pretty=True))
    return tokenizer


# ---- the run


class Optimiser:
    """Muon for the matrices between embedding and head, AdamW for the rest."""

    def __init__(self, model: Llama, spec: PretrainSpec):
        named = dict(model.named_parameters())
        hidden = {name for name, weight in named.items() if weight.dim() == 2 and "embed_tokens" not in name}
        self.names: dict[torch.Tensor, str] = {weight: name for name, weight in named.items()}
        matrices = [named[name] for name in named if name in hidden]
        rest = [named[name] for name in named if name not in hidden]
        self.parts = (
            Muon(matrices, spec.hidden_lr, weight_decay=spec.weight_decay),
            torch.optim.AdamW(rest, spec.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        )
        self.lrs = (spec.hidden_lr, spec.lr)

    def step(self, share: float) -> None:
        """One update at this share of the learning rates; the gradients are cleared."""
        for part, lr in zip(self.parts, self.lrs, strict=True):
            for group in part.param_groups:
                group["lr"] = lr * share
            part.step()
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What it remembers, as `kind.parameter`."""
        return {
            f"{kind}.{self.names[weight]}": value
            for part in self.parts
            for weight, kinds in part.state.items()
            for kind, value in kinds.items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        for part, kinds in zip(self.parts, (("momentum_buffer",), ("step", "exp_avg", "exp_avg_sq")), strict=True):
            for weight in part.param_groups[0]["params"]:
                name = self.names[weight]
                part.state[weight] = {
                    kind: tensors[f"{kind}.{name}"].to(weight.device if kind != "step" else "cpu") for kind in kinds
                }


def _maybe_compiled(model: Llama, spec: PretrainSpec):
    import shutil

    if spec.compile and shutil.which("g++"):
        return torch.compile(model.loss)
    return model.loss


def _same_spec(spec: PretrainSpec, path: Path) -> None:
    """The settings of a run that is gone on with must be the ones it began with."""
    free = {"out", "compile", "save_seconds", "data_note"}
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(spec).items()}
    if path.exists():
        before = json.loads(path.read_text())
        changed = [
            field.name
            for field in fields(spec)
            if field.name not in free and before.get(field.name, field.default) != settings[field.name]
        ]
        if changed:
            raise ValueError(
                f"{path.parent.parent} holds a run with other settings ({', '.join(changed)}): name another out"
            )
    else:
        _write(path, json.dumps(settings, indent=2) + "\n")


def _check_start(spec: PretrainSpec) -> None:
    """ValueError where the model to begin with is not one of this shape that an earlier run left."""
    folder = Path(spec.start)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: start is a folder that `saes pretrain` left")
    held = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    other = [name for name, value in spec.shape.hugging_face().items() if held.get(name) != value]
    if other:
        raise ValueError(
            f"{folder} is a model of another shape: "
            + ", ".join(f"{name} {held.get(name)} (wanted {spec.shape.hugging_face()[name]})" for name in other)
        )


def _save_state(model: Llama, optimiser: Optimiser, step: int, seconds: float, folder: Path) -> None:
    tensors = {f"model.{name}": weight.detach() for name, weight in model.named_parameters()} | optimiser.tensors()
    packed = save(tensors, {"step": str(step), "seconds": str(seconds)})
    replace_file(folder / "state.safetensors", lambda part: part.write_bytes(packed))


def _resume(model: Llama, optimiser: Optimiser, folder: Path) -> tuple[int, float]:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0, 0.0
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors, step = load_file(path), int(about["step"])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(tensors[f"model.{name}"])
    optimiser.load(tensors)
    return step, float(about["seconds"])


@torch.no_grad()
def held_out_loss(model: Llama, windows: np.ndarray) -> float:
    """Mean next-token cross-entropy in nats over the windows `[window, token]`."""
    device = next(model.parameters()).device
    total = sum(
        model.loss(torch.from_numpy(part).to(device)).item() * len(part)
        for part in np.array_split(windows, max(1, len(windows) // 16))
    )
    return total / len(windows)


# ---- what it leaves


def save_hugging_face(model: Llama, tokenizer: Path, out: Path) -> None:
    """config.json, model.safetensors (bfloat16), tokenizer.json: a folder that AutoModelForCausalLM opens."""
    end = _end_id(tokenizer)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **model.shape.hugging_face(),
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "dtype": "bfloat16",
    }
    weights = {name: weight.detach().to(torch.bfloat16).contiguous().cpu() for name, weight in model.named_parameters()}
    packed = save(weights, {"format": "pt"})
    replace_file(out / "model.safetensors", lambda part: part.write_bytes(packed))
    _write(out / "config.json", json.dumps(config, indent=2) + "\n")
    replace_file(out / "tokenizer.json", lambda part: part.write_bytes(tokenizer.read_bytes()))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END, "pad_token": END,
             "model_max_length": model.shape.context, "clean_up_tokenization_spaces": False}  # fmt: skip
    _write(out / "tokenizer_config.json", json.dumps(about, indent=2) + "\n")
    generation = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    _write(out / "generation_config.json", json.dumps(generation, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    """The file whole, or as it was."""
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def _end_id(tokenizer: Path) -> int:
    return next(token["id"] for token in json.loads(tokenizer.read_text())["added_tokens"] if token["content"] == END)


def samples(folder: Path, tokens: int = 80) -> list[str]:
    """Ten texts, from fixed openings and a fixed seed."""
    from training.language_models.opening import open_model

    model = open_model(str(folder), device="cpu")
    written = model.generate(
        list(OPENINGS), max_new_tokens=min(tokens, model.context - 16), temperature=0.7, top_p=0.95, seed=0
    )
    return [opening + text for opening, text in zip(OPENINGS, written, strict=True)]


def model_card(
    spec: PretrainSpec, model: Llama, sources: Sources, held_out: dict, seconds: float, texts_: list[str], kind: str
) -> str:
    """The README.md of the folder: data, tokens, recipe, hardware, loss, samples.

    ``kind`` is what it was trained on: cpu or cuda.
    """
    count = sum(weight.numel() for weight in model.parameters())
    shares = "\n".join(
        f"| {name} | {share:.1%} | {len(sources.arrays[name]):,} | {held_out[name]:.3f} ({math.exp(held_out[name]):.1f}) |"
        for name, share in zip(sources.arrays, sources.weights, strict=True)
    )
    settings = ", ".join(
        f"{key}={value}" for key, value in asdict(spec).items() if key not in ("out", "corpus", "data_note")
    )
    quoted = "\n\n".join("> " + text.replace("\n", "\n> ") for text in texts_)
    hardware = f"on the CPU with {torch.get_num_threads()} threads" if kind == "cpu" else f"on {kind}"
    return CARD.format(
        start=f"the weights of {spec.start}" if spec.start else "nothing", data_note=spec.data_note,
        parameters=f"{count:,}", tokens=f"{spec.steps * spec.batch_windows * spec.context:,}", shares=shares, settings=settings,
        hours=f"{seconds / 3600:.1f}", hardware=hardware, samples=quoted, layers=spec.n_layers, d_model=spec.d_model,
        vocab=spec.vocab_size, context=spec.context, torch=torch.__version__.split("+")[0],
    )  # fmt: skip


CARD = """---
license: apache-2.0
language: en
pipeline_tag: text-generation
---
# A small storyteller

A Llama of {parameters} parameters ({layers} layers, d_model {d_model}, vocabulary {vocab}, context {context}), trained from
{start} by `saes pretrain` to write short plain-English stories in which feelings decide what people do. It is meant for
trying interpretability tools, and for nothing else: it knows no facts, and it repeats the attitudes of its sources.

| source | share of the windows | tokens held | held-out loss in nats (perplexity) |
|---|---|---|---|
{shares}

Storyworld is written by this project (Apache-2.0). {data_note}

Trained on {tokens} tokens in {hours} hours {hardware} (torch {torch}).
Settings: {settings}

## Ten samples, not selected (temperature 0.7, top-p 0.95, seed 0)

{samples}
"""
