"""Frozen labels on texts that nobody here wrote: a labelled data set, read once, with nothing fitted to it.

Each label keeps its latents, scales and pooling. It is scored against the texts of the data set's other families and the
neutral ones, beside the study's difference of means, its untrained SAE and the length of the text. Human ratings are correlated with the
labels' values weighted by their concepts' rated valence or arousal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.concepts.column_map import ColumnMap, read_map
from analysis.concepts.concept import ratings_of
from analysis.concepts.labelled import LabelledText, labelled_texts, sample
from analysis.geometry import unit
from analysis.intervals import auroc_interval, pearson_interval, spearman_interval
from analysis.labelling.choose import Pools
from analysis.labelling.journey import untrained
from analysis.observe import read
from analysis.opening import as_labelled, open_subject
from analysis.records import Baseline, Label, Transfer, TransferRating, Writer
from analysis.study import Study
from saes.autoencoder import SparseAutoencoder
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel

TEXTS_AT_ONCE = 512
LEAST = 5
"""Texts of a label (and of others) below which it is left out: an interval over fewer says nothing."""
SHUFFLES = 1000
RATED = ("valence", "arousal")
"""Ratings that concepts have, too."""
ALL = "all"
"""In a split's place: every text that the file holds."""
Rated = dict[str, tuple[float | None, float | None]]
"""concept -> its human (valence, arousal)."""


def transfer(
    study: Study | str | Path,
    data: ColumnMap | str | Path,
    *,
    file: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    model: LanguageModel | str | Path | None = None,
    dictionary: Dictionary | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Study:
    """Scores the study's labels on the texts of `data`, a column map; `limit` of them are drawn at random.

    `file` stands in for the map's own data; `split` for the one that the map names, "all" is every text. Writes the tables
    `transfer` (labels) and `transfer_ratings`; rows of other data sets stay. Texts are read as they come: what is kept are a
    few numbers a text and concept. ValueError where no label of the data set is a concept of the study.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    column_map = data if isinstance(data, ColumnMap) else read_map(data)
    labels = study.labels()
    if not labels:
        raise ValueError(f"{study.folder} holds no labels: make them with `saes label`")
    split = column_map.transfer if split is None else "" if split == ALL else split
    _must_be_new(study, column_map, split)
    texts = labelled_texts(column_map, split, file)
    rated = ratings_of(study.concepts)
    for what in (one for one in RATED if one in column_map.numbers):
        usable(labels, what, rated)
    if limit is not None:
        texts = sample(texts, limit, seed)
    scorer = Scorer(study, labels, *open_subject(study, model, dictionary, device))
    seen = seen_by(scorer, tqdm(texts, desc="transfer", unit="text", disable=not progress))
    rows = score_labels(seen, column_map, labels, seed) if column_map.labels else []
    ratings = score_ratings(seen, column_map, labels, rated, seed) if column_map.numbers else []
    study.write("transfer", [*_others(study, "transfer", column_map), *rows])
    study.write("transfer_ratings", [*_others(study, "transfer_ratings", column_map), *ratings])
    done = study.info.settings.get("transfer", {}) | {
        column_map.name: {"split": split or ALL, "limit": limit, "seed": seed, "texts": len(seen.texts)}
    }
    study.update_info(settings=study.info.settings | {"transfer": done})
    return study


def _must_be_new(study: Study, column_map: ColumnMap, split: str) -> None:
    """Refuses texts that the labels were found or checked on."""
    if study.info.concept_set != column_map.name:
        return
    sealed = column_map.splits.get("sealed")
    if not split or split != sealed:
        hint = f"give --split {sealed}" if sealed else "it has no split of other texts"
        raise ValueError(f"the labels of {study.folder} were found on texts of {column_map.name}: {hint}")


def _others(study: Study, table: str, column_map: ColumnMap) -> list[Any]:
    rows: list[Any] = study.read(table)
    return [row for row in rows if row.data != column_map.name]


class Scorer:
    """What the study froze, as numbers of any text."""

    def __init__(self, study: Study, labels: list[Label], model: LanguageModel, dictionary: Dictionary, hook_name: str):
        self.labels, self.model, self.hook_name = labels, as_labelled(model, study), hook_name
        self.dictionaries: dict[str, Dictionary] = {"sae": dictionary}
        writers = {one.concept: one for one in study.read("writers", Writer)}
        self.writing: list[Label | Writer] = [writers.get(one.concept, one) for one in labels] if writers else []
        """The latents that write each concept: others than the label's own, or those."""
        means, concepts = study.diff_means(), [one.concept for one in labels]
        self.directions = unit(np.array([means[concept] for concept in concepts])) if means else None
        rows = study.read("baselines", Baseline)
        chosen = {one.concept: one.unit.split() for one in rows if one.method == "random_sae" and one.unit}
        centre = study.untrained_centre()
        if isinstance(dictionary, SparseAutoencoder) and centre is not None and chosen.keys() >= set(concepts):
            self.dictionaries["random_sae"] = untrained(dictionary, centre, study.info.settings["seed"])
            self.chance = [(int(latent), pooling) for latent, pooling in (chosen[concept] for concept in concepts)]
            """Latent and pooling that the same search chose in the untrained SAE."""

    def __call__(self, texts: Sequence[str]) -> dict[str, Float[np.ndarray, "text concept"]]:
        """By method, in the order of the labels; "length" has one column."""
        seen = read(self.model, self.dictionaries, self.hook_name, texts)
        pools = {name: Pools(firings) for name, firings in seen.firings.items()}
        scores = [pools["sae"].score(one.pooling, one.latents, one.scales) for one in self.labels]
        found = {"sae": np.stack(scores, axis=1)}
        if self.writing:
            shares = [[weight / sum(one.weights) for weight in one.weights] for one in self.writing]
            scores = [
                pools["sae"].score(one.pooling, one.latents, one.scales, weights=weights)
                for one, weights in zip(self.writing, shares, strict=True)
            ]
            found["written"] = np.stack(scores, axis=1)
        if self.directions is not None:
            found["diff_means"] = seen.means @ self.directions.T
        if "random_sae" in pools:
            scores = [pools["random_sae"].score(pooling, [latent], [1.0]) for latent, pooling in self.chance]
            found["random_sae"] = np.stack(scores, axis=1)
        found["length"] = seen.firings["sae"].n_tokens[:, None]
        return {method: values.astype(np.float32) for method, values in found.items()}


@dataclass(frozen=True)
class Seen:
    """What is kept of the texts."""

    texts: list[LabelledText]
    """Without their words."""
    values: dict[str, Float[np.ndarray, "text concept"]]
    """"sae", "written": dose units; "diff_means": mean activation along the direction, at length 1; "random_sae": the latent's own
    values. In the order of the labels."""
    length: Float[np.ndarray, " text"]
    """Tokens."""


def seen_by(scorer: Scorer, texts: Iterable[LabelledText]) -> Seen:
    """Every text's numbers, read a batch at a time."""
    kept: list[LabelledText] = []
    parts: list[dict[str, np.ndarray]] = []
    texts = iter(texts)
    while batch := list(islice(texts, TEXTS_AT_ONCE)):
        order = np.argsort([len(one.text) for one in batch], kind="stable")  # texts of one length need no padding
        values = scorer([batch[place].text for place in order])
        back = np.argsort(order)
        parts.append({method: some[back] for method, some in values.items()})
        kept += [replace(one, text="") for one in batch]
    found = {method: np.concatenate([part[method] for part in parts]) for method in parts[0]}
    return Seen(kept, found, found.pop("length")[:, 0].astype(float))


def score_labels(seen: Seen, column_map: ColumnMap, labels: list[Label], seed: int = 0) -> list[Transfer]:
    """A row for each label of the data set and method; labels that the study has no concept for only serve as negatives.

    Positive are all texts that bear the label, whatever else they bear; negative are those that bear none of its family,
    the neutral ones among them. Texts that were never labelled do not count.
    """
    place = {one.concept: number for number, one in enumerate(labels)}
    found = list(dict.fromkeys(label for text in seen.texts for label in text.labels))
    order = column_map.known_labels() or tuple(sorted(found))
    tested = {label: name for label in order if (name := _tested(label, column_map, place)) and label in found}
    if not tested:
        raise ValueError(
            f"no label of {column_map.name} is a concept of the study: the map's `concepts` says which is which "
            f"(labels {', '.join(order)}; concepts {', '.join(place)})"
        )
    families = [{column_map.family_of(label) for label in text.labels} for text in seen.texts]
    rows = []
    for label, concept in tested.items():
        family = column_map.family_of(label)
        own = np.array([label in text.labels for text in seen.texts])
        others = np.array(
            [
                family not in some and (text.neutral or bool(text.labels))
                for text, some in zip(seen.texts, families, strict=True)
            ]
        )
        if min(own.sum(), others.sum()) < LEAST:
            continue
        methods = {name: values[:, place[concept]] for name, values in seen.values.items()} | {"length": seen.length}
        for method, values in methods.items():
            score = auroc_interval(values[own], values[others], seed)
            rows.append(
                Transfer(
                    column_map.name, label, concept, method, labels[place[concept]].is_held, *score, int(own.sum()),
                    int(others.sum()),
                )
            )  # fmt: skip
    if not rows:
        raise ValueError(f"no label of {column_map.name} has {LEAST} texts among these {len(seen.texts)}: read more")
    return rows


def _tested(label: str, column_map: ColumnMap, known: dict[str, int]) -> str | None:
    """The concept of the study that a label of the data set means, if there is one."""
    return next((name for name in column_map.named(label) if name in known), None)


def score_ratings(
    seen: Seen, column_map: ColumnMap, labels: list[Label], rated: Rated, seed: int = 0
) -> list[TransferRating]:
    """Valence and arousal of the texts against the held labels' values, weighted by their concepts' own ratings.

    The weights are those ratings less their mean, so that what all labels share cancels. ValueError for fewer than 3 held
    labels with a rating.
    """
    return [
        row
        for what in RATED
        if what in column_map.numbers
        for row in _of_rating(seen, column_map, labels, what, rated, seed)
    ]


def usable(labels: list[Label], what: str, rated: Rated) -> dict[int, float]:
    """The places of held labels with the human ratings of their concepts; ValueError for fewer than 3."""
    number = RATED.index(what)
    found = {place: rated.get(one.concept, (None, None))[number] for place, one in enumerate(labels) if one.is_held}
    use = {place: value for place, value in found.items() if value is not None}
    if len(use) < 3:
        raise ValueError(f"{what} needs at least 3 held labels whose concepts are rated, got {len(use)}")
    return use


def _of_rating(
    seen: Seen, column_map: ColumnMap, labels: list[Label], what: str, rated: Rated, seed: int
) -> list[TransferRating]:
    rating = np.array([text.numbers[what] for text in seen.texts])
    some = np.flatnonzero(np.isfinite(rating))
    rating = rating[some]
    known = usable(labels, what, rated)
    use, norms = list(known), np.array(list(known.values()), dtype=float)
    if len(some) < LEAST:
        raise ValueError(f"{column_map.name} has {len(some)} texts with a {what}, at least {LEAST} are needed")
    weights = norms - norms.mean()
    rng = np.random.default_rng(seed)
    shuffled = np.stack([rng.permutation(weights) for _ in range(SHUFFLES)], axis=1)
    found: dict[str, tuple[np.ndarray, float | None]] = {
        method: (values[some][:, use] @ weights, _highest(values[some][:, use].astype(float), shuffled, rating))
        for method, values in seen.values.items()
        if method != "random_sae"  # its latents come without a common unit to add them up in
    }
    found["length"] = (seen.length[some], None)
    return [
        TransferRating(
            column_map.name, what, method, *spearman_interval(values, rating, seed),
            *pearson_interval(values, rating, seed), null, len(use), len(some),
        )
        for method, (values, null) in found.items()
    ]  # fmt: skip


def _highest(
    matrix: Float[np.ndarray, "text concept"],
    weights: Float[np.ndarray, "concept draw"],
    rating: Float[np.ndarray, " text"],
) -> float:
    """The 95th percentile over draws of the correlation between the weighted sum and the rating."""
    centred, target = matrix - matrix.mean(axis=0), rating - rating.mean()
    spread = np.sqrt(np.einsum("cd,ce,ed->d", weights, centred.T @ centred, weights) * (target @ target))
    return float(np.quantile((target @ centred) @ weights / np.maximum(spread, 1e-12), 0.95))
