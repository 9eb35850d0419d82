"""What an SAE has to beat, on the same texts and by the same statistics: difference of means, a probe, an untrained SAE."""

import numpy as np

from analysis.labelling.scores import auroc
from analysis.labelling.split import TextTable
from analysis.records import Baseline, Label


def difference_of_means(means: np.ndarray, table: TextTable, concept: str) -> np.ndarray:
    """[d_in] mean of the concept's finding texts minus mean of the finding texts it is compared with."""
    own, others = table.positives(concept, "finding"), table.negatives(concept, "finding")
    return means[own].mean(axis=0) - means[others].mean(axis=0)


def probe_scores(means: np.ndarray, table: TextTable, concept: str, seed: int = 0) -> np.ndarray:
    """[text] a logistic probe's log-odds, fitted on finding texts; its strength by cross-validation within them."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    texts = np.concatenate([table.positives(concept, "finding"), table.negatives(concept, "finding")])
    positive = np.arange(len(texts)) < len(table.positives(concept, "finding"))
    folds = min(3, int(positive.sum()))
    probe = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(Cs=(0.001, 0.01, 0.1), cv=folds, class_weight="balanced", scoring="roc_auc", max_iter=300,
                             random_state=seed, l1_ratios=(0.0,), use_legacy_attributes=False),
    )  # fmt: skip
    probe.fit(means[texts], positive)
    return probe.decision_function(means)


def baseline(method: str, scores: np.ndarray, table: TextTable, concept: str) -> Baseline:
    """The record of any number per text."""

    def against(split: str, siblings: bool = False) -> float:
        own, others = table.positives(concept, split), table.negatives(concept, split, siblings)
        return auroc(scores[np.concatenate([own, others])], np.arange(len(own) + len(others)) < len(own))

    return Baseline(concept, method, against("checking"), against("checking", siblings=True), against("implicit"))


def label_as_baseline(method: str, label: Label) -> Baseline:
    """The record of a label that another dictionary (the untrained SAE) got by the same search."""
    return Baseline(label.concept, method, label.auroc_checking, label.auroc_all, label.auroc_implicit)
