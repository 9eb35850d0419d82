"""Is a label needed where its concept is? The loss on emotion-bearing tokens when its latents are ablated.

Emotion-bearing are the words that speak most for the concept by its judge, which was trained on other texts and knows no
SAE. On the concept's checking texts, the rise of the loss on their tokens is compared with the rise elsewhere, and that
contrast with what ablating latents that fire as often does on the same texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from analysis.clamping.judge import Judge
from analysis.clamping.plan import like_latents
from analysis.clamping.verdict import VerdictRule, bootstrap_means, rank_p
from analysis.concepts.concept import ConceptSet
from analysis.labelling.lexical import words_of
from analysis.observe import observe
from analysis.records import Label, Necessity
from saes.dictionary import Dictionary
from saes.intervention import Edit, Intervention, RowInterventions
from training.language_models.language_model import LanguageModel

WORDS = 40
"""Of each concept that are looked for."""
CONTROLS = 20
"""Groups of latents ablated beside each label."""
MOST_TEXTS = 12
"""Checking texts of each concept that are read, the first in order."""
ROWS = 64


@dataclass(frozen=True)
class Reading:
    """A concept's checking texts, read once."""

    texts: list[str]
    bearing: list[Bool[np.ndarray, " token"]]
    """[text][token] whether the token belongs to an emotion-bearing word."""
    known: list[Bool[np.ndarray, " token"]]
    """[text][token] whether its loss counts: text, and not the first token."""
    loss: list[Float[np.ndarray, " token"]]
    """[text][token] without any ablation."""
    fires: list[set[int]]
    """[text] the latents that fire anywhere in it: ablating others changes nothing."""
    words: list[str]
    """The emotion-bearing words that stand in the texts."""


def necessity(
    labels: Sequence[Label],
    concept_set: ConceptSet,
    model: LanguageModel,
    dictionary: Dictionary,
    hook_name: str,
    judge: Judge,
    density: Float[np.ndarray, " d_sae"],
    taken: Sequence[int],
    rule: VerdictRule,
    seed: int = 0,
    progress: Callable[[int], object] = lambda labels: None,
) -> list[Necessity]:
    """A row for each label whose concept's checking texts hold words of its judge, beside others."""
    rows = []
    for number, label in enumerate(labels):
        texts = [text.text for text in concept_set.concepts[label.concept].of("checking")][:MOST_TEXTS]
        reading = read(model, dictionary, hook_name, texts, judge.words(label.concept, WORDS))
        rng = np.random.default_rng([seed, number])
        groups = [like_latents([label.latents], density, taken, rng)[0] for _ in range(CONTROLS)]
        found = contrasts([list(label.latents), *groups], reading, model, dictionary, hook_name)
        if found.shape[1]:
            rows.append(_row(label, reading, found, rule, seed))
        progress(1)
    return rows


def read(
    model: LanguageModel, dictionary: Dictionary, hook_name: str, texts: Sequence[str], words: Sequence[str]
) -> Reading:
    """The texts with their losses, and where the emotion-bearing words stand."""
    seen = observe(model, dictionary, hook_name, texts)
    fires: list[set[int]] = [set() for _ in texts]
    for text, latent in zip(seen.firings.text.tolist(), seen.firings.latent.tolist(), strict=True):
        fires[text].add(latent)
    tokens = model.tokenise(list(texts)).to(model.device)
    log_probs = model.log_probs(tokens).float().cpu().numpy()
    lengths, keep = tokens.real.sum(dim=1).tolist(), tokens.keep.cpu().numpy()
    bearing, known, met = [], [], set()
    for place, strings in enumerate(seen.strings):
        kept = keep[place, : lengths[place]]
        where, stand = bearing_tokens(
            [token if real else "" for token, real in zip(strings, kept, strict=True)], set(words)
        )
        counts = kept.copy()
        counts[0] = False
        bearing.append(where)
        known.append(counts)
        met |= stand
    losses = [-log_probs[place, :length] for place, length in enumerate(lengths)]
    return Reading(list(texts), bearing, known, losses, fires, [word for word in words if word in met])


def bearing_tokens(tokens: Sequence[str], words: set[str]) -> tuple[Bool[np.ndarray, " token"], set[str]]:
    """Which tokens have a letter in one of the words, and which of the words stand there."""
    where, found = np.zeros(len(tokens), dtype=bool), set()
    for word, place in words_of(tokens):
        if word in words:
            where[place] = True
            found.add(word)
    return where, found


def contrasts(
    groups: Sequence[Sequence[int]], reading: Reading, model: LanguageModel, dictionary: Dictionary, hook_name: str
) -> Float[np.ndarray, "group text 2"]:
    """Rise of the loss on bearing tokens and elsewhere when each group is ablated, over texts that have both."""
    usable = [
        place
        for place, (bearing, known) in enumerate(zip(reading.bearing, reading.known, strict=True))
        if (bearing & known).any() and (~bearing & known).any()
    ]
    rise = np.zeros((len(groups), len(usable), 2))
    pairs = [
        (group, at)
        for group, latents in enumerate(groups)
        for at, place in enumerate(usable)
        if reading.fires[place] & set(latents)
    ]
    pairs.sort(key=lambda pair: len(reading.loss[usable[pair[1]]]))  # alike in length
    for start in range(0, len(pairs), ROWS):
        batch = pairs[start : start + ROWS]
        edits = [Intervention((Edit(tuple(groups[group]), 0.0, "ablate"),)) for group, _ in batch]
        tokens = model.tokenise([reading.texts[usable[at]] for _, at in batch])
        ablated = model.log_probs(tokens, {hook_name: RowInterventions(edits).hook(dictionary)}).float().cpu().numpy()
        for row, (group, at) in zip(ablated, batch, strict=True):
            place = usable[at]
            change = -row[: len(reading.loss[place])] - reading.loss[place]
            for sort, tokens_of in enumerate((reading.bearing[place], ~reading.bearing[place])):
                rise[group, at, sort] = change[tokens_of & reading.known[place]].mean()
    return rise


def _row(
    label: Label, reading: Reading, rise: Float[np.ndarray, "group text 2"], rule: VerdictRule, seed: int
) -> Necessity:
    contrast = rise[..., 0] - rise[..., 1]
    mean, low, high = (float(part[0]) for part in bootstrap_means(contrast[0][:, None], rule, seed))
    others = contrast[1:].mean(axis=1)
    n_bearing = sum(int((one & known).sum()) for one, known in zip(reading.bearing, reading.known, strict=True))
    return Necessity(
        label.concept, list(label.latents), reading.words, float(rise[0, :, 0].mean()), float(rise[0, :, 1].mean()),
        mean, low, high, float(others.mean()), float(others.max()), rank_p(mean, others), len(others),
        contrast.shape[1], n_bearing,
    )  # fmt: skip
