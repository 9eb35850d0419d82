"""The frozen choice of a label for each concept, and its check on texts that no choice ever saw.

Everything that is chosen (latent, pooling, recipe, dose unit) is chosen on finding texts: by detection first, and among
latents that detect nearly as well by output effect. Checking, implicit and contrast texts are used once, on the frozen choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.firings import POOLINGS, Firings
from analysis.labelling.scores import (
    Ordered,
    auroc,
    benjamini_hochberg,
    bootstrap_auroc,
    permutation_p,
)
from analysis.labelling.split import TextTable, topic_folds
from analysis.records import Label

Effect = Callable[[str, Sequence[int], Sequence[float]], float]
"""concept, latents, their values -> output effect on finding texts (see `effects.py`)."""


@dataclass(frozen=True)
class Rules:
    """What the search may do and what a label must show; fixed before the checking texts are looked at."""

    candidates: int = 10
    """Latents per concept from which the single one is taken, the best detectors on finding texts."""
    slack: float = 0.05
    """Among candidates this close (in AUROC) to the best detector, the one with the largest output effect is taken."""
    recipe_size: int = 4
    recipe_pool: int = 20
    """Best detectors from which a recipe's further latents are taken: those of them whose output effect is in the upper half (and not below 0)."""
    recipe_gain: float = 0.005
    """A recipe is as small as it can be while its AUROC on left-out topic folds lies within this of the best size's."""
    folds: int = 4
    least_auroc: float = 0.80
    """A held label's AUROC on checking texts, against neutral texts and texts of other families."""
    most_q: float = 0.05
    shuffles: int = 20
    """How often the search (by detection) is repeated on shuffled finding labels for the null beside it."""


@dataclass(frozen=True)
class Choice:
    """What the finding texts decided."""

    kind: str
    latents: list[int]
    scales: list[float]
    pooling: str
    auroc_finding: float
    auroc_folds: float
    effect: float
    null: float

    @property
    def weights(self) -> list[float]:
        """A recipe adds its latents up in dose units, so that none drowns the others."""
        return [1.0] * len(self.latents)


class Pools:
    """Pooled firings `[text, latent]`, each pooling computed once."""

    def __init__(self, firings: Firings):
        self.firings = firings
        self.by_pooling = {pooling: firings.pooled(pooling) for pooling in POOLINGS}

    def score(
        self, pooling: str, latents: Sequence[int], scales: Sequence[float], texts: np.ndarray | None = None
    ) -> np.ndarray:
        """A label's value at each text: its latents' pooled values in dose units, added up."""
        matrix = self.by_pooling[pooling][:, list(latents)]
        if texts is not None:
            matrix = matrix.tocsr()[texts]
        return np.asarray(matrix @ (1.0 / np.maximum(scales, 1e-12))).ravel()


def choose_labels(
    pools: Pools, table: TextTable, concepts: dict[str, list[str]], rng: np.random.Generator, rules: Rules = Rules(),
    effect: Effect | None = None, progress: Callable[[str], None] = lambda concept: None,
) -> list[Label]:  # fmt: skip
    """Two labels for each concept (the best single latent, the best recipe), one of them marked as chosen.

    `concepts` maps each name to the names of its family. q-values are computed over the chosen labels, and over all
    single and over all recipe labels for those.
    """
    finding = Finding(pools, table, rules)
    labels: list[Label] = []
    for concept in concepts:
        single, recipe = search(finding, table, concept, rng, effect)
        better = recipe if recipe.auroc_folds > single.auroc_folds and len(recipe.latents) > 1 else single
        labels += [check(pools, table, concept, choice, choice is better, rng) for choice in (single, recipe)]
        progress(concept)
    return decide(labels, rules)


class Finding:
    """The firings on finding texts, made ready for many searches: texts are counted within them."""

    def __init__(self, pools: Pools, table: TextTable, rules: Rules):
        self.rules = rules
        self.texts = np.flatnonzero(table.split == "finding")
        self.scales = pools.firings.of_texts(self.texts).scales()
        """[latent] a dose unit."""
        self.pooled = {pooling: matrix.tocsr()[self.texts].tocsc() for pooling, matrix in pools.by_pooling.items()}
        self.ordered = {pooling: Ordered(matrix) for pooling, matrix in self.pooled.items()}

    def best(self, texts: np.ndarray, positive: np.ndarray) -> list[tuple[str, int, float]]:
        """The best detectors as (pooling, latent, AUROC), best first; a latent comes in with its better pooling only."""
        own, others = (self._marked(texts[mine]) for mine in (positive, ~positive))
        scores = np.stack([ordered.aurocs(own, others) for ordered in self.ordered.values()])
        row, highest = scores.argmax(axis=0), scores.max(axis=0)
        order = np.argsort(-highest, kind="stable")[: max(self.rules.candidates, self.rules.recipe_pool)]
        names = list(self.ordered)
        return [(names[row[latent]], int(latent), float(highest[latent])) for latent in order]

    def columns(self, pooling: str, latents: Sequence[int], texts: np.ndarray) -> np.ndarray:
        """[text, latent] pooled values in dose units."""
        dense = self.pooled[pooling][:, list(latents)].toarray()[texts]
        return dense / np.maximum(self.scales[list(latents)], 1e-12)

    def grow(
        self, pooling: str, first: int, pool: Sequence[int], texts: np.ndarray, positive: np.ndarray, size: int
    ) -> tuple[list[int], list[float]]:
        """Up to `size` latents, each the one that adds most to the AUROC of their sum; and the AUROCs so far."""
        names = list(dict.fromkeys([first, *pool]))
        column = dict(zip(names, self.columns(pooling, names, texts).T, strict=True))
        latents, total = [first], column[first]
        scores = [auroc(total, positive)]
        while len(latents) < size and (left := [one for one in pool if one not in latents]):
            added = {one: auroc(total + column[one], positive) for one in left}
            latents.append(max(left, key=added.__getitem__))
            total = total + column[latents[-1]]
            scores.append(added[latents[-1]])
        return latents, scores

    def over_folds(self, texts: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> list[float]:
        """AUROC of recipes of 1, 2, ... latents on left-out topic folds, each searched for by detection on the rest."""
        curves = []
        for one in np.unique(fold):
            out, rest = fold == one, fold != one
            if not positive[out].any() or positive[out].all() or not positive[rest].any() or positive[rest].all():
                continue
            candidates = self.best(texts[rest], positive[rest])
            pooling, first, _ = candidates[0]
            pool = [latent for _, latent, _ in candidates]
            latents, _ = self.grow(pooling, first, pool, texts[rest], positive[rest], self.rules.recipe_size)
            sums = np.cumsum(self.columns(pooling, latents, texts[out]), axis=1)
            curves.append([auroc(values, positive[out]) for values in sums.T])
        if not curves:
            return [0.5]
        return [float(np.mean([curve[size] for curve in curves])) for size in range(min(map(len, curves)))]

    def null(self, texts: np.ndarray, shuffled: np.ndarray, size: int) -> tuple[float, float]:
        """AUROC on shuffled labels of the latent, and of the recipe of this size, that detection alone finds for them."""
        candidates = self.best(texts, shuffled)
        pooling, first, _ = candidates[0]
        _, scores = self.grow(pooling, first, [latent for _, latent, _ in candidates], texts, shuffled, size)
        return scores[0], scores[-1]

    def _marked(self, texts: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(self.texts), dtype=bool)
        mask[texts] = True
        return mask


def search(
    finding: Finding, table: TextTable, concept: str, rng: np.random.Generator, effect: Effect | None
) -> tuple[Choice, Choice]:
    """The best single latent and the best recipe on finding texts.

    How many latents the recipe has is decided by topic folds: a recipe of each size is searched for without a fold's
    texts and scored on them. The same folds say what a search like this is worth (`auroc_folds`).
    """
    rules = finding.rules
    own, others = table.positives(concept, "finding"), table.negatives(concept, "finding")
    texts = np.searchsorted(finding.texts, np.concatenate([own, others]))
    positive = np.arange(len(texts)) < len(own)
    fold = topic_folds(table.topic[finding.texts[texts]], rules.folds, rng)
    curve = finding.over_folds(texts, positive, fold)
    size = 1 + next(place for place, score in enumerate(curve) if score >= max(curve) - rules.recipe_gain)

    candidates = finding.best(texts, positive)
    scale = {latent: float(finding.scales[latent]) for _, latent, _ in candidates}
    near = [one for one in candidates[: rules.candidates] if one[2] >= candidates[0][2] - rules.slack]
    effects = {latent: effect(concept, [latent], [scale[latent]]) if effect else 0.0 for _, latent, _ in candidates}
    pooling, latent, score = max(near, key=lambda one: (effects[one[1]], one[2]))
    null_single, null_recipe = np.mean(
        [finding.null(texts, rng.permutation(positive), size) for _ in range(rules.shuffles)], axis=0
    )
    single = Choice("single", [latent], [scale[latent]], pooling, score, curve[0], effects[latent], float(null_single))
    least = max(0.0, float(np.median(list(effects.values()))))
    pool = [one for one in effects if effects[one] >= least]
    latents, found = finding.grow(pooling, latent, pool, texts, positive, size)
    recipe = replace(
        single, kind="recipe", latents=latents, scales=[scale[one] for one in latents], auroc_finding=found[-1],
        auroc_folds=curve[len(latents) - 1], null=float(null_recipe),
    )  # fmt: skip
    if effect and len(latents) > 1:
        recipe = replace(recipe, effect=effect(concept, recipe.latents, recipe.scales))
    return single, recipe


def check(
    pools: Pools, table: TextTable, concept: str, choice: Choice, chosen: bool, rng: np.random.Generator,
) -> Label:  # fmt: skip
    """The evidence on held-out texts for a frozen choice; p only, the verdict needs all concepts (`decide`)."""

    everywhere = pools.score(choice.pooling, choice.latents, choice.scales)

    def values(texts: np.ndarray) -> np.ndarray:
        return everywhere[texts]

    def against(own: np.ndarray, others: np.ndarray) -> float | None:
        if not len(own) or not len(others):
            return None
        return auroc(np.concatenate([values(own), values(others)]), np.arange(len(own) + len(others)) < len(own))

    split = "checking"
    own, others = table.positives(concept, split), table.negatives(concept, split)
    all_values = np.concatenate([values(own), values(others)])
    positive = np.arange(len(all_values)) < len(own)
    low, high = bootstrap_auroc(all_values, positive, rng)
    names = [name for name in np.unique(table.concept) if name not in (concept, "neutral")]
    runner_up = max(names, key=lambda name: values(table.positives(name, split)).mean())
    implicit = against(table.positives(concept, "implicit"), table.negatives(concept, "implicit"))
    assert implicit is not None, f"{concept} has implicit texts"
    return Label(
        concept=concept, kind=choice.kind, latents=choice.latents, weights=choice.weights, scales=choice.scales,
        pooling=choice.pooling, chosen=chosen, auroc_finding=choice.auroc_finding, auroc_folds=choice.auroc_folds,
        auroc_checking=auroc(all_values, positive), auroc_checking_low=low, auroc_checking_high=high,
        auroc_all=against(own, table.negatives(concept, split, siblings=True)) or 0.0,
        auroc_family=against(own, table.siblings(concept, split)), runner_up=runner_up,
        auroc_runner_up=against(own, table.positives(runner_up, split)) or 0.0, auroc_implicit=implicit,
        auroc_contrast=against(own, table.positives(concept, "contrast")), lexical_share=0.0, effect_finding=choice.effect,
        p=permutation_p(all_values, positive, rng), q=1.0, null_finding=choice.null, n_positive=len(own), n_negative=len(others),
        status="candidate",
    )  # fmt: skip


def decide(labels: list[Label], rules: Rules) -> list[Label]:
    """q-values over the concepts, and held or rejected; singles, recipes and chosen labels each count once a concept."""
    q: dict[int, float] = {}
    for kind in ("single", "recipe"):
        places = [place for place, label in enumerate(labels) if label.kind == kind]
        for place, value in zip(
            places, benjamini_hochberg(np.array([labels[place].p for place in places])), strict=True
        ):
            q[place] = float(value)
    chosen = [place for place, label in enumerate(labels) if label.chosen]
    for place, value in zip(chosen, benjamini_hochberg(np.array([labels[place].p for place in chosen])), strict=True):
        q[place] = max(q[place], float(value))
    return [
        replace(
            label,
            q=q[place],
            status="held" if label.auroc_checking >= rules.least_auroc and q[place] <= rules.most_q else "rejected",
        )
        for place, label in enumerate(labels)
    ]


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
