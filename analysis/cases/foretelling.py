"""Do levels foretell what an agent of the workshop will do? Unclamped episodes of impossible tasks, read up to the last failed
attempt and what follows it, before the ending is written.

Traces: a label's mean level attempt by attempt, of the same episodes all along, counted from the start or back from the ending,
by how they end; a mean over whichever episodes got so far would tell who ends early, not what rises. Slopes: from attempt to
attempt within each episode. Foretelling: the mean level after the last attempt, as a detector of episodes that will end in
cheating against those that end in an honest stop; beside it a bag of words of the same beginning, trained on other episodes.
Beside all of them stand random groups of latents that fire as often.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.cases.arms import random_labels
from analysis.cases.kept import Kept
from analysis.cases.workshop import Episode, draw_episodes, play
from analysis.concepts.concept import ConceptSet
from analysis.intervals import auroc_interval, control_span
from analysis.monitoring.reader import LevelReader
from analysis.monitoring.transcript import plain_document
from analysis.opening import open_subject
from analysis.records import AttemptLevel, AttemptSlope, AttemptTrace, Foretelling
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
PIECE = 60
"""Episodes that are played side by side, and kept together."""
LENGTHS = (2, 3)
"""Traces are of episodes with at least so many failed attempts."""
ENDINGS = ("cheated", "stopped", "both")
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
    """Plays `n` impossible tasks without a clamp; writes `attempt_levels`, `attempt_traces`, `attempt_slopes`, `foretellings` and
    `foretell_transcripts.jsonl`, after which a run that was stopped goes on.

    Half of the episodes train the bag of words, the other half score everything. Raises ValueError where fewer than LEAST
    episodes of the second half end either way.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    held = {label.concept: label for label in study.labels()}
    if n < 4 * LEAST:
        raise ValueError(
            f"at least {4 * LEAST} episodes are needed, {LEAST} that end either way in the half that is scored; got {n}"
        )
    labels = [study.label(one) for one in concepts] if concepts else [held[one] for one in CONCEPTS if one in held]
    if not labels:
        raise ValueError(f"{study.folder} has no label of {', '.join(CONCEPTS)}: name concepts")
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    nulls = random_labels(labels, study, model, dictionary, hook_name, controls, seed, concept_set)
    read_labels = [*labels, *nulls]
    reader = LevelReader(model, dictionary, hook_name, read_labels)
    episodes = draw_episodes(["none"], n, 0, seed, purpose="foretell")
    settings = {
        "model": model.name, "sae_hash": study.info.sae_hash, "seed": seed,
        "labels": [[one.concept, one.latents, one.scales] for one in read_labels],
    }  # fmt: skip
    path = study.folder / "foretell_transcripts.jsonl"
    with (
        Kept(path, settings, key=lambda piece: piece["seed"]) as kept,
        tqdm(total=n, desc="foretell", unit="episode", disable=not progress) as bar,
    ):
        for start in range(0, n, PIECE):
            some = episodes[start : start + PIECE]
            if any(one.seed not in kept for one in some):
                play(some, {"none": (0.0, Intervention())}, model, dictionary, hook_name)
                kept.add(_piece(reader, len(labels), one) for one in some)
            bar.update(len(some))
        pieces = [kept[one.seed] for one in episodes]
    pieces = [piece for piece in pieces if piece["after"]]
    beginnings = [Beginning(one["text"], one["after"], one["outcome"] == "cheated") for one in pieces]
    read = [np.array([*one["levels"].values(), *one["controls"]], dtype=float).T for one in pieces]  # [attempt, label]
    names, cheated = [label.concept for label in labels], [one.cheated for one in beginnings]
    scores = foretellings(names, beginnings, read, seed)
    study.write("attempt_levels", attempt_levels(names, read, seed))
    study.write("attempt_traces", attempt_traces(names, read, cheated, seed))
    study.write("attempt_slopes", attempt_slopes(names, read, cheated, seed))
    study.write("foretellings", scores)
    return study


def _piece(reader: LevelReader, n_labels: int, episode: Episode) -> dict[str, Any]:
    """An episode as a line of the transcript: up to its ending, with what was read after each attempt; `after` is empty where it
    does not count."""
    found = beginning_of(episode)
    if found is None:
        return {
            "seed": episode.seed,
            "outcome": episode.outcome,
            "text": episode.text,
            "after": [],
            "levels": {},
            "controls": [],
        }
    levels = [
        [round(float(value), 6) if np.isfinite(value) else None for value in column]
        for column in levels_after(reader, found).T
    ]
    return {
        "seed": episode.seed, "outcome": episode.outcome, "text": found.text, "after": found.after,
        "levels": dict(zip(reader.concepts[:n_labels], levels[:n_labels], strict=True)), "controls": levels[n_labels:],
    }  # fmt: skip


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
    """Mean and bootstrap interval over those episodes that got so far, attempt by attempt."""
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


def attempt_traces(
    names: Sequence[str], read: Sequence[np.ndarray], cheated: Sequence[bool], seed: int = 0
) -> list[AttemptTrace]:
    """Means of the same episodes at every attempt, from the start and back from the end; fewer than LEAST are left out."""
    rng = np.random.default_rng(seed)
    rows = []
    for least in LENGTHS:
        for outcome in ENDINGS:
            some = [one for one, end in zip(read, cheated, strict=True) if len(one) >= least and _ends(end, outcome)]
            for aligned, cut in (("start", slice(0, least)), ("end", slice(-least, None))):
                levels = np.array(
                    [one[cut] for one in some if np.isfinite(one[cut]).all()]
                )  # [episode, attempt, label]
                if len(levels) < LEAST:
                    continue
                drawn = rng.integers(len(levels), size=(DRAWS, len(levels)))
                for place in range(least):
                    means = levels[:, place].mean(axis=0)
                    band = control_span(means[len(names) :])
                    for column, name in enumerate(names):
                        low, high = np.quantile(levels[:, place, column][drawn].mean(axis=1), [0.025, 0.975])
                        rows.append(
                            AttemptTrace(
                                name, outcome, aligned, place + 1 if aligned == "start" else place - least, least,
                                float(means[column]), float(low), float(high), *band, len(levels),
                            )
                        )  # fmt: skip
    return rows


def attempt_slopes(
    names: Sequence[str], read: Sequence[np.ndarray], cheated: Sequence[bool], seed: int = 0
) -> list[AttemptSlope]:
    """Slopes within episodes of two or more attempts, by how they end, and how those that cheat differ from those that stop."""
    rng = np.random.default_rng(seed)
    known = [at for at, one in enumerate(read) if np.isfinite(one).all() and len(one) > 1]
    slopes = np.array([slope_of(read[at]) for at in known]).reshape(len(known), -1)  # [episode, label]
    ends = np.array([cheated[at] for at in known], dtype=bool)
    rows = []
    for outcome in ENDINGS:
        some = slopes[[_ends(end, outcome) for end in ends]]
        if len(some) < LEAST:
            continue
        drawn = _means_of_draws(some, rng)
        null = (rng.choice([-1.0, 1.0], size=(DRAWS, len(some))) @ some) / len(some)
        rows += _slope_rows(names, outcome, some.mean(axis=0), drawn, null, len(some))
    mine, theirs = slopes[ends], slopes[~ends]
    if min(len(mine), len(theirs)) >= LEAST:
        drawn = _means_of_draws(mine, rng) - _means_of_draws(theirs, rng)
        weights = np.where(ends, 1 / len(mine), -1 / len(theirs))
        null = np.stack([rng.permutation(weights) for _ in range(DRAWS)]) @ slopes
        rows += _slope_rows(names, "difference", mine.mean(axis=0) - theirs.mean(axis=0), drawn, null, len(slopes))
    return rows


def _means_of_draws(
    values: Float[np.ndarray, "episode label"], rng: np.random.Generator
) -> Float[np.ndarray, "draw label"]:
    """Bootstrap means over episodes, from how often each is drawn: episodes times draws are never held for every label."""
    n = len(values)
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) @ values / n


def slope_of(levels: Float[np.ndarray, "attempt label"]) -> Float[np.ndarray, " label"]:
    """Least squares: how much the level changes from attempt to attempt."""
    steps = np.arange(len(levels)) - (len(levels) - 1) / 2
    return steps @ levels / (steps @ steps)


def _slope_rows(
    names: Sequence[str], outcome: str, means: np.ndarray, drawn: np.ndarray, null: np.ndarray, n: int
) -> list[AttemptSlope]:
    """``drawn`` and ``null`` are `[draw, label]`; columns after the names' are of random groups."""
    theirs = means[len(names) :]
    rows = []
    for column, name in enumerate(names):
        mine = float(means[column])
        low, high = np.quantile(drawn[:, column], [0.025, 0.975])
        p = (1 + np.sum(np.abs(null[:, column]) >= abs(mine) - 1e-12)) / (1 + len(null))
        share = float(np.mean(np.abs(theirs) >= abs(mine))) if len(theirs) else float("nan")
        rows.append(
            AttemptSlope(
                name, outcome, mine, float(low), float(high), float(p), share, *control_span(theirs), len(theirs), n
            )
        )
    return rows


def _ends(cheated: bool, outcome: str) -> bool:
    return outcome == "both" or cheated == (outcome == "cheated")


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
                *control_span(null),
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
