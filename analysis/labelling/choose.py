"""The frozen choice of a label for each concept, and its check on texts that no choice of the run saw.

Everything that is chosen (latent, pooling, recipe, dose unit) is chosen on finding texts: by detection first, and among
latents that detect nearly as well by output effect. Checking, implicit and contrast texts are used once, on the frozen choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from analysis.firings import Firings
from analysis.labelling.ranking import Ranked, Sorting
from analysis.labelling.scores import UNKNOWN, aurocs, average_precision, benjamini_hochberg, compare, permutation_p
from analysis.labelling.split import TextTable, topic_folds
from analysis.records import Label


class Effect(Protocol):
    """Output effects on finding texts (see `effects.py`), of latents clamped to so many of their dose units."""

    def __call__(self, concept: str, latents: Sequence[int], scales: Sequence[float]) -> float:
        """Of the latents together, measured."""
        ...

    def estimates(self, concept: str, latents: Sequence[int], scales: Sequence[float]) -> np.ndarray:
        """Of each latent alone, to first order: cheap enough for many."""
        ...


@dataclass(frozen=True)
class Rules:
    """What the search may do and what a label must show; fixed before the checking texts are looked at."""

    candidates: int = 10
    """Latents per concept from which the single one is taken, the best detectors on finding texts."""
    slack: float = 0.05
    """Among candidates this close (in AUROC) to the best detector, the one with the largest output effect is taken."""
    measured: int = 3
    """Of those, so many with the largest estimated effect have theirs measured."""
    recipe_size: int = 4
    recipe_pool: int = 20
    """Best detectors from which a recipe's further latents are taken: those of them whose estimated output effect is in the upper half (and not below 0)."""
    recipe_gain: float = 0.005
    """A recipe is as small as it can be while its AUROC on left-out topic folds lies within this of the best size's."""
    folds: int = 4
    divisions: int = 3
    """How often the topics are divided into folds anew; what the folds decide is decided on the mean."""
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
        self.by_pooling = firings.all_pooled()

    def score(
        self, pooling: str, latents: Sequence[int], scales: Sequence[float], texts: np.ndarray | None = None,
        weights: Sequence[float] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """A label's value at each text: its latents' pooled values in dose units, added up (each by its weight)."""
        matrix = self.by_pooling[pooling][:, list(latents)]
        if texts is not None:
            matrix = matrix.tocsr()[texts]
        counted = np.ones(len(latents)) if weights is None else np.asarray(weights)
        return np.asarray(matrix @ (counted / np.maximum(scales, 1e-12))).ravel()


def choose_labels(
    pools: Pools, table: TextTable, concepts: dict[str, list[str]], rng: np.random.Generator, rules: Rules = Rules(),
    effect: Effect | None = None, progress: Callable[[str], None] = lambda concept: None,
    finding: "Finding | None" = None,
) -> list[Label]:  # fmt: skip
    """Two labels for each concept (the best single latent, the best recipe), one of them marked as chosen.

    `concepts` maps each name to the names of its family. q-values are computed over the chosen labels, and over all
    single and over all recipe labels for those. `finding` is given where it was made before.
    """
    finding = finding or Finding(pools, table, rules, tuple(concepts))
    curves = finding.over_folds(rng)
    sizes = [finding.recipe_size(curve) for curve in curves]
    nulls = finding.null(sizes, rng)
    candidates = finding.detectors
    labels: list[Label] = []
    for number, concept in enumerate(concepts):
        single, recipe = search(
            finding, number, concept, candidates[number], curves[number], sizes[number], nulls[number], effect
        )
        better = recipe if recipe.auroc_folds > single.auroc_folds and len(recipe.latents) > 1 else single
        labels += [check(pools, table, concept, choice, choice is better, rng) for choice in (single, recipe)]
        progress(concept)
    return decide(labels, rules)


class Candidate(NamedTuple):
    pooling: str
    latent: int
    auroc: float


class Finding:
    """The firings on finding texts, made ready for many searches: texts are counted within them."""

    def __init__(self, pools: Pools, table: TextTable, rules: Rules, concepts: tuple[str, ...]):
        self.rules = rules
        texts = np.flatnonzero(table.split == "finding")
        self.topic = table.topic[texts]
        self.sorting = Sorting.of(table.concept[texts], table.family[texts], concepts, table.style[texts])
        self.scales = pools.firings.of_texts(texts).scales()
        """[latent] a dose unit."""
        self.pooled = {pooling: matrix.tocsr()[texts].tocsc() for pooling, matrix in pools.by_pooling.items()}
        self.ranked = {pooling: Ranked(matrix) for pooling, matrix in self.pooled.items()}

    @cached_property
    def detectors(self) -> list[list["Candidate"]]:
        """[concept] the best detectors by all finding texts."""
        return self.best()

    def best(self, sorting: Sorting | None = None, counted: np.ndarray | None = None) -> list[list[Candidate]]:
        """[concept] the best detectors, best first; a latent comes in with its best pooling only.

        `sorting` says what each text is (default: what it is), `counted` which texts count.
        """
        sorting = sorting or self.sorting
        names = list(self.ranked)
        highest = self.ranked[names[0]].scores(sorting, counted).auroc
        row = np.zeros(highest.shape, dtype=np.int8)
        for place, name in enumerate(names[1:], start=1):
            scores = self.ranked[name].scores(sorting, counted).auroc
            better = scores > highest
            row[better], highest[better] = place, scores[better]
        highest = np.nan_to_num(highest, nan=0.5)  # of a concept whose texts were all left out
        count = min(max(self.rules.candidates, self.rules.recipe_pool), highest.shape[1])
        found = []
        for scores, pooling in zip(highest, row, strict=True):
            some = np.argpartition(-scores, count - 1)[:count]
            order = some[np.lexsort((some, -scores[some]))]
            found.append([Candidate(names[pooling[latent]], int(latent), float(scores[latent])) for latent in order])
        return found

    def columns(self, pooling: str, latents: Sequence[int]) -> np.ndarray:
        """[text, latent] pooled values in dose units."""
        return self.pooled[pooling][:, list(latents)].toarray() / np.maximum(self.scales[list(latents)], 1e-12)

    def grow(
        self, pooling: str, first: int, pool: Sequence[int], own: np.ndarray, others: np.ndarray, size: int
    ) -> tuple[list[int], list[float]]:
        """Up to `size` latents, each the one that adds most to the AUROC of their sum; and the AUROCs so far."""
        names = list(dict.fromkeys([first, *pool]))
        columns = self.columns(pooling, names if size > 1 else [first])
        own, others = columns[own], columns[others]
        chosen, left = [0], list(range(1, len(names)))
        mine, theirs = own[:, 0], others[:, 0]
        scores = [float(aurocs(mine[:, None], theirs[:, None])[0])]
        while len(chosen) < size and left:
            added = aurocs(mine[:, None] + own[:, left], theirs[:, None] + others[:, left])
            best = left.pop(int(added.argmax()))
            mine, theirs = mine + own[:, best], theirs + others[:, best]
            chosen.append(best)
            scores.append(float(added.max()))
        return [names[place] for place in chosen], scores

    def over_folds(self, rng: np.random.Generator) -> list[list[float]]:
        """[concept] AUROC of recipes of 1, 2, ... latents on left-out topic folds, each searched for by detection on the
        rest."""
        divisions = [topic_folds(self.topic, self.rules.folds, rng) for _ in range(self.rules.divisions)]
        curves: list[list[list[float]]] = [[] for _ in self.sorting.names]
        for out in (fold == one for fold in divisions for one in np.unique(fold)):
            for number, candidates in enumerate(self.best(counted=~out)):
                own, others = self.compared(number, ~out)
                own_out, others_out = self.compared(number, out)
                if not all(map(len, (own, others, own_out, others_out))):
                    continue
                pooling, first, _ = candidates[0]
                pool = [candidate.latent for candidate in candidates]
                latents, _ = self.grow(pooling, first, pool, own, others, self.rules.recipe_size)
                sums = np.cumsum(self.columns(pooling, latents), axis=1)
                curves[number].append(aurocs(sums[own_out], sums[others_out]).tolist())
        return [
            [float(np.mean([curve[size] for curve in found])) for size in range(min(map(len, found)))]
            if found
            else [0.5]
            for found in curves
        ]

    def recipe_size(self, curve: Sequence[float]) -> int:
        """The fewest latents that do as well on left-out folds as any number."""
        return 1 + next(place for place, score in enumerate(curve) if score >= max(curve) - self.rules.recipe_gain)

    def null(self, sizes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """[concept, 2] mean AUROC on shuffled labels of the latent, and of the recipe of this size, that detection alone
        finds for them."""
        totals = np.zeros((len(self.sorting.names), 2))
        for _ in range(self.rules.shuffles):
            shuffled = self.sorting.where(rng.permutation(len(self.topic)))
            for number, candidates in enumerate(self.best(shuffled)):
                own, others = self.compared(number, sorting=shuffled)
                pooling, first, score = candidates[0]
                totals[number] += score
                if sizes[number] > 1:
                    pool = [candidate.latent for candidate in candidates]
                    totals[number, 1] += self.grow(pooling, first, pool, own, others, sizes[number])[1][-1] - score
        return totals / max(1, self.rules.shuffles)

    def compared(
        self, concept: int, counted: np.ndarray | None = None, sorting: Sorting | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The concept's texts, and those of their style outside its family."""
        sorting = sorting or self.sorting
        own = sorting.concept == concept
        first = own.argmax()
        others = (sorting.style == sorting.style[first]) & (sorting.family != sorting.family[first])
        if counted is not None:
            own, others = own & counted, others & counted
        return np.flatnonzero(own), np.flatnonzero(others)


def search(
    finding: Finding, number: int, concept: str, candidates: Sequence[Candidate], curve: Sequence[float], size: int,
    null: np.ndarray, effect: Effect | None,
) -> tuple[Choice, Choice]:  # fmt: skip
    """The best single latent and the best recipe on finding texts.

    How many latents the recipe has (`size`) was decided by topic folds: a recipe of each size is searched for without a
    fold's texts and scored on them. The same folds say what a search like this is worth (`auroc_folds`).
    """
    rules = finding.rules
    own, others = finding.compared(number)
    latents = [candidate.latent for candidate in candidates]
    scale = {latent: float(finding.scales[latent]) for latent in latents}
    estimates = np.zeros(len(latents))
    if effect:
        estimates = effect.estimates(concept, latents, [scale[latent] for latent in latents])
    estimated = dict(zip(latents, estimates.tolist(), strict=True))
    near = [one for one in candidates[: rules.candidates] if one.auroc >= candidates[0].auroc - rules.slack]
    near = sorted(near, key=lambda one: (-estimated[one.latent], -one.auroc))[: rules.measured]
    measured = {one.latent: effect(concept, [one.latent], [scale[one.latent]]) if effect else 0.0 for one in near}
    pooling, latent, score = max(near, key=lambda one: (measured[one.latent], one.auroc))
    single = Choice("single", [latent], [scale[latent]], pooling, score, curve[0], measured[latent], float(null[0]))

    least = max(0.0, float(np.median(estimates)))
    pool = [one for one in latents if estimated[one] >= least]
    chosen, found = finding.grow(pooling, latent, pool, own, others, size)
    recipe = replace(
        single, kind="recipe", latents=chosen, scales=[scale[one] for one in chosen], auroc_finding=found[-1],
        auroc_folds=curve[len(chosen) - 1], null=float(null[1]),
    )  # fmt: skip
    if effect and len(chosen) > 1:
        recipe = replace(recipe, effect=effect(concept, recipe.latents, recipe.scales))
    return single, recipe


def check(
    pools: Pools, table: TextTable, concept: str, choice: Choice, chosen: bool, rng: np.random.Generator,
) -> Label:  # fmt: skip
    """The evidence on held-out texts for a frozen choice; p only, the verdict needs all concepts (`decide`)."""
    values = pools.score(choice.pooling, choice.latents, choice.scales)

    def against(own: np.ndarray, others: np.ndarray) -> float | None:
        return float(aurocs(values[own, None], values[others, None])[0]) if len(own) and len(others) else None

    own, others = table.positives(concept, "checking"), table.negatives(concept, "checking")
    checked = compare(values[own], values[others])
    implicit, apart = table.positives(concept, "implicit"), table.negatives(concept, "implicit")
    implied = compare(values[implicit], values[apart]) if len(implicit) else UNKNOWN
    runner_up = max(
        table.others_of(concept, "checking"), key=lambda name: values[table.positives(name, "checking")].mean()
    )
    positive = np.arange(len(own) + len(others)) < len(own)
    return Label(
        concept=concept, kind=choice.kind, latents=choice.latents, weights=choice.weights, scales=choice.scales,
        pooling=choice.pooling, chosen=chosen, auroc_finding=choice.auroc_finding, auroc_folds=choice.auroc_folds,
        auroc_checking=checked.auroc, auroc_checking_low=checked.low, auroc_checking_high=checked.high,
        auroc_all=against(own, table.negatives(concept, "checking", siblings=True)) or 0.0,
        auroc_family=against(own, table.siblings(concept, "checking")), runner_up=runner_up,
        auroc_runner_up=against(own, table.positives(runner_up, "checking")) or 0.0, auroc_implicit=implied.auroc,
        auroc_contrast=against(own, table.positives(concept, "contrast")), lexical_share=0.0, effect_finding=choice.effect,
        p=permutation_p(np.concatenate([values[own], values[others]]), positive, rng), q=1.0, null_finding=choice.null,
        n_positive=len(own), n_negative=len(others), status="candidate", auroc_implicit_low=implied.low,
        auroc_implicit_high=implied.high, precision_checking=average_precision(values[own], values[others]),
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
