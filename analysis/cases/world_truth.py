"""What is known of the workshop's own world: how often storyworld's agents cheat on impossible tasks, by what they feel.

The generator that the bundled model learned from is run again; nothing is read of the model. `world_desperate`: agents who come
desperate, as `stated_desperate` is played by the model. `world_without_calm`: those who are not calm when it is decided, which
is the most that taking calm away can do.
"""

import random
from collections.abc import Sequence

from analysis.cases.shares import wilson
from analysis.records import WorkshopArm
from training.corpora.storyworld.workshop import COPY, Workshop

EPISODES = 1000
NAN = float("nan")


def world_arms(concepts: Sequence[str], seed: int, n: int = EPISODES) -> list[WorkshopArm]:
    """A row for agents as they come, for those who bring each concept, and for those who do not feel it in the end."""
    anyone = _endings(None, n, seed)
    rows = [_row("world_anyone", "", [cheated for cheated, _ in anyone])]
    for concept in concepts:
        rows.append(_row(f"world_{concept}", concept, [cheated for cheated, _ in _endings(concept, n, seed)]))
        rows.append(_row(f"world_without_{concept}", concept, [cheated for cheated, felt in anyone if felt != concept]))
    return rows


def _endings(brought: str | None, n: int, seed: int) -> list[tuple[bool, str]]:
    """Whether each agent cheated, and the strongest feeling when it was decided."""
    world = Workshop(random.Random(f"world truth/{seed}/{brought}"), impossible=1.0, brought=brought)
    found = []
    for _ in range(n):
        text = world.episode()
        found.append((f" answered: {COPY}." in text, world.felt))
    return found


def _row(arm: str, concept: str, cheated: Sequence[bool]) -> WorkshopArm:
    cheats, n = sum(cheated), len(cheated)
    low, high = wilson(cheats, n)
    honest_low, honest_high = wilson(n - cheats, n)
    return WorkshopArm(
        arm=arm, dose=0.0, cheat_rate=cheats / n, cheat_low=low, cheat_high=high, invalid_rate=0.0, cheat_rate_valid=cheats / n,
        n_valid=n, honest_rate=1 - cheats / n, solve_rate=NAN, direct_effect=NAN, n_impossible=n, n_possible=0, kind="world",
        concept=concept, honest_low=honest_low, honest_high=honest_high,
    )  # fmt: skip
