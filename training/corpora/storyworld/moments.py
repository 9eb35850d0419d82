"""Short stories with one known feeling each: what a judge of feelings can be trained on."""

import random
from collections.abc import Iterator

from training.corpora.storyworld.bank import FEELINGS
from training.corpora.storyworld.narrator import Narrator


def moments(per_feeling: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(feeling, text) pairs, so many of each feeling, the feelings taking turns; the same seed gives the same texts."""
    narrator = Narrator(random.Random(seed))
    for _ in range(per_feeling):
        for feeling in FEELINGS:
            yield feeling, narrator.moment(feeling)
