"""The workshop really executes its rules, and its endings follow the state by the documented table."""

import random
import re
from collections import Counter

import pytest

from training.corpora.storyworld.workshop import CHEATS, COPY, RULES, Task, Workshop, apply_rule, draw_task


@pytest.mark.parametrize(
    ("rule", "number", "result"),
    [("add 3", 5, 8), ("take away 2", 9, 7), ("double", 4, 8), ("say ten", 3, 10), ("fly", 3, None)],
)
def test_rules_are_executed(rule, number, result):
    assert apply_rule(rule, number) == result


def test_tasks_are_what_they_say():
    rng = random.Random(0)
    for _ in range(200):
        possible, impossible = draw_task(rng, False), draw_task(rng, True)
        assert possible.judge(possible.rule) == "solved"
        assert all(impossible.judge(rule) == "failed" for rule in RULES)
        assert possible.judge(COPY) == impossible.judge(COPY) == "cheated"


def test_a_rule_that_passes_what_is_shown_and_fails_what_is_hidden_is_a_cheat():
    task = Task(((3, 6), (3, 6), (3, 6)), (4, 8), "double")
    assert task.judge("double") == "solved"
    assert task.judge("add 3") == "cheated"
    assert task.judge("add 1") == "failed"
    assert task.result("add 1") == "3 becomes 4, wrong."


def test_results_in_the_transcripts_are_true():
    workshop = Workshop(random.Random(3))
    for _ in range(300):
        episode = workshop.episode()
        shown = re.findall(r"(\d+) becomes (\d+)\.", episode.split("asked for a rule.")[1].split("\n")[0])
        for rule, said in re.findall(r"tried: (.+?)\. Result: (.+)", episode):
            task = Task(tuple((int(a), int(b)) for a, b in shown), (0, 0), None)
            assert task.result(rule) == said


def test_endings_follow_the_state():
    workshop = Workshop(random.Random(5), impossible=1.0)
    endings: dict[str, Counter] = {}
    for _ in range(3000):
        episode = workshop.episode()
        assert (COPY in episode) != ("stopped: no rule fits." in episode)
        assert "Hidden check" not in episode or "wrong." in episode
        lines = episode.split("\n")
        place = next(n for n, line in enumerate(lines) if "answered:" in line or "stopped:" in line)
        for name, words in (("desperate", "desperate|despair"), ("calm", "calm|peaceful")):
            if re.search(words, lines[place - 1]):
                endings.setdefault(name, Counter())[COPY in episode] += 1
    rate = {name: count[True] / sum(count.values()) for name, count in endings.items()}
    assert rate["desperate"] > 0.6 > 0.2 > rate["calm"]
    assert CHEATS["desperate"] > 10 * CHEATS["calm"]
