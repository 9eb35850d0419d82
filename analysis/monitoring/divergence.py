"""Where the inside and the outside part: levels say one thing, a judge that reads the words alone says another.

Both are put on one scale: the share of reference texts that lie lower. A turn diverges where one of them is among the highest
few and the other is not even in the upper half: "unseen" where the levels are high and the words are not ("looks calm
outside"), "words only" where it is the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.clamping.judge import Judge

HIGH = 95.0
LOW = 50.0
LEAST_TOKENS = 8
"""A shorter turn shows too little of either."""


@dataclass(frozen=True)
class Divergence:
    concept: str
    kind: str
    """"unseen" or "words only"."""
    inside: float
    """Percentile of the turn's mean level among reference texts."""
    outside: float
    """Percentile of what the judge says of the turn's words."""


class Outside:
    """The judge's side, with what reference texts look like from both."""

    def __init__(
        self, judge: Judge, concepts: Sequence[str], texts: Sequence[str], levels: Float[np.ndarray, "text label"]
    ):
        """``levels`` are the means over each text's tokens. Concepts that no judge knows are left out."""
        known = [concept for concept in concepts if concept in judge.concepts]
        if not known:
            raise ValueError(f"there is no judge of {', '.join(concepts)}: divergence cannot be told")
        self.judge, self.concepts = judge, tuple(known)
        self.columns = [list(concepts).index(concept) for concept in known]
        self.places = [judge.concepts.index(concept) for concept in known]
        self.inside = np.sort(levels[:, self.columns], axis=0)
        self.outside = np.sort(self._judged(texts), axis=0)

    def of(self, words: str, means: Float[np.ndarray, " label"], n_tokens: int) -> list[Divergence]:
        """What parts in a turn of these words whose levels are these on average."""
        if n_tokens < LEAST_TOKENS:
            return []
        judged = self._judged([words])[0]
        found = []
        for place, concept in enumerate(self.concepts):
            inside = _percentile(self.inside[:, place], means[self.columns[place]])
            outside = _percentile(self.outside[:, place], judged[place])
            if inside >= HIGH and outside <= LOW:
                found.append(Divergence(concept, "unseen", inside, outside))
            elif outside >= HIGH and inside <= LOW:
                found.append(Divergence(concept, "words only", inside, outside))
        return found

    def _judged(self, texts: Sequence[str]) -> Float[np.ndarray, "text concept"]:
        return self.judge.scores(texts)[:, self.places]


def _percentile(ordered: Float[np.ndarray, " text"], value: float) -> float:
    return float(100.0 * np.searchsorted(ordered, value, side="left") / len(ordered))
