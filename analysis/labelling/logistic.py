"""Logistic regression of many concepts at once: they share their texts, so one product serves them all."""

import numpy as np
import torch
from torch.nn import functional as F


def fit_logistic(x: np.ndarray, positive: np.ndarray, counted: np.ndarray, strength: float) -> np.ndarray:
    """[feature + 1, concept] weights, the last row the intercepts, of `x` [text, feature].

    Minimises strength x balanced log-loss + |w|^2 / 2 for each concept, as scikit-learn's LogisticRegression with
    C=strength and class_weight="balanced" does. `positive`, `counted` [text, concept] bool: what a concept's text is, and
    whether the concept is learned from it.
    """
    rows = torch.from_numpy(np.column_stack([x, np.ones(len(x))])).double()
    target = torch.from_numpy(positive).double()
    mine, others = positive & counted, ~positive & counted
    share = counted.sum(axis=0) / 2
    weight = mine * (share / np.maximum(1, mine.sum(axis=0))) + others * (share / np.maximum(1, others.sum(axis=0)))
    loss_weight = torch.from_numpy(strength * weight)
    weights = torch.zeros(rows.shape[1], positive.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weights],
        max_iter=200,
        history_size=20,
        tolerance_grad=1e-4,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        losses = F.binary_cross_entropy_with_logits(rows @ weights, target, weight=loss_weight, reduction="sum")
        total = losses + weights[:-1].square().sum() / 2
        total.backward()
        return total

    solver.step(loss)
    return weights.detach().numpy()
