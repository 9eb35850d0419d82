"""A world of firings whose truth is known: which latent carries which concept, and what only looks like it.

No language model is needed: texts are numbers of tokens with a topic, some of which name their concept, and an SAE's firings
on them are drawn. Most latents are distracting: their densities are log-normal, as those of published SAEs are, and a third
of them follow a topic. Concepts come in families of three and are of these kinds:

- `carried`: a latent whose AUROC is a given number, counted by its largest value in a text.
- `null`: nothing.
- `topical`: a latent that fires at a topic which the concept's finding texts have and no other split has.
- `leaky`: the same, but a third of the texts of other splits have the topic, too.
- `lexical`: a latent that fires at the concept's name and nowhere else. A third of the texts name their concept.
- `wordy`: the same, but nine tenths of the concept's texts name it, so that the score alone would not give it away.
- `split`: two latents, each of which fires at half of the texts.
- `absorbed`: a latent that is silent at a quarter of the texts, where a narrower one fires instead.
- `kin`: one latent that fires at the texts of a whole family, whose three concepts are all of this kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.concepts.concept import NEUTRAL
from analysis.firings import Firings
from analysis.labelling.choose import Pools
from analysis.labelling.lexical import Masked
from analysis.labelling.split import TextTable

KINDS = ("carried", "null", "topical", "leaky", "lexical", "wordy", "split", "absorbed", "kin")
STRENGTH = 0.95
"""AUROC of what is planted for all kinds but `carried`, where nothing else is said of them."""
BACKGROUND = 0.05
"""Share of other texts at which a planted latent fires."""
RISE = 1.0
"""By how much a planted latent's value at its concept's texts exceeds an exponential one of mean 1, which it has elsewhere."""
NAMED = {"wordy": 0.9}
NAMED_ELSE = 1 / 3
"""Share of a concept's texts that name it, as in the bundled set."""
ABSORBED = 0.25
LEAKED = 1 / 3
TOPICS = 30
FAMILY = 3


@dataclass(frozen=True)
class Design:
    """How large a world is, and what is planted in it."""

    finding: int = 16
    """Texts a concept."""
    checking: int = 12
    implicit: int = 6
    neutral: int = 24
    """Texts without a concept, for finding as for checking."""
    d_sae: int = 2048
    density: tuple[float, float] = (-2.7, 0.7)
    """Mean and spread of the decimal logarithm of a distracting latent's share of tokens."""
    carried: tuple[float, ...] = (0.95,) * 6 + (0.9,) * 3 + (0.8,) * 3
    """The AUROC of each concept that a latent carries."""
    kinds: tuple[str, ...] = (
        *("null",) * 5, *("topical",) * 2, *("leaky",) * 2, *("lexical",) * 2, *("wordy",) * 2, "split", "absorbed",
    )  # fmt: skip
    """Of each further concept; a family of `kin` comes on top."""


@dataclass(frozen=True)
class Planted:
    """The truth about one concept."""

    kind: str
    strength: float
    """AUROC of the planted latent (or of all of them together); 0.5 for none."""
    latents: tuple[int, ...]
    """What the concept's texts make fire: of a decoy, the decoy."""


@dataclass(frozen=True)
class World:
    table: TextTable
    strings: list[list[str]]
    """[text][token]"""
    firings: Firings
    planted: dict[str, Planted]

    @property
    def families(self) -> dict[str, list[str]]:
        """concept -> itself and its siblings."""
        of = self.table.family_of
        return {name: [other for other in self.planted if of[other] == of[name]] for name in self.planted}

    def masked(self) -> Masked:
        """The checking texts that name their concept, with a neutral word in the name's place: nothing fires there."""
        naming = {
            text: [place for place, string in enumerate(self.strings[text]) if string.strip() == concept]
            for text, concept in enumerate(self.table.concept)
            if self.table.split[text] == "checking"
        }
        texts = [text for text, places in naming.items() if places]
        seen = self.firings.of_texts(np.array(texts, dtype=int))
        named = np.array([naming[text][0] for text in texts], dtype=int)
        kept = seen.token != named[seen.text] if texts else np.zeros(0, dtype=bool)
        hidden = Firings(
            seen.text[kept], seen.token[kept], seen.latent[kept], seen.value[kept], seen.n_tokens, seen.d_sae
        )
        return Masked(texts, Pools(hidden) if texts else None)


def hit_rate(auroc: float) -> float:
    """Share of a concept's texts at which its latent has to fire for this AUROC.

    Fired at both, the concept's text wins with probability w = 1 - exp(-RISE) / 2, two exponentials being compared; with f
    for BACKGROUND and h for the share, AUROC = (1 - f) (h + (1 - h) / 2) + f h w.
    """
    silent = 1 - BACKGROUND
    share = (auroc - silent / 2) / (silent / 2 + BACKGROUND * (1 - np.exp(-RISE) / 2))
    if not 0 <= share <= 1:
        raise ValueError(f"no share of firing texts has an AUROC of {auroc:g}: up to {_auroc(1):.3f} would do")
    return float(share)


def _auroc(share: float) -> float:
    silent = 1 - BACKGROUND
    return silent * (1 + share) / 2 + BACKGROUND * share * (1 - np.exp(-RISE) / 2)


def draw_world(design: Design, rng: np.random.Generator) -> World:
    """One world; every drawing of texts, latents and firings is `rng`'s."""
    planted = _plan(design, rng)
    kin = [name for name, one in planted.items() if one.kind == "kin"]
    rest = [str(name) for name in rng.permutation([name for name in planted if name not in kin])]
    family = {name: f"family {place // FAMILY}" for place, name in enumerate(rest)} | dict.fromkeys(kin, "kin")
    rows = [
        (name, family[name], split)
        for name in planted
        for split, count in (("finding", design.finding), ("checking", design.checking), ("implicit", design.implicit))
        for _ in range(count)
    ]
    rows += [(NEUTRAL, NEUTRAL, split) for split in ("finding", "checking") for _ in range(design.neutral)]
    concept, families, split = (np.array(column) for column in zip(*rows, strict=True))
    topic = rng.integers(TOPICS, size=len(rows))
    n_tokens = rng.integers(16, 33, size=len(rows))
    share = np.array([NAMED.get(planted[name].kind, NAMED_ELSE) if name != NEUTRAL else 0.0 for name in concept])
    named = (rng.random(len(rows)) < share) & (split != "implicit")
    name_place = np.where(named, rng.integers(n_tokens), -1)

    taken = [latent for one in planted.values() for latent in one.latents]
    cells = [_distracting(design, taken, topic, n_tokens, rng)]
    drawer = _Drawer(n_tokens, name_place, rng)
    for name in rest:
        cells += _firing(planted[name], concept == name, split, drawer)
    cells += _firing(planted[kin[0]], np.isin(concept, kin), split, drawer)
    text, token, latent, value = (np.concatenate(column) for column in zip(*cells, strict=True))
    order = np.lexsort((latent, token, text))
    firings = Firings(text[order], token[order], latent[order], value[order], n_tokens, design.d_sae)
    strings = [[" word"] * length for length in n_tokens]
    for place in np.flatnonzero(named):
        strings[place][name_place[place]] = f" {concept[place]}"
    table = TextTable(
        ["".join(tokens) for tokens in strings], concept, families, split, np.char.add("topic ", topic.astype(str))
    )
    return World(table, strings, firings, planted)


def _plan(design: Design, rng: np.random.Generator) -> dict[str, Planted]:
    kinds = [("carried", strength) for strength in design.carried]
    kinds += [(kind, 0.5 if kind == "null" else STRENGTH) for kind in (*design.kinds, *("kin",) * FAMILY)]
    free = rng.permutation(design.d_sae).tolist()
    shared = (free.pop(),)
    planted = {}
    for number, (kind, strength) in enumerate(kinds):
        count = {"null": 0, "split": 2, "absorbed": 2}.get(kind, 1)
        latents = shared if kind == "kin" else tuple(free.pop() for _ in range(count))
        planted[f"mood{number:02}"] = Planted(kind, strength, latents)
    return planted


Cells = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""text, token, latent and value of some firings."""


@dataclass(frozen=True)
class _Drawer:
    """Draws a latent's firings at given texts."""

    n_tokens: np.ndarray
    name_place: np.ndarray
    """[text] the token that names the concept; -1 for none."""
    rng: np.random.Generator

    def at(self, latent: int, texts: np.ndarray, rise: float) -> Cells:
        """At one to three tokens of each text, side by side; the first has the largest value.

        Where the text names its concept, the firing begins at the name in half of the cases.
        """
        n = self.n_tokens[texts]
        at_name = (self.name_place[texts] >= 0) & (self.rng.random(len(texts)) < 0.5)
        first = np.where(at_name, self.name_place[texts], self.rng.integers(n))
        value = rise + self.rng.exponential(size=len(texts))
        cells = [(texts, first, value)]
        going = np.ones(len(texts), dtype=bool)
        for step in (1, 2):
            going &= (self.rng.random(len(texts)) < 0.4) & (first + step < n)
            cells.append((texts[going], first[going] + step, value[going] * self.rng.random(int(going.sum()))))
        return self._of(latent, cells)

    def at_names(self, latent: int, texts: np.ndarray) -> Cells:
        named = texts[self.name_place[texts] >= 0]
        return self._of(latent, [(named, self.name_place[named], RISE + self.rng.exponential(size=len(named)))])

    def some(self, texts: np.ndarray, share: float) -> np.ndarray:
        return texts[self.rng.random(len(texts)) < share]

    @staticmethod
    def _of(latent: int, cells: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Cells:
        text, token, value = (np.concatenate(column) for column in zip(*cells, strict=True))
        return text, token, np.full(len(text), latent), value


def _firing(planted: Planted, carries: np.ndarray, split: np.ndarray, draw: _Drawer) -> list[Cells]:
    """The firings of a concept's planted latents; `carries` [text] bool where the concept is."""
    own, elsewhere = np.flatnonzero(carries), np.flatnonzero(~carries)
    if planted.kind == "null":
        return []
    if planted.kind in ("lexical", "wordy"):
        return [draw.at_names(planted.latents[0], own)]
    if planted.kind in ("topical", "leaky"):
        leaked = draw.rng.random(len(split)) < (LEAKED if planted.kind == "leaky" else 0.0)
        own = np.flatnonzero(carries & ((split == "finding") | leaked))
        elsewhere = np.setdiff1d(np.arange(len(carries)), own)
    fired = draw.some(own, hit_rate(planted.strength))
    parts = [fired]
    if planted.kind in ("split", "absorbed"):
        other = draw.rng.random(len(fired)) < (0.5 if planted.kind == "split" else ABSORBED)
        parts = [fired[~other], fired[other]]
    cells = [draw.at(latent, texts, RISE) for latent, texts in zip(planted.latents, parts, strict=True)]
    background = BACKGROUND / len(planted.latents)
    return cells + [draw.at(latent, draw.some(elsewhere, background), 0.0) for latent in planted.latents]


def _distracting(
    design: Design, taken: Sequence[int], topic: np.ndarray, n_tokens: np.ndarray, rng: np.random.Generator
) -> Cells:
    """Firings of all latents that are not taken, one in three of them with half of its firings at one topic."""
    density = np.minimum(0.5, 10 ** rng.normal(*design.density, size=design.d_sae))
    density[taken] = 0.0
    owner = np.repeat(np.arange(len(n_tokens)), n_tokens)  # of each token, its text
    of_topic = [np.flatnonzero(topic[owner] == one) for one in range(TOPICS)]
    favourite = np.where(rng.random(design.d_sae) < 1 / 3, rng.integers(TOPICS, size=design.d_sae), -1)
    drawn = []
    for one, tokens in enumerate([*of_topic, np.arange(len(owner))]):
        mine = np.flatnonzero(favourite == one) if one < TOPICS else np.arange(design.d_sae)
        expected = len(owner) * density[mine]
        share = np.where(favourite[mine] >= 0, 0.5, 1.0)
        count = rng.binomial(len(tokens), np.minimum(0.9, share * expected / max(1, len(tokens))))
        drawn.append(np.repeat(mine, count) * len(owner) + tokens[rng.integers(len(tokens), size=count.sum())])
    cell = np.unique(np.concatenate(drawn))
    latent, place = cell // len(owner), cell % len(owner)
    start = np.cumsum(n_tokens) - n_tokens
    return owner[place], place - start[owner[place]], latent, rng.exponential(size=len(cell))
