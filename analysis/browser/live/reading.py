"""Reads a text or a chat that somebody pasted: levels token by token, turns, alarms, divergence."""

import io
from dataclasses import dataclass, field
from typing import Any

from analysis.browser.live.asked import Limits, whole_letters
from analysis.browser.live.engine import Emit, Work

BATCH = 64
"""Texts of the reference between two words of how far it is, and two chances to stop."""
OFTEN = 256
"""Tokens between two words of progress."""


@dataclass(frozen=True)
class Pasted:
    """What the monitor page is given."""

    text: str
    """A text; or a message a line, {"role": ..., "content": ...}; or a chat a line, {"messages": [...]}."""
    rule: list[str] = field(default_factory=list)
    """Alarms: `desperate > p99 for 20`."""
    divergence: bool = False
    """Whether a judge of the words is asked, too, and where the two part."""

    def checked(self, limits: Limits) -> "Pasted":
        """The same; ValueError, in one sentence, for what cannot be read."""
        if not self.text.strip():
            raise ValueError("there is nothing to read: paste a text, or choose a file")
        if len(self.text) > limits.read_letters:
            raise ValueError(
                f"the text has {len(self.text):,} letters, and {limits.read_letters:,} at most are read here: "
                "`saes monitor FILE` reads any length"
            )
        whole_letters(self.text, *self.rule)
        if len(self.rule) > limits.rules:
            raise ValueError(f"{limits.rules} rules at a time at most, got {len(self.rule)}")
        return self


def reading_work(pasted: Pasted, limits: Limits) -> Work:
    """What the engine does for one text: emits "progress", and answers with a `Reading` as plain data."""
    return lambda subject, emit: read(subject, emit, pasted, limits)


def read(subject: Any, emit: Emit, pasted: Pasted, limits: Limits) -> dict[str, Any]:
    from analysis.monitoring.alarms import parse_rule
    from analysis.monitoring.journey import AlarmRaised, TokenRead, TurnRead, monitor
    from analysis.monitoring.transcript import documents

    rules = [parse_rule(text) for text in pasted.rule]
    found = list(documents(io.StringIO(pasted.text), "line", subject.model.tokenizer))

    def told(texts: int) -> None:  # it takes a while, in which others wait: whoever is gone ends it
        if texts % BATCH == 1:
            said = f"Measuring what is usual in this study's own texts, once: {texts:,} read."
            emit("progress", {"said": said, "tokens": 0})

    subject.measure(told)
    reference = subject.reference
    outside = None
    if pasted.divergence:
        if "outside" not in subject.__dict__:
            emit("progress", {"said": "Fitting the judge of words, once.", "tokens": 0})
        outside = subject.outside
    concepts, usual = list(subject.reader.concepts), subject.usual
    tokens: list[dict[str, Any]] = []
    turns, alarms = [], []
    for event in monitor(subject.study, found, rules, reference=reference, reader=subject.reader, outside=outside):
        match event:
            case TokenRead():
                if len(tokens) == limits.read_tokens:
                    raise ValueError(
                        f"the text has more than {limits.read_tokens:,} tokens, which is all that is read here: "
                        "`saes monitor FILE` reads any length"
                    )
                fires = [at for at, name in enumerate(concepts) if event.levels[name] > 0]
                tokens.append(
                    {"text": event.text, "document": event.document, "turn": event.turn, "token": event.token,
                     "levels": {at: round(event.levels[concepts[at]], 3) for at in fires},
                     "percentiles": {at: round(event.percentiles[concepts[at]], 1) for at in fires}}
                )  # fmt: skip
                if len(tokens) % OFTEN == 0:
                    emit("progress", {"said": "Reading.", "tokens": len(tokens)})
            case AlarmRaised():
                alarms.append({**_plain(event), "at": len(tokens) - 1})
            case TurnRead():
                turns.append(_plain(event))
    return {
        "concepts": concepts, "tokens": tokens, "turns": turns, "alarms": alarms,
        "reference": {"source": reference.source, "tokens": reference.n_tokens},
        "usual": usual,
    }  # fmt: skip


def _plain(event: Any) -> dict[str, Any]:
    """Without its kind, which a list of one kind need not say."""
    return {name: value for name, value in event.as_dict().items() if name != "kind"}
