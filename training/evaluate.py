"""How good a dictionary is on text: what it explains, how sparsely, and what the language model loses by it."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from saes import quality
from saes.absorption import absorption_of
from saes.autoencoder import SparseAutoencoder
from saes.dictionary import Dictionary
from saes.formats.layout import layout_at, layout_of, layouts_inside
from saes.opening import find_sae, known_site, open_dictionary
from saes.projections import Projections
from saes.sparsity import SparseCode
from training.activations.harvest import harvested
from training.language_models.language_model import LanguageModel, Tokens
from training.language_models.opening import open_model
from training.patched_loss import NOTHING_PREDICTED, averaged, losses_of, reconstructed
from training.spec import TrainSpec
from training.spliced import evaluate_at, places_of
from training.windows import held_out_windows

QUALITY = "quality.json"

LOGITS_AT_ONCE = 2**27
"""Numbers in the logits of the windows that are judged together: a batch is cut smaller for a large vocabulary."""

FIRINGS_KEPT = 2**22
"""Firings from which absorption is told: kept until the end, so no more than fit."""


@torch.no_grad()
def evaluate(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, token_batches: Iterable[Tokens], seed: int = 0
) -> dict[str, Any]:
    """The quality of ``dictionary`` at ``hook_name``.

    Over ``rows`` activations: explained_variance (against the mean), l0 (latents that fire a token), dead (share of
    latents that fired at no token), density_histogram, and under SAELens' names mse, cossim, l1, l2_norm_in,
    l2_norm_out, l2_ratio and relative_reconstruction_bias; absorption and splitting (proxies, see saes.absorption).

    Over ``tokens`` predicted tokens: ce, ce_patched, ce_ablated, ce_recovered and the same with kl, and under their own
    names SAELens' versions of them (see patched_loss), judged once over all tokens: a last window of one token alone
    could not be.

    Of the weights: max_decoder_cosine (mean over latents of the highest cosine with another), near_duplicates (share of
    latents with one above 0.9), and for an autoencoder encoder_decoder_cosine_sim (mean).
    """
    width = model.width(hook_name)
    if dictionary.d_in != width:
        raise ValueError(
            f"expected d_in {dictionary.d_in}, got {width} at {hook_name}: the dictionary is of another site"
        )
    sums: Counter[str] = Counter()
    total = torch.zeros(width, dtype=torch.float64)
    counts = torch.zeros(dictionary.d_sae)
    losses: Counter[str] = Counter()
    kept: list[SparseCode] = []
    for number, tokens in enumerate(_judged_together(token_batches, len(model.unembedding()))):
        x = harvested(model, hook_name, tokens, number).rows().float()
        x_hat = reconstructed(dictionary, x)
        code = dictionary.encode_sparse(x)
        sums.update(_sums(x, x_hat, code))
        total += x.double().sum(0).cpu()
        counts += (quality.density(code, dictionary.d_sae) * len(x)).cpu()
        if sum(part.values.numel() for part in kept) < FIRINGS_KEPT:
            kept.append(code)
        losses.update(losses_of(model, dictionary, hook_name, tokens) or {})
    rows = int(sums["rows"])
    if not rows:
        raise ValueError("no activations to measure the quality on: is the corpus empty?")
    if not losses["tokens"]:
        raise ValueError(NOTHING_PREDICTED)
    variance = sums["squares"] - float(total.square().sum()) / rows
    signs = absorption_of(_joined(kept), dictionary.directions, seed)
    cosines = quality.max_decoder_cosine(dictionary.directions, seed)
    found = {
        "explained_variance": 1 - sums["error"] / variance,
        "l0": sums["fired"] / rows,
        "dead": float(quality.dead(counts)),
        **averaged(losses),
        "rows": rows,
        "mse": sums["error"] / rows,
        "cossim": sums["cossim"] / rows,
        "l1": sums["l1"] / rows,
        "l2_norm_in": sums["l2_norm_in"] / rows,
        "l2_norm_out": sums["l2_norm_out"] / rows,
        "l2_ratio": sums["l2_ratio"] / rows,
        "relative_reconstruction_bias": sums["squares_out"] / sums["products"] if sums["products"] else None,
        "density_histogram": quality.density_histogram(counts / rows),
        "max_decoder_cosine": float(cosines.mean()),
        "near_duplicates": float((cosines > 0.9).float().mean()),
        "absorption": signs.absorption,
        "splitting": signs.splitting,
    }
    if isinstance(dictionary, SparseAutoencoder):
        both = quality.encoder_decoder_cosine(dictionary.W_enc, dictionary.W_dec)
        found["encoder_decoder_cosine_sim"] = float(both.mean())
    return found


# ---- checkpoints


@dataclass(frozen=True)
class HeldOut:
    """The text on which checkpoints are judged; None is what each checkpoint was trained with."""

    tokens: int | None = None
    """About how many tokens; None is 32,768, or as many as its spec says."""
    corpus: str | None = None
    model: str | None = None
    """Language model to judge with."""
    hook_name: str | None = None
    """The place that a checkpoint was trained at, for one that does not say it."""
    seed: int = 0
    """Draws the latents that the absorption proxy and the cosines look at, where they are many."""


def find_checkpoints(names: Sequence[str | Path]) -> list[Path]:
    """What ``names`` mean, in any format; a folder that holds no checkpoint itself stands for all that lie in it."""
    found: list[Path] = []
    for name in names:
        place = find_sae(name)
        inside = [] if layout_at(place) or not place.is_dir() else [one.path for one in layouts_inside(place)]
        found += inside or [layout_of(place).path]
    return list(dict.fromkeys(found))


def evaluate_checkpoints(
    folders: Sequence[Path], held_out: HeldOut = HeldOut(), device: str = "auto", progress: bool = True
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each checkpoint (ours or SAELens') with its quality on held-out windows; a language model is opened once.

    To evaluate, beside its figures: what it was judged on (corpus, model, hook_name), and ``held_out``, False where no
    spec says that the documents were kept from the training.
    """
    opened: dict[tuple, LanguageModel] = {}
    for folder in folders:
        sae, site, metadata = open_dictionary(folder, model=held_out.model, hook_name=held_out.hook_name)
        site = known_site(site, folder)
        spec = _spec_beside(folder)
        name, corpus = (
            held_out.model or site.model,
            held_out.corpus or spec.get("corpus") or metadata.get("dataset_path"),
        )
        if not corpus:
            raise ValueError(f"{folder} does not say what it was trained on: name a text with --corpus")
        key = (name, site.revision, site.numerics)
        if key not in opened:
            opened[key] = open_model(
                name, device, site.numerics, revision=site.revision if not held_out.model else None
            )
        model = opened[key]
        read = TrainSpec(
            corpus=corpus,
            corpus_split=spec.get("corpus_split"),
            corpus_column=spec.get("corpus_column") or "text",
            context=spec.get("context") or metadata.get("context_size"),
            window_batch=spec.get("window_batch") or 32,
            held_out_tokens=held_out.tokens or spec.get("held_out_tokens") or 32_768,
        )
        batches = held_out_windows(read, model)
        shown = tqdm(total=read.held_out_tokens, desc=folder.name, unit="tok", unit_scale=True, disable=not progress)
        with shown:
            sae, batches = sae.to(model.device), _counted(batches, shown)
            places = None if isinstance(sae, Projections) else places_of(sae, site.hook_name, metadata)
            if isinstance(sae, Projections) or places is None or places.is_one:
                found = evaluate(model, sae, site.hook_name, batches, held_out.seed)
            else:
                found = evaluate_at(model, sae, places, batches)
        judged_on = {"corpus": str(corpus), "model": name, "hook_name": site.hook_name}
        yield folder, found | judged_on | {"held_out": bool(spec) and str(corpus) == spec.get("corpus")}


# ---- small things


def _sums(x: torch.Tensor, x_hat: torch.Tensor, code: SparseCode) -> dict[str, float]:
    """What adds up over batches."""
    length, length_out = x.norm(dim=1), x_hat.norm(dim=1)
    products = (x * x_hat).sum(1)
    parts = {
        "error": (x - x_hat).double().square(),
        "squares": x.double().square(),
        "squares_out": x_hat.double().square(),
        "products": products,
        "cossim": products / (length * length_out).clamp(min=1e-12),
        "l1": code.values,
        "fired": code.values > 0,
        "l2_norm_in": length,
        "l2_norm_out": length_out,
        "l2_ratio": length_out / torch.where(length < 1e-4, 1.0, length),  # as SAELens guards it
    }
    return {"rows": len(x), **{name: float(part.double().sum()) for name, part in parts.items()}}


def _judged_together(token_batches: Iterable[Tokens], vocabulary: int) -> Iterator[Tokens]:
    for tokens in token_batches:
        yield from tokens.batches(max(1, LOGITS_AT_ONCE // (vocabulary * max(1, tokens.ids.shape[1]))))


def _joined(codes: Sequence[SparseCode]) -> SparseCode:
    width = max(code.values.shape[1] for code in codes)
    padded = [[torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in code] for code in codes]
    values, latents = zip(*padded, strict=True)
    return SparseCode(torch.cat(values), torch.cat(latents))


def _counted(batches: Iterable[Tokens], bar: tqdm) -> Iterator[Tokens]:
    for batch in batches:
        yield batch
        bar.update(batch.ids.numel())


def _spec_beside(folder: Path) -> dict[str, Any]:
    path = folder / "spec.json"
    return json.loads(path.read_text()) if path.exists() else {}
