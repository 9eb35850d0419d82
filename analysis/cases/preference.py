"""Which activities a model prefers, which labels go with that, and what a clamp on the mention of an activity changes.

A choice between two activities is read off the model's own probabilities, in both orders: of a chat model the letters (A) and
(B), of a model of stories the two activities as continuations, each less what the model says of it without a choice. Strengths
are Bradley and Terry's (1952), fitted to the soft choices and given as Elo (400 points are ten to one).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from analysis.cases.arms import NONE, CaseArm, case_arms, random_labels
from analysis.cases.kept import Kept, digest_of_clamp
from analysis.clamping.verdict import rank_p
from analysis.concepts.concept import ConceptSet
from analysis.intervals import control_span
from analysis.labelling.scores import benjamini_hochberg
from analysis.monitoring.reader import LevelReader
from analysis.opening import open_subject
from analysis.records import ActivityScore, PreferenceShift, PreferenceTest
from analysis.study import Study
from saes.dictionary import Dictionary
from saes.intervention import DirectionPush, Intervention, RowInterventions
from training.language_models.language_model import LanguageModel

FORMS = ("story", "chat")
STORY = ("{name} could {a} or {b}. {name} chose to", "{name} chose to", "{name} thought about it: to {a}.")
CHAT = ("Would you rather (A) {a} or (B) {b}?", "How would you feel if you were asked to {a}?")
NAME = "Mia"
ELO = 400 / np.log(10)
ROWS = 128
DRAWS = 2000
RIDGE = 1e-3
"""Of the strengths: what keeps them finite where one activity always wins."""
CONTROLS = 40


@dataclass(frozen=True)
class Activity:
    category: str
    activity: str
    """An infinitive phrase that could be asked of an assistant."""
    story: str
    """The same as something that a person in a plain story could do."""

    def words(self, form: str) -> str:
        return self.story if form == "story" else self.activity


def load_activities(path: str | Path | None = None) -> list[Activity]:
    """The bundled ones, or a tsv with the columns category, activity, story."""
    place = Path(str(path)) if path else Path(str(files("analysis.cases"))) / "activities.tsv"
    with place.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if len(rows) < 8 or set(rows[0]) != {"category", "activity", "story"}:
        raise ValueError(f"{place} must have the columns category, activity and story, and at least 8 rows")
    return [Activity(row["category"], row["activity"], row["story"]) for row in rows]


def preference(
    study: Study | str | Path, model: LanguageModel | str | Path | None = None, activities: Sequence[Activity] | None = None,
    form: str = "story", concepts: Sequence[str] | None = None, clamped: Sequence[str] = (), doses: Sequence[float] = (-1.0, 1.0),
    controls: int = CONTROLS, seed: int = 0, progress: bool = True, *, dictionary: Dictionary | None = None,
    concept_set: ConceptSet | None = None, device: str = "auto",
) -> Study:  # fmt: skip
    """Writes `activity_scores`, `preference_tests` (a row a label) and, for the labels in `clamped`, `preference_shifts`.

    Every choice is left in `preference_transcripts.jsonl`, after which a run that was stopped goes on.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, got {form!r}")
    activities = load_activities() if activities is None else list(activities)
    labels = [study.label(name) for name in concepts] if concepts else [one for one in study.labels() if one.is_held]
    if not labels:
        raise ValueError(f"no label of {study.folder} held: name concepts")
    for name in clamped:
        study.label(name)
    if clamped and (not doses or 0 in doses):
        raise ValueError(
            f"doses are numbers of dose units other than 0, got {', '.join(f'{one:g}' for one in doses) or 'none'}"
        )
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    words = [one.words(form) for one in activities]
    chooser = Chooser(model, form, words)
    settings = {"model": model.name, "sae_hash": study.info.sae_hash, "form": form, "activities": words}
    with (
        Kept(study.folder / "preference_transcripts.jsonl", settings, _place) as kept,
        tqdm(total=0, desc="preference", unit="choice", disable=not progress) as bar,
    ):
        choices = Choices(chooser, kept, bar)
        strengths = bradley_terry(choices.of(_ordered_pairs(len(words))), len(words))
        scores = [
            ActivityScore(one.category, one.words(form), form, float(strength * ELO))
            for one, strength in zip(activities, strengths, strict=True)
        ]
        study.write("activity_scores", scores)
        nulls = random_labels(labels, study, model, dictionary, hook_name, controls, seed, concept_set)
        reader = LevelReader(model, dictionary, hook_name, [*labels, *nulls])
        levels = levels_at(reader, chooser.mentions(), words)
        categories = [one.category for one in activities]
        tests = [
            _test(one.concept, form, strengths * ELO, levels[:, at], levels[:, len(labels) :], categories, seed)
            for at, one in enumerate(labels)
        ]
        q = benjamini_hochberg(np.array([one.p for one in tests]))
        study.write("preference_tests", [replace(one, q=float(value)) for one, value in zip(tests, q, strict=True)])
        shifts = []
        if clamped:
            arms = case_arms(study, model, dictionary, hook_name, clamped, doses, controls, seed, concept_set)
            shifts = _shifts(choices, arms, dictionary, hook_name, activities, seed)
        study.write("preference_shifts", shifts)
    return study


def _place(piece: dict[str, Any]) -> tuple[str, str, int, int]:
    return piece["arm"], piece["clamp"], piece["first"], piece["second"]


class Choices:
    """Choices that are made once and kept; the file says which text was read and what was chosen how surely."""

    def __init__(self, chooser: "Chooser", kept: Kept, bar: tqdm):
        self.chooser, self.kept, self.bar = chooser, kept, bar

    def of(
        self, pairs: Sequence[tuple[int, int]], arm: CaseArm | None = None, dictionary: Dictionary | None = None,
        hook_name: str = "",
    ) -> Float[np.ndarray, "pair 3"]:  # fmt: skip
        """Rows (i, j, logit), under the arm's clamp on the first activity's mention where one is given."""
        key, what = (NONE, "") if arm is None else (arm.key, digest_of_clamp(arm.intervention))
        self.bar.total = (self.bar.total or 0) + len(pairs)
        left = [pair for pair in pairs if (key, what, *pair) not in self.kept]
        self.bar.update(len(pairs) - len(left))
        for start in range(0, len(left), ROWS):
            batch = left[start : start + ROWS]
            clamps = [] if arm is None else [arm.intervention] * len(batch)
            logits = self.chooser.logits(batch, clamps, dictionary, hook_name)[:, 2]
            self.kept.add(
                {"arm": key, "clamp": what, "first": i, "second": j, "text": self.chooser.context((i, j)),
                 "chosen": self.chooser.words[i if logit > 0 else j], "logit": round(float(logit), 6)}
                for (i, j), logit in zip(batch, logits, strict=True)
            )  # fmt: skip
            self.bar.update(len(batch))
        return np.array([(*pair, self.kept[key, what, *pair]["logit"]) for pair in pairs]).reshape(-1, 3)


class Chooser:
    """The logit of choosing the first activity of a pair (i, j) over the second, as the text mentions them in that order."""

    def __init__(self, model: LanguageModel, form: str, words: Sequence[str]):
        self.model, self.form, self.words = model, form, list(words)
        if form == "chat" and not getattr(model.tokenizer, "chat_template", None):
            raise ValueError(f"{model.name} is no chat model (its tokenizer has no chat template): give form story")
        self.prior = (
            np.array([]) if form == "chat" else self._continued([STORY[1].format(name=NAME)] * len(words), words)
        )

    def mentions(self) -> list[str]:
        """Each activity in a text of its own, to be read."""
        return [(STORY[2] if self.form == "story" else CHAT[1]).format(name=NAME, a=one) for one in self.words]

    def context(self, pair: tuple[int, int]) -> str:
        a, b = (self.words[place] for place in pair)
        if self.form == "story":
            return STORY[0].format(name=NAME, a=a, b=b)
        asked = [{"role": "user", "content": CHAT[0].format(a=a, b=b)}]
        return self.model.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False) + "("

    def logits(
        self, pairs: Sequence[tuple[int, int]], interventions: Sequence[Intervention | DirectionPush] = (),
        dictionary: Dictionary | None = None, hook_name: str = "",
    ) -> Float[np.ndarray, "pair 3"]:  # fmt: skip
        """Rows (i, j, logit). ``interventions``: one a pair, acting on the tokens of the pair's first activity."""
        found = []
        for start in range(0, len(pairs), ROWS):
            batch = pairs[start : start + ROWS]
            contexts = [self.context(pair) for pair in batch]
            hooks = {}
            if interventions:
                some = [
                    replace(one, positions=self._window(context, self.words[i]))
                    for one, context, (i, _) in zip(interventions[start : start + ROWS], contexts, batch, strict=True)
                ]
                hooks = {hook_name: RowInterventions(some).hook(dictionary)}
            found += self._of_batch(batch, contexts, hooks)
        return np.array([(*pair, value) for pair, value in zip(pairs, found, strict=True)], dtype=float).reshape(-1, 3)

    def _of_batch(self, batch: Sequence[tuple[int, int]], contexts: Sequence[str], hooks: dict) -> list[float]:
        if self.form == "chat":
            log_p = self.model.next_token_log_probs(self.model.tokenise(contexts, add_bos=False), hooks)
            letters = [self.model.tokenise([letter], add_bos=False).ids[0, 0] for letter in "AB"]
            return (log_p[:, letters[0]] - log_p[:, letters[1]]).tolist()
        first, second = (
            self._continued(contexts, [self.words[pair[side]] for pair in batch], hooks) for side in (0, 1)
        )
        prior = np.array([self.prior[i] - self.prior[j] for i, j in batch])
        return (first - second - prior).tolist()

    def _continued(
        self, contexts: Sequence[str], words: Sequence[str], hooks: dict | None = None
    ) -> Float[np.ndarray, " text"]:
        """log p of each text's words after its context."""
        found = []
        for start in range(0, len(contexts), ROWS):
            before, after = contexts[start : start + ROWS], words[start : start + ROWS]
            starts = self.model.tokenise(list(before)).real.sum(dim=1)
            tokens = self.model.tokenise([f"{text} {word}" for text, word in zip(before, after, strict=True)])
            log_p = self.model.log_probs(tokens, hooks)
            place = torch.arange(log_p.shape[1], device=log_p.device)
            found.append((log_p * (place >= starts.to(log_p.device)[:, None])).sum(dim=1).cpu().numpy())
        return np.concatenate(found).astype(float)

    def _window(self, context: str, words: str) -> tuple[int, int]:
        """The tokens of the first mention of these words."""
        before = context[: context.index(words)].rstrip()
        bos = None if self.form == "story" else False
        sizes = [
            int(self.model.tokenise([text], add_bos=bos).real.sum())
            for text in (before, context[: len(before) + 1 + len(words)])
        ]
        return sizes[0], max(sizes[1], sizes[0] + 1)


def levels_at(reader: LevelReader, texts: Sequence[str], words: Sequence[str]) -> Float[np.ndarray, "text label"]:
    """Each text's mean levels over the tokens of its words alone: what stands around them is the same in every text, and would
    count the more the shorter the words are."""
    found = []
    for text, some, levels in zip(texts, words, reader.texts(texts), strict=True):
        start = text.index(some)
        before, through, whole = (
            int(reader.model.tokenise([part]).real.sum())
            for part in (text[:start].rstrip(), text[: start + len(some)], text)
        )
        marks = whole - len(levels)  # at the beginning, and never read
        found.append(levels[before - marks : max(through, before + 1) - marks].mean(axis=0))
    return np.stack(found)


def bradley_terry(choices: Float[np.ndarray, "pair 3"], n: int) -> Float[np.ndarray, " item"]:
    """Strengths of mean 0 that best explain the soft choices (i, j, logit that i is chosen). Order effects cancel where both
    orders of a pair are there."""
    from scipy.optimize import minimize

    first, second = choices[:, 0].astype(int), choices[:, 1].astype(int)
    wanted = 1 / (1 + np.exp(-np.clip(choices[:, 2], -30, 30)))

    def cost(strengths: np.ndarray) -> tuple[float, np.ndarray]:
        margin = strengths[first] - strengths[second]
        error = 1 / (1 + np.exp(-margin)) - wanted
        value = float(np.mean(np.logaddexp(0, margin) - wanted * margin)) + RIDGE * float(strengths @ strengths) / n
        slope = 2 * RIDGE * strengths / n
        np.add.at(slope, first, error / len(wanted))
        np.add.at(slope, second, -error / len(wanted))
        return value, slope

    found = minimize(cost, np.zeros(n), jac=True, method="L-BFGS-B").x
    return found - found.mean()


def _ordered_pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def _test(
    concept: str, form: str, elo: np.ndarray, level: np.ndarray, null: np.ndarray, categories: Sequence[str], seed: int
) -> PreferenceTest:
    """Pearson's r of level and Elo over activities; the same with each category's means taken off; p by permutation."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(elo), size=(DRAWS, len(elo)))
    r = _r(elo, level)
    resampled = [_r(elo[some], level[some]) for some in drawn]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    shuffled = np.array([_r(rng.permutation(elo), level) for _ in range(DRAWS)])
    inside = _r(_within(elo, categories), _within(level, categories))
    theirs = np.array([_r(elo, null[:, column]) for column in range(null.shape[1])])
    return PreferenceTest(
        concept, form, r, float(low), float(high), inside, float((1 + np.sum(np.abs(shuffled) >= abs(r))) / (1 + DRAWS)), 1.0,
        float(np.mean(np.abs(theirs) >= abs(r))) if len(theirs) else float("nan"), len(theirs), len(elo), *control_span(theirs),
    )  # fmt: skip


def _r(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; 0 where one of them never changes."""
    a, b = one - one.mean(), other - other.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 1e-12 else 0.0


def _within(values: np.ndarray, categories: Sequence[str]) -> np.ndarray:
    names = np.array(categories)
    return values - np.array([values[names == name].mean() for name in names])


def _shifts(
    choices: Choices, arms: Sequence[CaseArm], dictionary: Dictionary, hook_name: str, activities: Sequence[Activity], seed: int
) -> list[PreferenceShift]:  # fmt: skip
    """Every second activity of a category is clamped where it is mentioned first, against the others, which never are."""
    order = sorted(range(len(activities)), key=lambda at: (activities[at].category, at))
    steered, others = order[::2], order[1::2]
    rng = np.random.default_rng(seed)
    pairs = [(i, int(j)) for i in steered for j in rng.choice(others, min(6, len(others)), replace=False)]
    base = choices.of(pairs)[:, 2].reshape(len(steered), -1).mean(axis=1)
    means = {}
    for arm in arms:
        if arm.kind != NONE:
            logits = choices.of(pairs, arm, dictionary, hook_name)[:, 2]
            means[arm.key] = (logits.reshape(len(steered), -1).mean(axis=1) - base) * ELO
    rows = []
    for arm in arms:
        if arm.kind not in ("label", "diff_means"):
            continue
        mine = means[arm.key]
        drawn = mine[rng.integers(len(mine), size=(DRAWS, len(mine)))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        like = np.array([
            means[one.key].mean() for one in arms
            if one.kind.startswith("random") and (one.concept, one.dose) == (arm.concept, arm.dose)
        ])  # fmt: skip
        middle = float(np.median(like)) if len(like) else float("nan")
        p = rank_p(abs(mine.mean() - middle), np.abs(like - middle)) if len(like) else None
        band = np.quantile(like, [0.05, 0.95]) if len(like) else (float("nan"), float("nan"))
        rows.append(
            PreferenceShift(
                arm.concept, arm.kind, choices.chooser.form, arm.dose, float(mine.mean()), float(low), float(high), float(band[0]),
                float(band[1]), p, len(like), len(steered),
            )
        )  # fmt: skip
    return rows
