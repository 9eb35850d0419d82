"""All logistic regressions at once are scikit-learn's, one at a time."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from analysis.labelling.logistic import fit_logistic


def test_weights_are_scikit_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 6))
    positive = np.stack([x[:, place] + rng.normal(size=150) > 1 for place in range(3)], axis=1)
    counted = positive | (rng.random((150, 3)) < 0.8)
    for strength in (0.01, 1.0):
        found = fit_logistic(x, positive, counted, strength)
        for place in range(3):
            mine = counted[:, place]
            alone = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8)
            alone.fit(x[mine], positive[mine, place])
            expected = [*alone.coef_[0], alone.intercept_[0]]
            np.testing.assert_allclose(found[:, place], expected, atol=2e-3)
