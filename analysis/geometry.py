"""How labelled directions lie: do their main axes follow human valence and arousal, and do families stay together?

Every direction is brought to length 1 first, so that no feature counts more for being strong. Each figure stands beside its
null, which carries the same ratings: for labels as many latents of the same dictionary, for differences of means as many
random directions; for families, the same directions with the families shuffled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from analysis.concepts.concept import ConceptSet
from analysis.opening import concept_set_of, dictionary_of
from analysis.records import GeometryPoint, GeometryTest, Label
from analysis.study import Study

DRAWS = 1000
AXES = 3
"""Principal components among which an axis for valence or arousal is looked for, in the nulls too."""


def geometry_of(study: Study | str | Path, *, all_labels: bool = False, seed: int = 0) -> Study:
    """Both kinds of directions of a study, labels' and differences of means', for the concepts whose labels are held.

    Writes the tables `geometry` and `geometry_tests`. With `all_labels` rejected labels count too. ValueError where fewer
    than 5 concepts are left.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    labels = [one for one in study.labels() if all_labels or one.is_held]
    concepts = concept_set_of(study, None)
    decoder = dictionary_of(study).directions.detach().float().cpu().numpy()
    found = [(label_directions(labels, decoder), decoder)] if labels else []
    means = study.diff_means()
    if labels and means:
        rng = np.random.default_rng(seed)
        found.append(
            (mean_directions(means, [one.concept for one in labels]), rng.standard_normal((DRAWS, decoder.shape[1])))
        )
    points: list[GeometryPoint] = []
    tests: list[GeometryTest] = []
    for directions, pool in found:
        some_points, some_tests = geometry(directions, pool, concepts, seed)
        points, tests = points + some_points, tests + some_tests
    if not points:
        raise ValueError(f"{study.folder} has no held label: there is no direction to look at")
    study.write("geometry", points)
    study.write("geometry_tests", tests)
    return study


@dataclass(frozen=True)
class Directions:
    """Concepts as unit vectors."""

    source: str
    """"labels" or "diff_means"."""
    concepts: list[str]
    matrix: Float[np.ndarray, "concept d_in"]


def label_directions(labels: Sequence[Label], decoder: Float[np.ndarray, "d_sae d_in"]) -> Directions:
    """What one dose unit of each label writes, at length 1."""
    rows = [np.multiply(one.weights, one.scales) @ decoder[one.latents] for one in labels]
    return Directions("labels", [one.concept for one in labels], unit(np.array(rows)))


def mean_directions(means: dict[str, np.ndarray], concepts: Sequence[str]) -> Directions:
    """Differences of means with their common part taken out, at length 1."""
    rows = np.array([means[concept] for concept in concepts])
    return Directions("diff_means", list(concepts), unit(rows - rows.mean(axis=0)))


def geometry(
    directions: Directions, pool: Float[np.ndarray, "any d_in"], concepts: ConceptSet, seed: int = 0, draws: int = DRAWS
) -> tuple[list[GeometryPoint], list[GeometryTest]]:
    """Each concept's place on the principal components, and what they have to do with ratings and families.

    `pool` holds the directions that the null draws from. Tests: "valence" and "arousal" (the largest absolute correlation of
    one of the first `AXES` components with the rating), "valence_left_out" and "arousal_left_out" (correlation of the rating
    with its prediction by ridge regression that never saw the concept), "family" (mean cosine within families minus between;
    its null shuffles the families). p counts the nulls that reach the value. ValueError for fewer than 5 concepts.
    """
    n = len(directions.concepts)
    if n < 5:
        raise ValueError(f"geometry needs at least 5 directions, got {n}")
    rng = np.random.default_rng(seed)
    known = [concepts.concepts[name] for name in directions.concepts]
    ratings = {
        what: np.array([np.nan if (rating := getattr(one, what)) is None else rating for one in known])
        for what in ("valence", "arousal")
    }
    family = np.array([one.family for one in known])
    scores, _ = components(directions.matrix)
    drawn = [unit(pool[rng.choice(len(pool), n, replace=len(pool) < n)]) for _ in range(draws)]
    tests = []
    for what, rating in ratings.items():
        rated = ~np.isnan(rating)
        if rated.sum() < 5 or np.ptp(rating[rated]) == 0:
            continue
        for name, measure in ((what, _along_axes), (f"{what}_left_out", left_out_r)):
            null = [measure(one[rated], rating[rated]) for one in drawn]
            tests.append(
                _test(directions.source, name, measure(directions.matrix[rated], rating[rated]), null, int(rated.sum()))
            )
    if 1 < len(set(family)) < n:
        shuffled = [togetherness(directions.matrix, rng.permutation(family)) for _ in range(draws)]
        tests.append(_test(directions.source, "family", togetherness(directions.matrix, family), shuffled, n))
    points = [
        GeometryPoint(
            directions.source,
            one.name,
            one.family,
            one.valence,
            one.arousal,
            float(row[0]),
            float(row[1]),
            float(row[2]),
            group,
        )
        for one, row, group in zip(known, scores, groups(directions.matrix, len(set(family)), seed), strict=True)
    ]
    return points, tests


def unit(rows: Float[np.ndarray, "row d_in"]) -> Float[np.ndarray, "row d_in"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def components(
    matrix: Float[np.ndarray, "row d_in"],
) -> tuple[Float[np.ndarray, "row axis"], Float[np.ndarray, " axis"]]:
    """Scores on the first principal components, and the share of the variance that each explains."""
    left, spread, _ = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    scores = np.zeros((len(matrix), AXES))
    scores[:, : min(AXES, len(spread))] = (left * spread)[:, :AXES]
    variance = spread**2 / max((spread**2).sum(), 1e-12)
    return scores, variance[:AXES]


def _along_axes(matrix: np.ndarray, rating: np.ndarray) -> float:
    scores, _ = components(matrix)
    return max(abs(correlation(scores[:, axis], rating)) for axis in range(AXES))


def left_out_r(matrix: np.ndarray, rating: np.ndarray, strength: float = 1.0) -> float:
    """Correlation of a rating with what ridge regression on the other concepts' directions predicts.

    Leave-one-out in closed form: the residual of concept i without it is e_i / (1 - H_ii), H = K (K + strength I)^-1.
    """
    centred = rating - rating.mean()
    kernel = matrix @ matrix.T
    hat = kernel @ np.linalg.inv(kernel + strength * np.eye(len(matrix)))
    predicted = centred - (centred - hat @ centred) / np.maximum(1 - np.diag(hat), 1e-9)
    return correlation(predicted, centred)


def togetherness(matrix: np.ndarray, family: np.ndarray) -> float:
    """Mean cosine of pairs within a family minus that of pairs from two families."""
    cosine, same = matrix @ matrix.T, family[:, None] == family[None, :]
    pair = ~np.eye(len(matrix), dtype=bool)
    return float(cosine[same & pair].mean() - cosine[~same].mean())


def groups(matrix: np.ndarray, count: int, seed: int = 0) -> list[int]:
    """k-means clusters of the directions, numbered by size."""
    from scipy.cluster.vq import kmeans2

    _, found = kmeans2(matrix, min(count, len(matrix)), seed=seed, minit="++")
    order = np.argsort(-np.bincount(found), kind="stable")
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    return place[found].tolist()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 0 where one of them does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _test(source: str, what: str, value: float, null: Sequence[float], n: int) -> GeometryTest:
    low, high = np.quantile(null, [0.025, 0.975])
    p = (1 + sum(one >= value for one in null)) / (1 + len(null))
    return GeometryTest(source, what, value, float(np.median(null)), float(low), float(high), p, n)
