"""Sparse probes: the k best latents of a concept together, as a logistic probe (Gurnee et al., arXiv:2305.01610)."""

from collections.abc import Sequence

import numpy as np

from analysis.labelling.baselines import on_held_out
from analysis.labelling.choose import Candidate, Finding, Pools
from analysis.labelling.split import TextTable
from analysis.records import Probe

SIZES = (1, 2, 4, 8, 16)
STRENGTH = 1.0


def sparse_probes(
    pools: Pools, finding: Finding, table: TextTable, number: int, candidates: Sequence[Candidate]
) -> list[Probe]:
    """One probe for each of SIZES: latents chosen and weights fitted on finding texts, reported on the others.

    All latents are pooled as the best one is. `number` is the concept's among `finding`'s, `candidates` its best detectors.
    """
    from sklearn.linear_model import LogisticRegression

    concept, pooling = finding.sorting.names[number], candidates[0].pooling
    own, others = finding.compared(number)
    positive = np.arange(len(own) + len(others)) < len(own)
    order = [candidate.latent for candidate in candidates[: max(SIZES)]]
    unit = np.maximum(finding.scales[order], 1e-12)
    learned = finding.columns(pooling, order)[np.concatenate([own, others])]
    everywhere = pools.by_pooling[pooling][:, order].toarray() / unit
    found = []
    for k in (size for size in SIZES if size <= len(order)):
        fitted = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500).fit(learned[:, :k], positive)
        values = everywhere[:, :k] @ fitted.coef_[0]

        checking, everyone, implicit = on_held_out(values, table, concept)
        found.append(
            Probe(
                concept, k, order[:k], pooling, checking.auroc, checking.low, checking.high, everyone.auroc,
                implicit.auroc, implicit.low, implicit.high,
            )
        )  # fmt: skip
    return found
