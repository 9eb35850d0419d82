"""Rules: how they are written, when they begin to hold, and how often they are false."""

import numpy as np
import pytest

from analysis.monitoring.alarms import Rule, Watch, parse_rule
from analysis.monitoring.reference import reference_of


@pytest.fixture
def reference():
    rng = np.random.default_rng(1)
    return reference_of(("desperate", "worn out"), [np.maximum(0, rng.normal(size=(3000, 2)))], "noise")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("desperate > p99 for 20", Rule("desperate", ">", 99.0, True, 20)),
        ("  Desperate>p99.5 for 20 tokens ", Rule("desperate", ">", 99.5, True, 20)),
        ("worn out < 0.25 for 1 token", Rule("worn out", "<", 0.25, False, 1)),
        ("desperate > 2", Rule("desperate", ">", 2.0, False, 1)),
    ],
)
def test_rules_are_read(text, rule):
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text", ["desperate", "desperate >", "> p99", "desperate = 3", "desperate > p101", "desperate > 1 for 0"]
)
def test_what_is_no_rule(text):
    with pytest.raises(ValueError, match=r"give a rule such as|between 0 and 100|at least one token"):
        parse_rule(text)


def levels(values) -> np.ndarray:
    return np.stack([np.array(values, dtype=float), np.zeros(len(values))], axis=1)


def test_an_alarm_is_raised_once_while_the_rule_holds_and_again_after(reference):
    watch = Watch([parse_rule("desperate > 1 for 3")], reference)
    raised = watch.feed(levels([0, 2, 2, 2, 2, 0, 0, 0, 3, 3]))
    assert [(alarm.token, round(alarm.mean, 3)) for alarm in raised] == [(2, 1.333), (9, 2.0)]


def test_blocks_and_single_tokens_are_the_same(reference):
    values = levels(np.random.default_rng(2).random(200) * 2)
    rules = [parse_rule("desperate > 1.2 for 5"), parse_rule("worn out < 0.5 for 2")]
    whole = Watch(rules, reference).feed(values)
    watch = Watch(rules, reference)
    assert [alarm for row in values for alarm in watch.feed(row[None])] == whole
    watch.begin()
    assert watch.feed(values) == whole, "another text begins anew"


def test_too_short_a_text_raises_nothing(reference):
    assert Watch([parse_rule("desperate > 0.1 for 5")], reference).feed(levels([9, 9, 9, 9])) == []


def test_a_percentile_is_as_rare_as_it_says(reference):
    watch = Watch([parse_rule("desperate > p99 for 10")], reference)
    fresh = np.maximum(0, np.random.default_rng(3).normal(size=(20_000, 2)))
    held = 0
    for row in fresh:
        watch.feed(row[None])
        held += watch.holds[0]
    assert 0.002 < held / len(fresh) < 0.03


def test_a_label_that_is_not_monitored(reference):
    with pytest.raises(ValueError, match="no label for 'desparate' is monitored; did you mean desperate"):
        Watch([parse_rule("desparate > 1")], reference)
