"""The explaining journey: a study -> the same study with sentences about its latents, each scored on checking texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from analysis.concepts.concept import ConceptSet
from analysis.explaining import prompts
from analysis.explaining.asking import Asking, Budget, BudgetSpent, Gate, Question, Reply
from analysis.explaining.cache import AnswerCache
from analysis.explaining.llm import LLM
from analysis.explaining.material import LEAST_FIRING, HeldOut, Material
from analysis.explaining.opening import open_llm
from analysis.explaining.scoring import Score, gain, score
from analysis.labelling.directions import nearest_latents
from analysis.labelling.split import text_table
from analysis.observe import observe
from analysis.opening import as_labelled, concept_set_of, open_subject
from analysis.records import Explanation
from analysis.study import Study
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel

AT_ONCE = 8
"""Excerpts that one question has rated."""
NEIGHBOURS = 10
"""Nearest latents from whose firings the hard negatives come."""
NEAR_AT_ONCE = 256
CACHE = "llm_answers.jsonl"


def explain(
    study: Study | str | Path,
    llm: LLM | str,
    features: str | Sequence[int] = "labels",
    scorer: LLM | str | None = None,
    *,
    held_out: int = 16,
    parallel: int = 4,
    per_minute: float | None = None,
    max_requests: int | None = None,
    answer_tokens: int = 512,
    timeout: float = 60.0,
    key_variable: str | None = None,
    model: LanguageModel | str | Path | None = None,
    dictionary: Dictionary | None = None,
    concept_set: ConceptSet | str | Path | None = None,
    asking: Asking | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> Study:
    """Has `llm` explain latents from finding texts and `scorer` (default: the same) score it on checking texts.

    `features`: "labels" (the latents of chosen labels), "all" (every latent that fires in enough finding texts), or
    latents. `held_out` is the number of firing excerpts a latent is scored on, and of silent ones. Writes the table
    `explanations`; every answer is kept in the study's folder, so that a run that was stopped goes on where it was.
    Raises ValueError or FileNotFoundError, in one line, for input that cannot be used.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    if held_out < 4:
        raise ValueError(f"a score needs at least 4 excerpts of either kind, not {held_out}")
    wanted = _wanted(study, features)
    llm = open_llm(llm, key_variable, timeout, device) if isinstance(llm, str) else llm
    scorer = open_llm(scorer, key_variable, timeout, device) if isinstance(scorer, str) else scorer or llm
    concept_set = concept_set_of(study, concept_set)
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    if wanted and max(wanted) >= dictionary.d_sae:
        raise ValueError(f"there is no latent {max(wanted)}: the SAE has {dictionary.d_sae}, counted from 0")

    table = text_table(concept_set, ("finding", "checking"))
    seen = observe(as_labelled(model, study), dictionary, hook_name, table.texts)
    latents = wanted if wanted is not None else np.unique(seen.firings.latent).tolist()
    material = Material(seen, table, _near(dictionary, latents), seed, _special(model))
    enough = [latent for latent in latents if material.n_firing(latent) >= LEAST_FIRING]
    skipped = sorted(set(latents) - set(enough)) if wanted is not None else []
    if not enough:
        raise ValueError(f"none of these latents fires in {LEAST_FIRING} finding texts: there is nothing to explain")

    asking = asking or Asking(
        AnswerCache(study.folder / CACHE), Budget(max_requests), Gate(per_minute), parallel=parallel
    )
    rows: list[Explanation] = []
    spent = ""
    try:
        written, n_shown = _written(asking, llm, enough, material, answer_tokens, progress)
        others = _others(study, {latent: reply.value for latent, reply in written.items()}, llm.name, seed)
        for latent in tqdm(enough, desc="score", unit="latent", disable=not progress):
            rating = _Rating(asking, scorer, material.held_out(latent, held_out), answer_tokens, seed)
            rows.append(
                _row(latent, written[latent], others.get(latent), rating, n_shown[latent], llm.name, scorer.name)
            )
    except BudgetSpent as stopped:
        spent = str(stopped)
    finally:
        done = {row.latent for row in rows}
        kept = [row for row in study.read("explanations", Explanation) if row.latent not in done]
        study.write("explanations", sorted([*kept, *rows], key=lambda row: row.latent))
    settings = {"llm": llm.name, "scorer": scorer.name, "prompts": prompts.VERSION, "seed": seed, "held_out": held_out,
                "answer_tokens": answer_tokens, "skipped": skipped, "left": [one for one in enough if one not in done],
                "stopped": spent}  # fmt: skip
    study.update_info(settings={**study.info.settings, "explain": settings})
    return study


def _wanted(study: Study, features: str | Sequence[int]) -> list[int] | None:
    """The latents that were asked for; None for all."""
    if features == "all":
        return None
    if isinstance(features, str):
        if features != "labels":
            raise ValueError(f"features are all, labels or latents such as 3,17, not {features!r}")
        features = [latent for label in study.labels() for latent in label.latents]
        if not features:
            raise ValueError(f"{study.folder} has no labels: name latents, or take all")
    if any(latent < 0 for latent in features):
        raise ValueError(f"latents are counted from 0, got {min(features)}")
    return sorted(set(features))


def _special(model: LanguageModel) -> set[str]:
    """The tokens that mean something to the model instead of being text."""
    return set(model.strings(getattr(model.tokenizer, "all_special_ids", [])))


def _near(dictionary: Dictionary, latents: Sequence[int]) -> dict[int, list[int]]:
    """Each latent's nearest latents, nearest first."""
    near: dict[int, list[int]] = {}
    for start in range(0, len(latents), NEAR_AT_ONCE):
        some = latents[start : start + NEAR_AT_ONCE]
        near |= {one: ids for one, (ids, _) in zip(some, nearest_latents(dictionary, some, NEIGHBOURS), strict=True)}
    return near


def _written(
    asking: Asking, llm: LLM, latents: list[int], material: Material, max_tokens: int, progress: bool
) -> tuple[dict[int, Reply], dict[int, int]]:
    """latent -> its explanation; latent -> how many excerpts it was written from."""
    n_shown: dict[int, int] = {}

    def question(latent: int) -> Question:
        groups, largest = material.shown(latent)
        n_shown[latent] = sum(map(len, groups.values()))
        return prompts.write_question(groups, largest, max_tokens)

    replies = {}
    with tqdm(total=len(latents), desc="explain", unit="latent", disable=not progress) as bar:
        for place, reply in asking.ask_all(llm, map(question, latents)):
            replies[latents[place]] = reply
            bar.update()
    return replies, n_shown


def _others(study: Study, texts: dict[int, str | None], model: str, seed: int) -> dict[int, tuple[int, str]]:
    """latent -> another latent with its explanation: each explanation goes to one other latent.

    Explanations that the same model wrote earlier take part.
    """
    known = {
        row.latent: row.text
        for row in study.read("explanations", Explanation)
        if row.model == model and row.prompts == prompts.VERSION
    }
    explained = {latent: text for latent, text in (known | texts).items() if text}
    if len(explained) < 2:
        return {}
    ring = np.random.default_rng(seed).permutation(sorted(explained)).tolist()
    following = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
    return {latent: (following.get(latent, ring[0]), explained[following.get(latent, ring[0])]) for latent in texts}


@dataclass(frozen=True)
class _Ratings:
    """What one explanation got: a number an excerpt, NaN where none came."""

    detection: np.ndarray
    fuzzing: np.ndarray
    n_asked: int
    n_malformed: int


class _Rating:
    """Has explanations rated on one latent's held-out excerpts: the same ones, in the same order, for each."""

    def __init__(self, asking: Asking, scorer: LLM, held: HeldOut, max_tokens: int, seed: int):
        self._asking, self._scorer, self._max_tokens = asking, scorer, max_tokens
        rng = np.random.default_rng([seed, len(held.firing)])
        self._excerpts = [*held.firing, *held.hard, *held.silent]
        self.fires = np.arange(len(self._excerpts)) < len(held.firing)
        silent = np.arange(len(self._excerpts)) >= len(held.firing) + len(held.hard)
        self.hard = ~silent
        """Leaves out the silent excerpts that were drawn by chance."""
        self._detections = _batches(rng.permutation(len(self._excerpts)))
        pairs = [(one, wrong) for one, wrong in zip(held.firing, held.wrong_marks, strict=True) if wrong]
        self._marked = [prompts.with_marks(one, prompts.firing_places(one)) for one, _ in pairs]
        self._marked += [prompts.with_marks(one, wrong) for one, wrong in pairs]
        self.right = np.arange(len(self._marked)) < len(pairs)
        # No question holds an excerpt with both its right and its wrong marks: rating is not comparing the two.
        swap = np.arange(len(pairs)) % 2
        halves = [np.arange(len(pairs)) + len(pairs) * side for side in (swap, 1 - swap)]
        self._fuzzings = [batch for half in halves for batch in _batches(rng.permutation(half))]

    def of(self, explanation: str) -> _Ratings:
        detects = [
            prompts.detect_question(explanation, [self._excerpts[at] for at in batch], self._max_tokens)
            for batch in self._detections
        ]
        fuzzes = [
            prompts.fuzz_question(explanation, [self._marked[at] for at in batch], self._max_tokens)
            for batch in self._fuzzings
        ]
        detection, fuzzing = np.full(len(self._excerpts), np.nan), np.full(len(self._marked), np.nan)
        targets = [(detection, batch) for batch in self._detections] + [(fuzzing, batch) for batch in self._fuzzings]
        n_asked = n_malformed = 0
        for place, reply in self._asking.ask_all(self._scorer, [*detects, *fuzzes]):
            ratings, batch = targets[place]
            if reply.value is not None:
                ratings[batch] = reply.value
            n_asked, n_malformed = n_asked + reply.n_asked, n_malformed + reply.n_malformed
        return _Ratings(detection, fuzzing, n_asked, n_malformed)

    def unrated(self) -> _Ratings:
        return _Ratings(np.full(len(self._excerpts), np.nan), np.full(len(self._marked), np.nan), 0, 0)


def _batches(order: np.ndarray) -> list[np.ndarray]:
    return [order[start : start + AT_ONCE] for start in range(0, len(order), AT_ONCE)]


def _row(
    latent: int,
    reply: Reply,
    other: tuple[int, str] | None,
    rating: _Rating,
    n_shown: int,
    model: str,
    scorer: str,
) -> Explanation:
    own = rating.of(reply.value) if reply.value else rating.unrated()
    theirs = rating.of(other[1]) if reply.value and other else rating.unrated()
    hard = score(own.detection[rating.hard], rating.fires[rating.hard])
    there = ~np.isnan(own.detection)
    return Explanation(
        latent=latent, text=reply.value, model=model, scorer=scorer, prompts=prompts.VERSION,
        n_shown=n_shown,
        **_scores("detection", own.detection, theirs.detection, rating.fires),
        detection_hard=hard.auroc if hard else None,
        n_firing=int((there & rating.fires).sum()), n_silent=int((there & ~rating.fires).sum()),
        **_scores("fuzzing", own.fuzzing, theirs.fuzzing, rating.right),
        n_right=int((~np.isnan(own.fuzzing) & rating.right).sum()),
        n_wrong=int((~np.isnan(own.fuzzing) & ~rating.right).sum()),
        shuffled_latent=other[0] if other else None,
        n_asked=reply.n_asked + own.n_asked + theirs.n_asked,
        n_malformed=reply.n_malformed + own.n_malformed + theirs.n_malformed,
        n_missing=int(np.isnan(own.detection).sum() + np.isnan(own.fuzzing).sum()),
    )  # fmt: skip


def _scores(task: str, own: np.ndarray, theirs: np.ndarray, positive: np.ndarray) -> dict[str, Any]:
    """The fields of one task."""
    found: Score | None = score(own, positive)
    shuffled, above = score(theirs, positive), gain(own, theirs, positive)
    return {
        task: found and found.auroc,
        f"{task}_low": found and found.low,
        f"{task}_high": found and found.high,
        f"{task}_accuracy": found and found.accuracy,
        f"{task}_shuffled": shuffled and shuffled.auroc,
        f"{task}_gain_low": above and above.low,
        f"{task}_gain_high": above and above.high,
    }
