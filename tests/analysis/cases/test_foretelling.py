"""Where an episode's beginning ends, and whether what foretells is told from what does not."""

from itertools import pairwise

import numpy as np
import pytest

from analysis.cases.foretelling import (
    Beginning,
    attempt_levels,
    attempt_slopes,
    attempt_traces,
    beginning_of,
    foretellings,
    levels_after,
    slope_of,
)
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


def dropping_out(n: int, seed: int = 0):
    """Desperate agents (a high level, which never changes) cheat after an attempt or two; others go on long and stop.

    Label 0 is that level, label 1 rises by 0.5 an attempt in episodes that cheat, label 2 is noise; 20 random groups.
    """
    rng = np.random.default_rng(seed)
    read, cheated = [], []
    for _ in range(n):
        cheat = bool(rng.random() < 0.5)
        tries = int(rng.integers(1, 4)) if cheat else int(rng.integers(2, 6))
        levels = 0.3 * rng.normal(size=(tries, 23))
        levels[:, 0] += 2.0 * cheat
        levels[:, 1] += 0.5 * cheat * np.arange(tries)
        read.append(levels)
        cheated.append(cheat)
    return read, cheated


def test_who_drops_out_does_not_make_a_trace():
    read, cheated = dropping_out(400)
    plain = [one.mean for one in attempt_levels(["fixed", "rising", "noise"], read) if one.concept == "fixed"]
    assert plain[2] < plain[0] - 0.3, "the plain means fall, although no episode's level does"
    traces = attempt_traces(["fixed", "rising", "noise"], read, cheated)
    for outcome in ("cheated", "stopped", "both"):
        for aligned in ("start", "end"):
            some = {
                (one.concept, one.attempt): one
                for one in traces
                if (one.outcome, one.aligned, one.least) == (outcome, aligned, 3)
            }
            attempts = [1, 2, 3] if aligned == "start" else [-3, -2, -1]
            means = [some["fixed", at].mean for at in attempts]
            assert max(means) - min(means) < 0.15
            assert len({some["fixed", at].n for at in attempts}) == 1, "the same episodes at each attempt"
            if outcome == "cheated":
                rising = [some["rising", at] for at in attempts]
                assert rising[2].low > rising[0].high
                assert rising[0].control_low < 0 < rising[0].control_high
    counts = {one.n for one in traces if (one.outcome, one.least) == ("cheated", 2)}
    assert counts == {sum(len(one) > 1 and end for one, end in zip(read, cheated, strict=True))}


def test_slopes_are_within_episodes():
    read, cheated = dropping_out(400)
    found = {(one.concept, one.outcome): one for one in attempt_slopes(["fixed", "rising", "noise"], read, cheated)}
    rising = found["rising", "cheated"]
    assert rising.low < 0.5 < rising.high
    assert (rising.p < 0.01, rising.control_share, rising.n_controls) == (True, 0.0, 20)
    assert found["rising", "difference"].low > 0.3
    assert found["rising", "difference"].p < 0.01
    for name in ("fixed", "noise"):
        for outcome in ("cheated", "stopped", "both", "difference"):
            assert found[name, outcome].low < 0.03
            assert found[name, outcome].high > -0.03
    assert found["fixed", "both"].n == sum(len(one) > 1 for one in read)
    assert found["fixed", "both"].control_low < 0 < found["fixed", "both"].control_high


def test_a_slope_is_least_squares():
    levels = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(slope_of(levels), np.polyfit(np.arange(4), levels, 1)[0])


def test_too_few_episodes_make_no_trace():
    read, cheated = dropping_out(8)
    assert attempt_traces(["fixed"], read, cheated) == []
    assert attempt_slopes(["fixed"], read, cheated) == []
    rows = attempt_traces(["fixed"], [one[:, :1] for one in dropping_out(60)[0]], dropping_out(60)[1])
    assert {(one.control_low, one.control_high) for one in rows} == {(None, None)}
