"""A monitored text in a terminal: tokens coloured by how unusual their strongest label is, turns summed up below."""

from collections.abc import Iterable, Iterator, Sequence

from analysis.monitoring.journey import AlarmRaised, Event, TokenRead, TurnRead

SHADES = ((99.5, 202), (99.0, 208), (97.0, 214), (95.0, 222))
"""(percentile, colour of the 256) from the strongest on; calmer tokens have no colour."""
SHOWN = 3
"""Labels in a turn's line."""


def coloured(token: TokenRead) -> str:
    """The token on the colour of its highest percentile."""
    highest = max(token.percentiles.values(), default=0.0)
    colour = next((shade for least, shade in SHADES if highest >= least), None)
    return token.text if colour is None else f"\x1b[30;48;5;{colour}m{token.text}\x1b[0m"


def summary(turn: TurnRead) -> str:
    """A line a turn: who, how long, the labels that stood out most."""
    order = sorted(turn.mean, key=lambda name: (-turn.peak_percentile[name], -turn.mean[name]))[:SHOWN]
    parts = ", ".join(f"{name} peak p{turn.peak_percentile[name]:.1f} mean {turn.mean[name]:.2f}" for name in order)
    line = f"  [{turn.speaker}, {turn.n_tokens} tokens] {parts}"
    for one in turn.diverges:
        line += f"\n  [{one.kind}] {one.concept}: inside p{one.inside:.0f}, words p{one.outside:.0f}"
    return line


def alarm_line(alarm: AlarmRaised) -> str:
    return (
        f"  [alarm at token {alarm.token}] {alarm.rule}: mean {alarm.mean:.2f} against {alarm.threshold:.2f} dose units"
    )


def lines(events: Iterable[Event], colours: bool = True) -> Iterator[str]:
    """Pieces to be written one after another; alarms and summaries stand in lines of their own."""
    waiting: list[str] = []
    speaker = None
    for event in events:
        match event:
            case TokenRead():
                if event.turn >= 0 and (event.turn, event.document) != speaker:
                    speaker = (event.turn, event.document)
                    yield f"\n{event.speaker}: " if event.speaker != "text" else "\n"
                if event.turn >= 0:
                    yield coloured(event) if colours else event.text
            case AlarmRaised():
                waiting.append(alarm_line(event))
            case TurnRead():
                yield "\n" + "\n".join([*waiting, summary(event)]) + "\n"
                waiting = []
    if waiting:
        yield "\n" + "\n".join(waiting) + "\n"


def legend(names: Sequence[str], n_tokens: int, source: str, colours: bool) -> str:
    shades = " ".join(
        f"\x1b[30;48;5;{colour}m p{least:g} \x1b[0m" if colours else f"p{least:g}" for least, colour in reversed(SHADES)
    )
    return f"{len(names)} labels; percentiles of {n_tokens:,} reference tokens ({source}): {shades}"
