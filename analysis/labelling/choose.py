"""The frozen choice of a label for each concept, and its check on texts that no choice ever saw.

Everything that is chosen (latent, pooling, recipe) is chosen on finding texts: by detection first, and among latents that
detect nearly as well by output effect. Checking, implicit and contrast texts are used once, on the frozen choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.firings import POOLINGS, Firings
from analysis.labelling.scores import (
    auroc,
    auroc_of_ranks,
    benjamini_hochberg,
    bootstrap_auroc,
    column_ranks,
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
    """Latents per concept that are looked at for output effect, the best detectors on finding texts."""
    slack: float = 0.05
    """Among candidates this close (in AUROC) to the best detector, the one with the largest output effect is taken."""
    recipe_size: int = 4
    recipe_pool: int = 20
    """Best detectors from which a recipe's further latents are taken."""
    recipe_gain: float = 0.005
    """What a further latent must add to the AUROC over left-out topic folds."""
    folds: int = 4
    least_auroc: float = 0.80
    """A held label's AUROC on checking texts, against neutral texts and texts of other families."""
    most_q: float = 0.05
    shuffles: int = 20
    """How often the search is repeated on shuffled labels for the null beside it."""


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
    labels: list[Label] = []
    for concept in concepts:
        single, recipe, null = search(pools, table, concept, rng, rules, effect)
        better = recipe if recipe.auroc_folds > single.auroc_folds and len(recipe.latents) > 1 else single
        labels += [check(pools, table, concept, choice, choice is better, null, rng) for choice in (single, recipe)]
        progress(concept)
    return decide(labels, rules)


def search(
    pools: Pools, table: TextTable, concept: str, rng: np.random.Generator, rules: Rules, effect: Effect | None
) -> tuple[Choice, Choice, float]:
    """The best single latent and the best recipe on finding texts, and what the same search finds on shuffled labels."""
    texts = np.concatenate([table.positives(concept, "finding"), table.negatives(concept, "finding")])
    positive = np.arange(len(texts)) < len(table.positives(concept, "finding"))
    fold = topic_folds(table.topic[texts], rules.folds, rng)
    pooled = {pooling: matrix.tocsr()[texts].tocsc() for pooling, matrix in pools.by_pooling.items()}
    ranks = {pooling: column_ranks(matrix) for pooling, matrix in pooled.items()}
    scores = {pooling: auroc_of_ranks(ranks[pooling], positive[None])[0] for pooling in POOLINGS}
    shuffled = np.stack([rng.permutation(positive) for _ in range(rules.shuffles)])
    null = float(
        np.mean(np.max([auroc_of_ranks(ranks[pooling], shuffled).max(axis=1) for pooling in POOLINGS], axis=0))
    )

    both = np.stack([scores[pooling] for pooling in POOLINGS])
    ranked = [
        (POOLINGS[row], int(latent))
        for row, latent in zip(*np.unravel_index(np.argsort(-both, axis=None), both.shape), strict=True)
    ]
    candidates: list[tuple[str, int]] = []
    for pooling, latent in ranked:  # a latent comes in with its better pooling only
        if latent not in [other for _, other in candidates]:
            candidates.append((pooling, latent))
        if len(candidates) == max(rules.candidates, rules.recipe_pool):
            break
    scale = {latent: pools.firings.scale(latent) for _, latent in candidates}
    best = scores[candidates[0][0]][candidates[0][1]]
    near = [one for one in candidates[: rules.candidates] if scores[one[0]][one[1]] >= best - rules.slack]
    effects = {latent: effect(concept, [latent], [scale[latent]]) if effect else 0.0 for _, latent in near}
    pooling, latent = max(near, key=lambda one: (effects[one[1]], scores[one[0]][one[1]]))
    single = Choice("single", [latent], [scale[latent]], pooling, float(scores[pooling][latent]),
                    _over_folds(pooled[pooling][:, [latent]].toarray().ravel(), positive, fold), effects[latent])  # fmt: skip
    recipe = _grow(single, candidates, pooled, scale, positive, fold, rules)
    if effect and len(recipe.latents) > 1:
        recipe = replace(recipe, effect=effect(concept, recipe.latents, recipe.scales))
    return single, recipe, null


def _grow(single: Choice, candidates, pooled, scale, positive, fold, rules: Rules) -> Choice:
    """Adds latents one by one as long as left-out topic folds gain."""
    chosen = replace(single, kind="recipe")
    matrix = pooled[single.pooling]
    column = {latent: matrix[:, [latent]].toarray().ravel() / max(scale[latent], 1e-12)
              for _, latent in candidates[: rules.recipe_pool]}  # fmt: skip
    column[single.latents[0]] = matrix[:, single.latents].toarray().ravel() / max(single.scales[0], 1e-12)
    total = column[single.latents[0]]
    while len(chosen.latents) < rules.recipe_size:
        left = [latent for latent in column if latent not in chosen.latents]
        if not left:
            break
        latent = max(left, key=lambda one: auroc(total + column[one], positive))
        over_folds = _over_folds(total + column[latent], positive, fold)
        if over_folds < chosen.auroc_folds + rules.recipe_gain:
            break
        total = total + column[latent]
        chosen = replace(
            chosen, latents=[*chosen.latents, latent], scales=[*chosen.scales, scale[latent]],
            auroc_finding=auroc(total, positive), auroc_folds=over_folds,
        )  # fmt: skip
    return chosen


def _over_folds(values: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> float:
    """Mean AUROC within each topic fold that holds texts of both kinds."""
    scores = [auroc(values[fold == one], positive[fold == one]) for one in np.unique(fold)
              if positive[fold == one].any() and not positive[fold == one].all()]  # fmt: skip
    return float(np.mean(scores)) if scores else auroc(values, positive)


def check(
    pools: Pools, table: TextTable, concept: str, choice: Choice, chosen: bool, null: float, rng: np.random.Generator,
    split: str = "checking",
) -> Label:  # fmt: skip
    """The evidence on held-out texts for a frozen choice; p only, the verdict needs all concepts (`decide`)."""

    def values(texts: np.ndarray) -> np.ndarray:
        return pools.score(choice.pooling, choice.latents, choice.scales, texts)

    def against(own: np.ndarray, others: np.ndarray) -> float | None:
        if not len(own) or not len(others):
            return None
        return auroc(np.concatenate([values(own), values(others)]), np.arange(len(own) + len(others)) < len(own))

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
        p=permutation_p(all_values, positive, rng), q=1.0, null_finding=null, n_positive=len(own), n_negative=len(others),
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


def lexical_share(firings: Firings, label: Label, texts: np.ndarray, naming: list[np.ndarray]) -> float:
    """Of the label's firing on these texts, the share on tokens of words that name the concept, from 0 to 1.

    `naming` [text] -> bool array over tokens.
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
    owner = []
    for string in strings:
        starts = not string[:1].isalpha() or not words
        if starts and string.strip():
            words.append("")
        if not words:
            words.append("")
        words[-1] += string.strip().lower()
        owner.append(len(words) - 1)
    hit = [any(word.lstrip("\"'(").startswith(name) for name in names) for word in words]
    return np.array([hit[place] for place in owner], dtype=bool)
