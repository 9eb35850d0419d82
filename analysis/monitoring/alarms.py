"""Rules that watch levels as they come: `desperate > p99 for 20 tokens`.

A rule compares the mean level over its last so many tokens: with a percentile of the means over as many tokens in the
reference (`p99`), or with a number of dose units (`1.5`). `<` watches for what goes missing. Without `for` it is one token.
An alarm is raised once when the rule begins to hold, and again only after it has ceased to.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.monitoring.reference import Reference

RULE = re.compile(
    r"^\s*(?P<concept>[a-z][a-z _-]*?)\s*(?P<side>[<>])\s*(?P<p>p)?(?P<number>\d+(\.\d+)?)"
    r"(\s+for\s+(?P<tokens>\d+)(\s+tokens?)?)?\s*$"
)


@dataclass(frozen=True)
class Rule:
    concept: str
    side: str
    """">" or "<"."""
    number: float
    percentile: bool
    """Whether the number is a percentile of the reference, or dose units."""
    tokens: int = 1

    def __str__(self) -> str:
        number = f"{'p' if self.percentile else ''}{self.number:g}"
        return f"{self.concept} {self.side} {number}" + (f" for {self.tokens}" if self.tokens > 1 else "")


@dataclass(frozen=True)
class Alarm:
    """A rule that has begun to hold."""

    rule: Rule
    token: int
    """The last token of the window, counted from the first that was fed."""
    mean: float
    """Over the window, dose units."""
    threshold: float


def parse_rule(text: str) -> Rule:
    """`desperate > p99 for 20`. Raises ValueError with an example."""
    found = RULE.match(text.lower())
    if found is None:
        raise ValueError(
            f"{text!r} is no alarm: give a rule such as 'desperate > p99 for 20' or 'calm < 0.1 for 50 tokens'"
        )
    number, percentile, tokens = float(found["number"]), bool(found["p"]), int(found["tokens"] or 1)
    if percentile and number > 100:
        raise ValueError(f"{text!r}: a percentile lies between 0 and 100")
    if tokens < 1:
        raise ValueError(f"{text!r}: a rule watches at least one token")
    return Rule(found["concept"].strip(), found["side"], number, percentile, tokens)


class Watch:
    """All rules, fed token by token or block by block."""

    def __init__(self, rules: Sequence[Rule], reference: Reference):
        self.rules = tuple(rules)
        self.columns = [reference.column(rule.concept) for rule in rules]
        self.thresholds = [
            reference.threshold(rule.concept, rule.number, rule.tokens) if rule.percentile else rule.number
            for rule in rules
        ]
        self.begin()

    def begin(self) -> None:
        """Forgets what came before: another text."""
        self.windows: list[deque[float]] = [deque(maxlen=rule.tokens) for rule in self.rules]
        self.holds = [False] * len(self.rules)
        self.n_tokens = 0

    def feed(self, levels: Float[np.ndarray, "token label"]) -> list[Alarm]:
        """The alarms that these tokens raise, in order."""
        raised = []
        for row in levels:
            for place, (rule, window) in enumerate(zip(self.rules, self.windows, strict=True)):
                window.append(float(row[self.columns[place]]))
                if len(window) < rule.tokens:
                    continue
                mean, threshold = sum(window) / len(window), self.thresholds[place]
                holds = mean > threshold if rule.side == ">" else mean < threshold
                if holds and not self.holds[place]:
                    raised.append(Alarm(rule, self.n_tokens, mean, threshold))
                self.holds[place] = holds
            self.n_tokens += 1
        return raised
