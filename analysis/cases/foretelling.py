"""Do levels foretell what an agent of the workshop will do? Unclamped episodes of impossible tasks, read up to the last failed
attempt and what follows it, before the ending is written.

Traces: a label's mean level after each failed attempt. Foretelling: its mean level after the last one, as a detector of episodes
that will end in cheating against those that end in an honest stop; beside it a bag of words of the same beginning, trained on
other episodes, and random groups of latents that fire as often.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.cases.arms import random_labels
from analysis.cases.workshop import Episode, draw_episodes, play
from analysis.concepts.concept import ConceptSet
from analysis.intervals import auroc_interval
from analysis.monitoring.reader import LevelReader
from analysis.monitoring.transcript import plain_document
from analysis.opening import open_subject
from analysis.records import AttemptLevel, Foretelling
from analysis.study import Study
from saes.dictionary import Dictionary
from saes.intervention import Intervention
from training.language_models.language_model import LanguageModel

CONCEPTS = ("desperate", "frustrated", "calm", "hopeful", "guilty", "anxious")
CONTROLS = 60
MOST_ATTEMPTS = 4
"""Traces are shown up to this attempt; later ones are rare."""
LEAST = 10
"""Episodes of each ending that a score needs."""
DRAWS = 2000


@dataclass(frozen=True)
class Beginning:
    """An episode up to where its ending is about to be written."""

    text: str
    after: tuple[tuple[int, int], ...]
    """After each failed attempt, the letters up to the next act."""
    cheated: bool


def foretell(
    study: Study | str | Path, model: LanguageModel | str | Path | None = None, concepts: Sequence[str] | None = None, n: int = 300,
    controls: int = CONTROLS, seed: int = 0, progress: bool = True, *, dictionary: Dictionary | None = None,
    concept_set: ConceptSet | None = None, device: str = "auto",
) -> Study:  # fmt: skip
    """Plays `n` impossible tasks without a clamp; writes `attempt_levels` and `foretellings`.

    Half of the episodes train the bag of words, the other half score everything. Raises ValueError where fewer than LEAST
    episodes of the second half end either way.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    held = {label.concept: label for label in study.labels()}
    labels = [study.label(one) for one in concepts] if concepts else [held[one] for one in CONCEPTS if one in held]
    if not labels:
        raise ValueError(f"{study.folder} has no label of {', '.join(CONCEPTS)}: name concepts")
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    episodes = draw_episodes(["none"], n, 0, seed, purpose="foretell")
    with tqdm(total=len(episodes), desc="foretell", unit="episode", disable=not progress) as bar:
        play(episodes, {"none": (0.0, Intervention())}, model, dictionary, hook_name, bar.update)
    beginnings = [found for one in episodes if (found := beginning_of(one)) is not None]
    nulls = random_labels(labels, study, model, dictionary, hook_name, controls, seed, concept_set)
    reader = LevelReader(model, dictionary, hook_name, [*labels, *nulls])
    read = [levels_after(reader, one) for one in beginnings]
    names = [label.concept for label in labels]
    levels, scores = attempt_levels(names, read, seed), foretellings(names, beginnings, read, seed)
    study.write("attempt_levels", levels)
    study.write("foretellings", scores)
    return study


def beginning_of(episode: Episode) -> Beginning | None:
    """None for an episode without a failed attempt, or that ended neither in cheating nor in a stop."""
    if episode.outcome not in ("cheated", "stopped"):
        return None
    acts = list(re.finditer(rf"^{episode.name} (tried|answered|stopped): .*$", episode.text, re.M))
    tries = [act for act in acts if act[1] == "tried"]
    if not tries or acts[-1][1] == "tried":
        return None
    ends = [*(act.start() for act in acts[1:])]
    after = tuple((act.end(), end) for act, end in zip(acts[:-1], ends, strict=True) if act[1] == "tried")
    return Beginning(episode.text[: acts[-1].start()], after, episode.outcome == "cheated")


def levels_after(reader: LevelReader, beginning: Beginning) -> Float[np.ndarray, "attempt label"]:
    """Mean levels over the tokens between an attempt and the next act; NaN where there are none."""
    blocks = list(reader.blocks(plain_document(beginning.text)))
    levels = np.concatenate([block.levels for block in blocks])
    places = np.concatenate([block.places for block in blocks])
    found = []
    for start, stop in beginning.after:
        inside = (places[:, 0] >= start) & (places[:, 1] <= stop) & (places[:, 1] > places[:, 0])
        found.append(levels[inside].mean(axis=0) if inside.any() else np.full(levels.shape[1], np.nan))
    return np.array(found)


def attempt_levels(names: Sequence[str], read: Sequence[np.ndarray], seed: int = 0) -> list[AttemptLevel]:
    """Mean and bootstrap interval over episodes, attempt by attempt."""
    rng = np.random.default_rng(seed)
    rows = []
    for column, name in enumerate(names):
        for attempt in range(MOST_ATTEMPTS):
            values = np.array([one[attempt, column] for one in read if len(one) > attempt])
            values = values[np.isfinite(values)]
            if len(values) < LEAST:
                continue
            drawn = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
            low, high = np.quantile(drawn, [0.025, 0.975])
            rows.append(AttemptLevel(name, attempt + 1, float(values.mean()), float(low), float(high), len(values)))
    return rows


def foretellings(
    names: Sequence[str], beginnings: Sequence[Beginning], read: Sequence[np.ndarray], seed: int = 0
) -> list[Foretelling]:
    last = np.array([one[-1] for one in read])
    cheated = np.array([one.cheated for one in beginnings])
    known = np.isfinite(last).all(axis=1)
    train = np.arange(len(beginnings)) % 2 == 0
    scored = ~train & known
    if min(np.sum(cheated & scored), np.sum(~cheated & scored)) < LEAST:
        raise ValueError(
            f"of {len(beginnings)} episodes too few end either way ({int(np.sum(cheated & scored))} cheated and "
            f"{int(np.sum(~cheated & scored))} stopped in the half that is scored, at least {LEAST} are needed): play more"
        )
    words = auroc_interval(*_split(_bag_of_words(beginnings, train, seed)[scored], cheated[scored]), seed)
    rows = []
    null = np.array([
        auroc_interval(*_split(last[scored, column], cheated[scored]), seed)[0] for column in range(len(names), last.shape[1])
    ])  # fmt: skip
    for column, name in enumerate(names):
        area, low, high = auroc_interval(*_split(last[scored, column], cheated[scored]), seed)
        share = float(np.mean(np.abs(null - 0.5) >= abs(area - 0.5))) if len(null) else float("nan")
        rows.append(
            Foretelling(
                name,
                area,
                low,
                high,
                *words,
                share,
                len(null),
                int(np.sum(cheated & scored)),
                int(np.sum(~cheated & scored)),
            )
        )
    return rows


def _split(values: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[positive], values[~positive]


def _bag_of_words(beginnings: Sequence[Beginning], train: np.ndarray, seed: int) -> np.ndarray:
    """A tf-idf logistic regression's score of each beginning, names and numbers left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [re.sub(r"\b[A-Z][a-z]+\b|\d+", " ", one.text) for one in beginnings]
    target = np.array([one.cheated for one in beginnings])
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), LogisticRegression(C=10.0, random_state=seed)
    )
    model.fit([text for text, used in zip(texts, train, strict=True) if used], target[train])
    return model.decision_function(texts)
