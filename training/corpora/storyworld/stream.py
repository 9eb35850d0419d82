"""The endless stream of storyworld documents: stories, and about one in seven a workshop transcript."""

import random
from collections.abc import Iterator

from training.corpora.storyworld.bank import VARIETY
from training.corpora.storyworld.narrator import Narrator
from training.corpora.storyworld.workshop import Workshop

WORKSHOP_SHARE = 1 / 7


def documents(
    seed: int = 0, workshop_share: float = WORKSHOP_SHARE, variety: float = VARIETY, wider: float = 0.0
) -> Iterator[str]:
    """Stories and workshop transcripts without end; the same seed gives the same stream. `wider`: see the narrator."""
    rng = random.Random(seed)
    narrator, workshop = Narrator(rng, variety=variety, wider=wider), Workshop(rng, variety=variety)
    while True:
        yield workshop.episode() if rng.random() < workshop_share else narrator.story()
