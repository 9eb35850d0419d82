"""Judges of which concepts a text shows, one for each concept, trained on texts that no label ever saw.

A judge knows nothing of any SAE. It tells its concept's texts from neutral ones and from those of other families;
near-synonyms do not compete: a sibling's texts count a little for the concept, which helps where a concept has few texts
of its own, and the judge is measured without them. What it says is given as a share of the way: 0 where the
held-out texts of the others lie on average, 1 where the concept's own held-out texts do.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from analysis.concepts.concept import NEUTRAL, ConceptSet
from analysis.labelling.scores import auroc
from training.corpora.storyworld.bank import FEELINGS
from training.corpora.storyworld.moments import moments

PER_CONCEPT = 150
"""Storyworld texts of each of its 24 feelings that the judges are trained on."""
FOLDS = 4
LEAST_TEXTS = 5
SIBLING = 0.15
"""What a sibling's text weighs beside one of the concept's own. Chosen by the judges' AUROC on held-out own texts."""
MOST_COMMON = 0.1
"""A word that stands in a larger share of all texts bears no emotion."""
C = 10.0
"""Of the logistic regression: the inverse of its ridge."""


class JudgeText(NamedTuple):
    concept: str
    """Or "neutral"."""
    text: str
    source: str
    """Where it comes from. A judge compares texts of the sources that its own texts come from, so that it cannot learn
    the source's manner."""


@dataclass(frozen=True)
class Judge:
    """tf-idf of words and word pairs, shared; then one logistic regression for each concept."""

    concepts: tuple[str, ...]
    vectoriser: Any
    weights: Float[np.ndarray, "concept term"]
    bias: Float[np.ndarray, " concept"]
    zero: Float[np.ndarray, " concept"]
    """Mean logit of held-out texts of other families and neutral ones."""
    one: Float[np.ndarray, " concept"]
    """Mean logit of the concept's own held-out texts."""
    auroc: Float[np.ndarray, " concept"]
    """Own texts against the others, each scored by a judge that did not see it."""
    auroc_low: Float[np.ndarray, " concept"]
    """The lower end of its 95 % interval."""
    n_own: tuple[int, ...]

    def scores(self, texts: Sequence[str]) -> Float[np.ndarray, "text concept"]:
        """How far each text is on the way to each concept; NaN where own texts score no higher than the others."""
        logits = self.vectoriser.transform(list(texts)) @ self.weights.T + self.bias
        way = np.where(self.one > self.zero, self.one - self.zero, np.nan)
        return (logits - self.zero) / way

    def words(self, concept: str, count: int) -> list[str]:
        """The single words that speak most for the concept, the strongest first; no words that stand everywhere."""
        terms, weights = self.vectoriser.get_feature_names_out(), self.weights[self.concepts.index(concept)]
        common = np.exp(1 - self.vectoriser.idf_)  # about the share of texts that hold the term
        order = np.flatnonzero((weights > 0) & (common <= MOST_COMMON))
        order = order[np.argsort(-weights[order], kind="stable")]
        return [str(terms[place]) for place in order if " " not in terms[place]][:count]


def train_judge(
    texts: Iterable[JudgeText], families: Mapping[str, str], concepts: Sequence[str] | None = None, seed: int = 0
) -> Judge:
    """Judges of `concepts` (default: all that the texts are of); `families` says which family each concept is of.

    The same seed gives the same judges. Raises ValueError where there are not texts enough.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise ImportError("the judge needs scikit-learn: pip install 'scikit-learn>=1.8'") from error
    rows = sorted(set(texts))
    names = np.array([row.concept for row in rows])
    family = np.array([families.get(row.concept, row.concept) for row in rows])
    source = np.array([row.source for row in rows])
    wanted = tuple(sorted({row.concept for row in rows} - {NEUTRAL}) if concepts is None else concepts)
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    matrix = vectoriser.fit_transform([row.text for row in rows])
    fold = np.zeros(len(rows), dtype=int)
    rng = np.random.default_rng(seed)
    for name in np.unique(names):
        mine = np.flatnonzero(names == name)
        fold[rng.permutation(mine)] = np.arange(len(mine)) % FOLDS

    fitted, measured, counts = [], [], []
    for concept in wanted:
        own = names == concept
        comparable = np.isin(source, source[own])
        kin = family == families.get(concept, concept)
        others = ~kin & comparable
        weight = np.where(own, 1.0, np.where(kin, SIBLING, 1.0)) * comparable
        if own.sum() < LEAST_TEXTS:
            raise ValueError(
                f"a judge needs at least {LEAST_TEXTS} texts of each concept, got {own.sum()} of {concept!r}"
            )
        if others.sum() < LEAST_TEXTS:
            raise ValueError(
                f"the judge of {concept!r} needs texts of another family, or neutral ones, to compare with"
            )
        held_out = np.full(len(rows), np.nan)
        for number in range(FOLDS):
            seen, judged = fold != number, (fold == number) & (own | others)
            weights_here, bias_here = _fit(matrix, kin, weight * seen, seed)
            held_out[judged] = matrix[judged] @ weights_here + bias_here
        fitted.append(_fit(matrix, kin, weight, seed))
        area, low = auroc_low(held_out[own | others], own[own | others])
        measured.append((held_out[others].mean(), held_out[own].mean(), area, low))
        counts.append(int(own.sum()))
    zero, one, areas, lowest = np.array(measured).T
    weights, bias = (np.array(part) for part in zip(*fitted, strict=True))
    return Judge(wanted, vectoriser, weights, bias, zero, one, areas, lowest, tuple(counts))


def auroc_low(values: Float[np.ndarray, " text"], positive: np.ndarray) -> tuple[float, float]:
    """AUROC, and the lower end of its 95 % interval by Hanley & McNeil's standard error (1982, equation 2)."""
    area, n, m = auroc(values, positive), int(positive.sum()), int((~positive).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)
    return area, float(area - 1.96 * np.sqrt(max(variance, 0.0)))


def storyworld_texts(per_concept: int = PER_CONCEPT, seed: int = 0) -> list[JudgeText]:
    """Storyworld's stories with one known feeling."""
    return [JudgeText(feeling, text, "storyworld") for feeling, text in moments(per_concept, seed)]


def texts_from_file(path: str | Path) -> list[JudgeText]:
    """A jsonl file with a concept (or "neutral") and a text in each line."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}: the judge's texts are a jsonl with concept and text in each line"
        )
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error.msg})") from error
        if row is None:
            continue
        if not isinstance(row, dict) or not isinstance(row.get("concept"), str) or not isinstance(row.get("text"), str):
            raise ValueError(f"{path}:{number}: a line needs a concept and a text")
        found.append(JudgeText(row["concept"], row["text"], "file"))
    return found


def texts_of_set(concept_set: ConceptSet, seed: int = 0) -> list[JudgeText]:
    """The set's own judge texts, and storyworld's stories of those of its concepts that storyworld knows."""
    own = [
        JudgeText(name, text.text, "concept set")
        for name, texts in (
            *((name, concept.of("judge")) for name, concept in concept_set.concepts.items()),
            (NEUTRAL, concept_set.neutral.get("judge", ())),
        )
        for text in texts
    ]
    if set(FEELINGS) & set(concept_set.concepts):
        own += [row for row in storyworld_texts(seed=seed) if row.concept in concept_set.concepts]
    return own


def judge_for(
    wanted: Iterable[str], concept_set: ConceptSet, judge_texts: str | Path | None = None, seed: int = 0
) -> Judge:
    """The judges of all of the set's concepts that there are texts of; ValueError where one of `wanted` has none."""
    texts = texts_of_set(concept_set, seed) if judge_texts is None else texts_from_file(judge_texts)
    known = {row.concept for row in texts}
    if unknown := sorted(set(wanted) - known):
        raise ValueError(
            f"no judge exists for {', '.join(unknown)}: {judge_texts or concept_set.name} has no judge texts of it. Give "
            f"judge_texts, a jsonl with concept and text in each line, of texts that the concept set does not hold"
        )
    families = {name: concept.family for name, concept in concept_set.concepts.items()}
    return train_judge(texts, families, [name for name in concept_set.concepts if name in known], seed)


def _fit(matrix: Any, positive: np.ndarray, weight: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Weights and bias of one logistic regression on the texts of weight above 0, both sides weighing as much."""
    from sklearn.linear_model import LogisticRegression

    used = weight > 0
    positive, weight = positive[used], weight[used]
    side = np.where(positive, weight[positive].sum(), weight[~positive].sum())
    model = LogisticRegression(C=C, solver="liblinear", dual=True, tol=1e-3, random_state=seed)
    model.fit(matrix[used], positive, sample_weight=weight / side * len(weight) / 2)
    return model.coef_[0], float(model.intercept_[0])
