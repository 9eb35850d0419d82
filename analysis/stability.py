"""The same label in another SAE: of another seed, width, k or layer of one language model.

Two labels of a concept agree where they write the same direction (cosine) and are awake at the same texts (Spearman
correlation of their values over checking texts). Labels of different families, and latents of no label, are the null.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from analysis.geometry import label_directions, unit
from analysis.intervals import pearson_interval
from analysis.labelling.choose import Pools
from analysis.labelling.lexical import values_of
from analysis.labelling.split import text_table
from analysis.observe import observe
from analysis.opening import as_labelled, concept_set_of, open_subject
from analysis.records import Agreement
from analysis.study import Study
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model

FREE_LATENTS = 500
"""Latents of no label whose nearest cosines make the null."""


class Reading:
    """One study's labels, as directions and as values over the checking texts."""

    def __init__(self, study: Study, model: LanguageModel, texts: Sequence[str], device: str):
        self.study = study
        _, dictionary, self.hook_name = open_subject(study, model, None, device)
        self.labels = {one.concept: one for one in study.labels()}
        self.decoder = dictionary.directions.detach().float().cpu().numpy()
        self.directions = label_directions(list(self.labels.values()), self.decoder).matrix
        firings = observe(as_labelled(model, study), dictionary, self.hook_name, texts).firings
        pools = Pools(firings)
        self.ranks = np.array([rankdata(values_of(pools, one)) for one in self.labels.values()])
        """[label, text]"""

    @property
    def place(self) -> dict[str, int]:
        return {concept: number for number, concept in enumerate(self.labels)}

    def free(self, rng: np.random.Generator) -> Float[np.ndarray, "latent d_in"]:
        """Directions of latents that no label holds."""
        taken = {latent for one in self.labels.values() for latent in one.latents}
        free = np.setdiff1d(np.arange(len(self.decoder)), list(taken))
        return unit(self.decoder[rng.permutation(free)[:FREE_LATENTS]])


def stability(studies: Sequence[Study | str | Path], device: str = "auto", seed: int = 0) -> list[Agreement]:
    """How each concept that two of the studies label agrees between them, for every pair of studies.

    All must be about one language model and one concept set; ValueError otherwise. Writes the table `agreements` into the first study.
    """
    opened = [one if isinstance(one, Study) else Study.open(one) for one in studies]
    if len(opened) < 2:
        raise ValueError("stability compares studies: give at least two")
    for name in ("model", "concept_hash"):
        if len(found := {str(getattr(one.info, name)) for one in opened}) > 1:
            raise ValueError(
                f"the studies differ in {name} ({', '.join(sorted(found))}): their labels cannot be compared"
            )
    concepts = concept_set_of(opened[0], None)
    table = text_table(concepts, ("checking",))
    model = open_model(opened[0].info.model, device)
    readings = [Reading(one, model, table.texts, device) for one in opened]
    families = {name: concept.family for name, concept in concepts.concepts.items()}
    rng = np.random.default_rng(seed)
    rows = [row for one, other in combinations(readings, 2) for row in _compared(one, other, families, rng)]
    opened[0].write("agreements", rows)
    return rows


def _compared(one: Reading, other: Reading, families: dict[str, str], rng: np.random.Generator) -> list[Agreement]:
    shared = [concept for concept in one.labels if concept in other.labels]
    mine, theirs = ([reading.place[concept] for concept in shared] for reading in (one, other))
    family = np.array([families[concept] for concept in shared])
    foreign = family[:, None] != family[None, :]
    r = _correlations(one.ranks[mine], other.ranks[theirs])
    same_place = one.hook_name == other.hook_name and one.decoder.shape[1] == other.decoder.shape[1]
    if same_place:
        cosine = one.directions[mine] @ other.directions[theirs].T
        rows = unit(other.decoder)
        nearest = (one.directions[mine] @ rows.T).max(axis=1)
        nearest_null = float(np.quantile((one.free(rng) @ rows.T).max(axis=1), 0.95))
    found = []
    for number, concept in enumerate(shared):
        own = pearson_interval(one.ranks[mine[number]], other.ranks[theirs[number]])
        found.append(
            Agreement(
                concept, str(one.study.folder), str(other.study.folder), one.labels[concept].is_held,
                other.labels[concept].is_held, float(cosine[number, number]) if same_place else None,
                _highest(cosine[foreign]) if same_place else None, float(nearest[number]) if same_place else None,
                nearest_null if same_place else None, own.value, own.low, own.high, _highest(r[foreign]),
                one.ranks.shape[1],
            )
        )  # fmt: skip
    return found


def _highest(null: np.ndarray) -> float | None:
    return float(np.quantile(null, 0.95)) if null.size else None


def _correlations(a: Float[np.ndarray, "label text"], b: Float[np.ndarray, "label text"]) -> np.ndarray:
    return unit(a - a.mean(axis=1, keepdims=True)) @ unit(b - b.mean(axis=1, keepdims=True)).T
