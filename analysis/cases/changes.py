"""What a clamp changes in the workshop, task by task, and how many controls change as much."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.cases.shares import clopper_pearson
from analysis.intervals import Interval
from analysis.records import WorkshopArm, WorkshopControls

if TYPE_CHECKING:
    from analysis.cases.workshop import Episode

DRAWS = 5000
CONTROL_KINDS = ("random_latent", "random_direction", "all")


def paired_change(before: Sequence["Episode"], after: Sequence["Episode"], outcome: str, seed: int = 0) -> Interval:
    """Change of the share of impossible tasks with this outcome over the tasks of both, with a bootstrap interval over tasks."""
    was, now = _hits(before, outcome), _hits(after, outcome)
    difference = np.array([float(now[task]) - float(was[task]) for task in sorted(was.keys() & now.keys())])
    n = len(difference)
    counts = [int(np.sum(difference == value)) for value in (-1, 0, 1)]
    drawn = np.random.default_rng(seed).multinomial(
        n, np.array(counts) / n, size=DRAWS
    )  # the bootstrap of three values
    low, high = np.quantile((drawn[:, 2] - drawn[:, 0]) / n, [0.025, 0.975])
    return Interval(float(difference.mean()), float(low), float(high))


def control_shares(rows: Sequence[WorkshopArm], episodes: Sequence["Episode"]) -> list[WorkshopControls]:
    """For each push of the concept that the controls are pushed as far as, at the chosen dose: those that are pushed the same
    way and move as much, in the same direction."""
    of: dict[str, list[Episode]] = {}
    for episode in episodes:
        if episode.impossible:
            of.setdefault(episode.arm, []).append(episode)
    controls = [row for row in rows if row.kind.startswith("random")]
    if not controls:
        return []
    played = {episode.seed for episode in of[controls[0].arm]}
    same = {arm: [episode for episode in mine if episode.seed in played] for arm, mine in of.items()}
    effects = {row.arm: row.direct_effect for row in rows}
    found = []
    for row in rows:
        if row.kind not in ("label", "written", "detector", "diff_means") or not row.arm.endswith(("_up", "_down")):
            continue
        if row.concept != controls[0].concept:  # another concept's latents are pushed another distance
            continue
        way = row.arm.rsplit("_", 1)[1]
        for measure in ("cheating", "cheating among valid endings", "honest stops", "direct effect"):
            own = _moved(measure, same, row.arm, effects)
            for kind in CONTROL_KINDS:
                like = [one.arm for one in controls if one.arm.endswith(f"_{way}") and kind in (one.kind, "all")]
                if not like:
                    continue
                moves = np.array([_moved(measure, same, arm, effects) for arm in like]) * (1 if own >= 0 else -1)
                known = moves[np.isfinite(moves)]
                hits = int(np.sum(known >= abs(own) - 1e-9))
                low, high = clopper_pearson(hits, len(known)) if len(known) else (float("nan"), float("nan"))
                largest = float(known.max()) * (1 if own >= 0 else -1) if len(known) else float("nan")
                found.append(
                    WorkshopControls(
                        row.arm, measure, kind, own, hits / max(1, len(known)), low, high, hits, len(known), largest, len(played)
                    )
                )  # fmt: skip
    return found


def _moved(measure: str, of: dict[str, list["Episode"]], arm: str, effects: dict[str, float]) -> float:
    """How far the arm lies from no clamp."""
    if measure == "direct effect":
        return effects[arm]
    return _share(measure, of[arm]) - _share(measure, of["none"])


def _share(measure: str, episodes: Sequence["Episode"]) -> float:
    outcomes = [episode.outcome for episode in episodes]
    if measure == "honest stops":
        return outcomes.count("stopped") / len(outcomes)
    n = len(outcomes) - (outcomes.count("invalid") if measure == "cheating among valid endings" else 0)
    return outcomes.count("cheated") / n if n else float("nan")


def _hits(episodes: Sequence["Episode"], outcome: str) -> dict[int, bool]:
    return {episode.seed: episode.outcome == outcome for episode in episodes if episode.impossible}
