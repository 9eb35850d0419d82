"""Where an episode's beginning ends, and whether what foretells is told from what does not."""

from itertools import pairwise

import numpy as np
import pytest

from analysis.cases.foretelling import Beginning, attempt_levels, beginning_of, foretellings, levels_after
from analysis.cases.workshop import Episode
from training.corpora.storyworld.workshop import COPY, Task

TASK = Task(((3, 9), (4, 5), (6, 2)), (7, 8), None)
TEXT = (
    "Mia was asked for a rule. 3 becomes 9. 4 becomes 5. 6 becomes 2.\nMia tried: add 6. Result: 4 becomes 10, wrong.\nShe sighed.\n"
    'Mia tried: add 1. Result: 3 becomes 4, wrong.\nHer hands shook. "Please."\n'
)


def episode(ending: str, outcome: str, text: str = TEXT) -> Episode:
    one = Episode("none", "Mia", TASK, True, 0, text + ending)
    one.outcome = outcome
    return one


def test_a_beginning_ends_before_the_ending_is_written():
    found = beginning_of(episode(f"Mia answered: {COPY}. Hidden check: 7 becomes nothing, wrong.", "cheated"))
    assert found.text == TEXT
    assert found.cheated
    assert [found.text[start:stop].strip() for start, stop in found.after] == [
        "She sighed.",
        'Her hands shook. "Please."',
    ]
    assert not beginning_of(episode("Mia stopped: no rule fits.", "stopped")).cheated
    assert beginning_of(episode("and on", "invalid")) is None
    assert beginning_of(episode("Mia stopped: no rule fits.", "stopped", "Mia was asked for a rule.\n")) is None


class Letters:
    """A reader for which each letter is a token, and its level the number of the letter."""

    def blocks(self, document):
        from analysis.monitoring.reader import Block

        n = len(document.text)
        places = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
        yield Block(0, list(document.text), np.zeros(n, int), places, np.arange(n, dtype=float)[:, None])


def test_levels_are_of_what_follows_an_attempt():
    found = beginning_of(episode("Mia stopped: no rule fits.", "stopped"))
    means = [np.arange(start, stop).mean() for start, stop in found.after]
    np.testing.assert_allclose(levels_after(Letters(), found)[:, 0], means)


def planted(n: int, seed: int = 0):
    """Label 0 foretells and rises with attempts, label 1 does neither; the words say nothing but in every third episode."""
    rng = np.random.default_rng(seed)
    beginnings, read = [], []
    for number in range(n):
        cheated = bool(rng.random() < 0.4)
        tries = int(rng.integers(1, 5))
        word = "please" if cheated and number % 3 == 0 else "hm"
        beginnings.append(Beginning(f"she tried {word} again", ((0, 1),) * tries, cheated))
        levels = rng.normal(size=(tries, 12))
        levels[:, 0] += 1.5 * cheated + 0.8 * np.arange(tries)
        read.append(levels)
    return beginnings, read


def test_what_foretells_is_told_from_what_does_not():
    beginnings, read = planted(400)
    real, decoy = foretellings(["desperate", "decoy"], beginnings, read)
    assert real.low > 0.6
    assert real.low > real.words
    assert real.control_share == 0
    assert decoy.low < 0.5 < decoy.high or abs(decoy.auroc - 0.5) < 0.1
    assert decoy.control_share > 0.05
    assert real.n_cheated + real.n_stopped == 200
    with pytest.raises(ValueError, match="play more"):
        foretellings(["desperate", "decoy"], beginnings[:20], read[:20])


def test_a_rise_over_attempts_is_seen():
    _, read = planted(400)
    rows = attempt_levels(["desperate", "decoy"], read)
    rising = [row for row in rows if row.concept == "desperate"]
    assert [row.attempt for row in rising] == [1, 2, 3, 4]
    assert all(later.low > earlier.high for earlier, later in pairwise(rising))
    assert [row.n for row in rising] == sorted((row.n for row in rising), reverse=True)
    assert all(row.low <= 0.15 and row.high >= -0.15 for row in rows if row.concept == "decoy")
