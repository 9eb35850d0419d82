"""Is it the concept, or its name? The words that name it, masked texts, and the rule for a lexical label."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.firings import Firings
from analysis.records import Label

MASK = "thing"
"""Stands for a word that names the concept: one that carries no feeling, and that any tokenizer knows."""
MOST_SHARE = 0.5
MOST_LOST = 0.5


def is_lexical(lexical_share: float, checking: float, masked: float) -> bool:
    """The rule: more than half of the firing on checking texts falls on words that name the concept, or masking them
    takes away more than half of what the AUROC has above chance."""
    lost = max(0.0, checking - 0.5) * MOST_LOST
    return lexical_share > MOST_SHARE or masked - 0.5 < lost


def masked(text: str, names: Sequence[str]) -> str:
    """The text with MASK for every word that begins with one of `names`; the same text where there is none."""
    beginnings = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![^\W_])(?:{beginnings})[^\W_]*", MASK, text, flags=re.IGNORECASE)


def lexical_share(firings: Firings, label: Label, texts: np.ndarray, naming: Mapping[int, np.ndarray]) -> float:
    """Of the label's firing on these texts, the share on tokens of words that name the concept, from 0 to 1.

    `naming`: text -> bool array over tokens.
    """
    inside = np.isin(firings.latent, label.latents) & np.isin(firings.text, texts)
    scale = dict(zip(label.latents, label.scales, strict=True))
    weight = np.array([1.0 / max(scale[latent], 1e-12) for latent in firings.latent[inside]]) * firings.value[inside]
    named = np.array(
        [naming[text][token] for text, token in zip(firings.text[inside], firings.token[inside], strict=True)],
        dtype=bool,
    )
    return float(weight[named].sum() / weight.sum()) if weight.sum() else 0.0


def naming_tokens(strings: list[str], names: Sequence[str]) -> np.ndarray:
    """Which tokens belong to a word that begins with one of `names`: bool over tokens."""
    words: list[str] = []
    owner, last = [], ""
    for string in strings:
        starts = not words or not string[:1].isalpha() or not last[-1:].isalpha()
        last = string
        if starts and string.strip():
            words.append("")
        if not words:
            words.append("")
        words[-1] += string.strip().lower()
        owner.append(len(words) - 1)
    hit = [any(word.lstrip("\"'(").startswith(name) for name in names) for word in words]
    return np.array([hit[place] for place in owner], dtype=bool)
