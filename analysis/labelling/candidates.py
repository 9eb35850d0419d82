"""Which of several SAEs promises most as a source of labels, going by the finding texts alone.

Which concepts get a latent of their own differs from one seed to the next by chance. Training a few SAEs on the same
activations costs little; but whoever picks among them by held-out scores has used those up. Here the choice is part of the
search: it sees the finding texts, and each latent that counts for it was scored on topics that its own search had not seen.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.concepts.concept import ConceptSet
from analysis.labelling.choose import Finding, Pools, Rules
from analysis.labelling.split import TextTable, text_table
from analysis.observe import observe
from saes.opening import open_dictionary
from training.language_models.language_model import LanguageModel


def most_promising(
    checkpoints: Sequence[str | Path], concept_set: ConceptSet, model: LanguageModel, seed: int = 0
) -> tuple[Path, dict[str, float]]:
    """The checkpoint with the highest worth, and every checkpoint's worth by the name of its folder.

    The worth is the mean AUROC over concepts that the best single latent and the best recipe of a search on some topics
    reach on the topics left out. ValueError for an empty list.
    """
    if not checkpoints:
        raise ValueError("there is no SAE to choose from")
    table = text_table(concept_set, ("finding",))
    worth = {Path(one): worth_of(one, table, concept_set, model, seed) for one in checkpoints}
    best = max(worth, key=worth.__getitem__)
    return best, {path.name: value for path, value in worth.items()}


def worth_of(
    checkpoint: str | Path,
    table: TextTable,
    concept_set: ConceptSet,
    model: LanguageModel,
    seed: int,
    rules: Rules | None = None,
) -> float:
    """What a search through this SAE is worth on left-out topics of the finding texts."""
    dictionary, site, _ = open_dictionary(str(checkpoint))
    pools = Pools(observe(model, dictionary, site.hook_name, table.texts).firings)
    finding = Finding(pools, table, rules or Rules(), tuple(concept_set.concepts))
    curves = finding.over_folds(np.random.default_rng(seed))
    return float(np.mean([(curve[0] + max(curve)) / 2 for curve in curves]))
