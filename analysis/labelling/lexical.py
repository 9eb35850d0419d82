"""Is it the concept, or its name? Which tokens name it, and what is left of a label without them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.firings import Firings
from analysis.labelling.choose import Pools
from analysis.labelling.lexical_rule import is_lexical
from analysis.labelling.scores import aurocs
from analysis.labelling.split import TextTable
from analysis.records import Label


@dataclass(frozen=True)
class Masked:
    """Checking texts that name their concept, read again with a neutral word in the name's place."""

    texts: list[int]
    """Their numbers in the table."""
    pools: Pools | None
    """None where no text names its concept."""

    def values_of(self, label: Label) -> dict[int, float]:
        if self.pools is None:
            return {}
        return dict(zip(self.texts, values_of(self.pools, label).tolist(), strict=True))


def values_of(pools: Pools, label: Label) -> np.ndarray:
    """[text] the label's value."""
    return pools.score(label.pooling, label.latents, label.scales)


def against_its_name(
    label: Label, pools: Pools, masked: Masked, strings: Sequence[Sequence[str]], table: TextTable, names: Sequence[str]
) -> Label:
    """The label with its lexical evidence; one that detects the concept's name is no longer held.

    `strings` [text] its tokens, `names` those of the concept.
    """
    own, others = table.positives(label.concept, "checking"), table.negatives(label.concept, "checking")
    share = lexical_share(pools.firings, label, own, {int(text): naming_tokens(strings[text], names) for text in own})
    values, without = values_of(pools, label), masked.values_of(label)
    hidden = np.array([without.get(int(text), values[text]) for text in own])
    score = float(aurocs(hidden[:, None], values[others, None])[0])
    lexical = is_lexical(share, label.auroc_checking, score)
    status = "rejected" if lexical else label.status
    return replace(label, lexical_share=share, auroc_masked=score, lexical=lexical, status=status)


def lexical_share(firings: Firings, label: Label, texts: np.ndarray, naming: Mapping[int, np.ndarray]) -> float:
    """Of the label's firing on these texts, the share on tokens of words that name the concept, from 0 to 1.

    `naming`: text -> bool array over tokens. The firings are in the order of texts.
    """
    scale = dict(zip(label.latents, label.scales, strict=True))
    total = named = 0.0
    for text in map(int, texts):
        here = slice(*np.searchsorted(firings.text, [text, text + 1]))
        for latent, size in scale.items():
            mine = firings.latent[here] == latent
            weight = firings.value[here][mine] / max(size, 1e-12)
            total += float(weight.sum())
            named += float(weight[naming[text][firings.token[here][mine]]].sum())
    return named / total if total else 0.0


def naming_tokens(strings: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Which tokens belong to a word that begins with one of `names`, or to a phrase that is one: bool over tokens."""
    spoken = words_of(strings)
    hit = np.zeros(len(strings), dtype=bool)
    for parts in (re.findall(r"\w+", name.lower()) for name in names):
        for first in range(len(spoken) - len(parts) + 1):
            phrase = spoken[first : first + len(parts)]
            if all(word.startswith(part) for (word, _), part in zip(phrase, parts, strict=True)):
                for _, tokens in phrase:
                    hit[tokens] = True
    return hit


def words_of(strings: Sequence[str]) -> list[tuple[str, slice]]:
    """Each word of the text that these tokens make, in lower case, with the tokens that hold a letter of it."""
    ends = np.cumsum([len(string) for string in strings])
    found = []
    for word in re.finditer(r"\w+", "".join(strings)):
        first, last = np.searchsorted(ends, [word.start(), word.end() - 1], side="right")
        found.append((word[0].lower(), slice(int(first), int(last) + 1)))
    return found
