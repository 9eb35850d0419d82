"""The output effect of a latent on finding texts: does clamping it make the concept's texts likelier, and others not?"""

from collections.abc import Sequence

import numpy as np

from analysis.labelling.split import TextTable
from saes.dictionary import Dictionary
from saes.intervention import Edit, Intervention
from training.language_models.language_model import LanguageModel

DOSE = 2.0
"""Dose units at which the effect is measured."""
N_TEXTS = 10
"""Finding texts of the concept, and as many of other families."""


class OutputEffect:
    """effect(concept, latents, scales) in nats per token: own texts' gain in log-probability minus other texts' gain.

    The clamp sets the latents to `DOSE` units at every token. Only finding texts are read, so nothing of this touches the
    texts on which a label is reported.
    """

    def __init__(self, model: LanguageModel, dictionary: Dictionary, hook_name: str, table: TextTable, seed: int = 0):
        self.model, self.dictionary, self.hook_name, self.table = model, dictionary, hook_name, table
        self.rng = np.random.default_rng(seed)
        self._texts: dict[str, tuple] = {}

    def __call__(self, concept: str, latents: Sequence[int], scales: Sequence[float]) -> float:
        tokens, base, n_own = self._sample(concept)
        edit = Edit(tuple(latents), DOSE, "set", tuple(scales))
        hook = Intervention((edit,)).hook(self.dictionary)
        gain = self._per_token(tokens, {self.hook_name: hook}) - base
        return float(gain[:n_own].mean() - gain[n_own:].mean())

    def _sample(self, concept: str) -> tuple:
        if concept not in self._texts:
            own = self.table.positives(concept, "finding")
            others = self.table.negatives(concept, "finding")
            own = self.rng.choice(own, min(N_TEXTS, len(own)), replace=False)
            others = self.rng.choice(others, min(N_TEXTS, len(others)), replace=False)
            tokens = self.model.tokenise([self.table.texts[text] for text in (*own, *others)])
            self._texts[concept] = (tokens, self._per_token(tokens, None), len(own))
        return self._texts[concept]

    def _per_token(self, tokens, hooks) -> np.ndarray:
        count = tokens.keep.sum(dim=1).clamp(min=1)
        return ((self.model.log_probs(tokens, hooks) * tokens.keep).sum(dim=1) / count).cpu().numpy()
