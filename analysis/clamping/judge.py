"""A judge of which concept a text shows, trained on texts that the labels never saw; it knows nothing of any SAE."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

HELD_OUT = 0.2
PER_CONCEPT = 150
"""Storyworld texts a concept that the bundled judge is trained and tested on."""


@dataclass(frozen=True)
class Judge:
    """tf-idf of words and word pairs, then multinomial logistic regression."""

    concepts: tuple[str, ...]
    accuracy: float
    """On texts of the same source that it was not trained on."""
    pipeline: Any

    def probabilities(self, texts: Sequence[str]) -> Float[np.ndarray, "text concept"]:
        """How much of each concept a text shows; every row adds up to 1."""
        return self.pipeline.predict_proba(list(texts))

    def accuracy_on(self, labelled: Iterable[tuple[str, str]]) -> float:
        """The share of (concept, text) pairs that it gets right; concepts that it does not know are left out."""
        known = [(concept, text) for concept, text in labelled if concept in self.concepts]
        if not known:
            return float("nan")
        concepts, texts = zip(*known, strict=True)
        return float(np.mean(self.pipeline.predict(list(texts)) == np.array(concepts)))


def train_judge(labelled: Iterable[tuple[str, str]], seed: int = 0) -> Judge:
    """A judge from (concept, text) pairs, a fifth held out to measure it; the same seed gives the same judge."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise ImportError("the judge needs scikit-learn: pip install 'scikit-learn>=1.6'") from error
    pairs = sorted(set(labelled))
    concepts = np.array([concept for concept, _ in pairs])
    texts = np.array([text for _, text in pairs], dtype=object)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(pairs), dtype=bool)
    for concept in np.unique(concepts):
        mine = rng.permutation(np.flatnonzero(concepts == concept))
        if len(mine) < 5:
            raise ValueError(f"a judge needs at least 5 texts of each concept, got {len(mine)} of {concept!r}")
        held_out[mine[: max(1, int(HELD_OUT * len(mine)))]] = True
    if len(np.unique(concepts)) < 2:
        raise ValueError("a judge needs texts of at least two concepts")
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
        LogisticRegression(C=10.0, max_iter=200, tol=1e-3),
    )
    pipeline.fit(texts[~held_out], concepts[~held_out])
    accuracy = float(np.mean(pipeline.predict(texts[held_out]) == concepts[held_out]))
    return Judge(tuple(str(name) for name in pipeline[-1].classes_), accuracy, pipeline)


def storyworld_judge(seed: int = 0, per_concept: int = PER_CONCEPT) -> Judge:
    """The judge of storyworld's 24 feelings, trained on its stories with one known feeling."""
    from training.corpora.storyworld.moments import moments

    return train_judge(moments(per_concept, seed), seed)


def judge_from_file(path: str | Path, seed: int = 0) -> Judge:
    """A judge from a jsonl file with a concept and a text in each line."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}: the judge's texts are a jsonl with concept and text in each line"
        )
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error.msg})") from error
        if row is None:
            continue
        if not isinstance(row, dict) or not isinstance(row.get("concept"), str) or not isinstance(row.get("text"), str):
            raise ValueError(f"{path}:{number}: a line needs a concept and a text")
        pairs.append((row["concept"], row["text"]))
    return train_judge(pairs, seed)


def judge_for(concepts: Iterable[str], judge_texts: str | Path | None = None, seed: int = 0) -> Judge:
    """The judge that knows all of `concepts`; ValueError names those for which there is none."""
    concepts = set(concepts)
    if judge_texts is not None:
        judge = judge_from_file(judge_texts, seed)
        _must_know(concepts, judge.concepts, str(judge_texts))
        return judge
    from training.corpora.storyworld.bank import FEELINGS

    _must_know(concepts, FEELINGS, "storyworld")
    return storyworld_judge(seed)


def _must_know(concepts: set[str], known: Sequence[str], source: str) -> None:
    if unknown := sorted(concepts - set(known)):
        raise ValueError(
            f"no judge exists for {', '.join(unknown)}: {source} has no texts of it. Give judge_texts, a jsonl "
            f"with concept and text in each line, of texts that the concept set does not hold"
        )
