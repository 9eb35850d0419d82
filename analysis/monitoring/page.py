"""A monitored transcript as one page, without scripts or anything from outside: traces over tokens, and the coloured text."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from analysis.monitoring.journey import AlarmRaised, Event, TokenRead, TurnRead
from analysis.monitoring.reference import Reference
from analysis.study import Study, write_whole

MOST_LABELS = 6
"""Labels with a trace of their own: those that are named, or that reach the highest percentiles."""
MOST_TOKENS = 20_000
WINDOW = 10
"""Tokens that a trace is a running mean of."""
WIDTH, HEIGHT = 900, 90


def write_page(
    path: str | Path, study: Study, events: Sequence[Event], reference: Reference, concepts: Sequence[str] | None = None
) -> None:
    """Raises ValueError for more tokens than a page can show."""
    tokens = [event for event in events if isinstance(event, TokenRead)]
    if len(tokens) > MOST_TOKENS:
        raise ValueError(
            f"{len(tokens):,} tokens are too many for a page ({MOST_TOKENS:,}): write --jsonl, or a part of them"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page(study, events, reference, concepts).encode())


def page(study: Study, events: Sequence[Event], reference: Reference, concepts: Sequence[str] | None = None) -> str:
    """The page as a string; everything that comes from a text is escaped."""
    tokens = [event for event in events if isinstance(event, TokenRead)]
    alarms = [event for event in events if isinstance(event, AlarmRaised)]
    turns = [event for event in events if isinstance(event, TurnRead)]
    names = list(concepts or _strongest(tokens))[:MOST_LABELS]
    parts = [HEAD, "<h1>Monitor</h1>", f"<p>{escape(study.info.site)}; percentiles of {reference.n_tokens:,} tokens of "
             f"{escape(reference.source)}; {len(tokens):,} tokens read.</p>"]  # fmt: skip
    if alarms:
        rows = "".join(
            f'<tr><td class="n">{one.token}</td><td>{escape(one.rule)}</td><td class="n">{one.mean:.2f}</td>'
            f'<td class="n">{one.threshold:.2f}</td></tr>'
            for one in alarms
        )
        parts.append(
            "<h2>Alarms</h2><table><tr><th>token</th><th>rule</th><th>mean, dose units</th><th>threshold</th></tr>"
            f"{rows}</table>"
        )
    parts.append("<h2>Traces</h2>")
    parts += [
        _trace(name, tokens, [one for one in alarms if one.rule.startswith(f"{name} ")], reference) for name in names
    ]
    if turns and turns[0].speaker != "text":
        parts.append(_turn_table(turns, names))
    parts.append("<h2>Text</h2>")
    parts += [_text(name, tokens) for name in names]
    return "\n".join([*parts, "</main></body></html>\n"])


def _strongest(tokens: Sequence[TokenRead]) -> list[str]:
    """Labels in the order of their mean percentile over the tokens at which they are highest (a twentieth of them)."""
    if not tokens:
        return []
    names = list(tokens[0].percentiles)
    top = max(1, len(tokens) // 20)
    score = {name: sum(sorted((one.percentiles[name] for one in tokens), reverse=True)[:top]) for name in names}
    return sorted(names, key=lambda name: -score[name])


def _trace(name: str, tokens: Sequence[TokenRead], alarms: Sequence[AlarmRaised], reference: Reference) -> str:
    """Running mean of the level over tokens, with the reference's 95th and 99th percentile of such means."""
    means = []
    for at in range(len(tokens)):
        part = tokens[max(0, at - WINDOW + 1) : at + 1]
        means.append(sum(one.levels[name] for one in part) / len(part))
    lines = {p: reference.threshold(name, p, WINDOW) for p in (95.0, 99.0)}
    top = max([*means, *lines.values(), 1e-9]) * 1.05
    left, right, foot = 46, 8, 16

    def x(at: float) -> float:
        return left + (WIDTH - left - right) * at / max(1, len(tokens) - 1)

    def y(value: float) -> float:
        return 4 + (HEIGHT - 4 - foot) * (1 - value / top)

    marks = []
    for at in range(1, len(tokens)):
        if tokens[at].turn >= 0 and tokens[at].turn != tokens[at - 1].turn:
            marks.append(f'<line class="turn" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="4" y2="{HEIGHT - foot}"/>')
    for p, value in lines.items():
        marks.append(f'<line class="p" x1="{left}" x2="{WIDTH - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        marks.append(f'<text x="{left - 4}" y="{y(value) + (9 if p < 99 else -1):.1f}" text-anchor="end">p{p:g}</text>')
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(means))
    first = tokens[0].token if tokens else 0
    rung = "".join(f'<circle cx="{x(one.token - first):.1f}" cy="{y(one.mean):.1f}" r="4"/>' for one in alarms)
    return (
        f"<figure><figcaption>{escape(name)} <small>mean of {WINDOW} tokens, dose units, up to {top / 1.05:.2f}</small></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="level of {escape(name, quote=True)} over {len(tokens)} tokens">'
        f'{"".join(marks)}<polyline points="{path}"/>{rung}<text x="{WIDTH - right}" y="{HEIGHT - 3}" text-anchor="end">'
        f"token {len(tokens)}</text></svg></figure>"
    )


def _turn_table(turns: Sequence[TurnRead], names: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}: mean, peak</th>" for name in names)
    rows = []
    for one in turns:
        cells = "".join(f'<td class="n">{one.mean[name]:.2f}, p{one.peak_percentile[name]:.1f}</td>' for name in names)
        parted = "; ".join(
            f"{d.concept} {d.kind} (inside p{d.inside:.0f}, words p{d.outside:.0f})" for d in one.diverges
        )
        rows.append(
            f'<tr><td class="n">{one.turn + 1}</td><td>{escape(one.speaker)}</td><td class="n">{one.n_tokens}</td>{cells}'
            f"<td>{escape(parted)}</td></tr>"
        )
    return (
        f"<h2>Turns</h2><table><tr><th>turn</th><th>speaker</th><th>tokens</th>{head}<th>inside against words</th></tr>"
        f"{''.join(rows)}</table>"
    )


def _text(name: str, tokens: Sequence[TokenRead]) -> str:
    spans, speaker = [], None
    for one in tokens:
        if one.turn < 0:
            continue
        if (one.document, one.turn) != speaker:
            speaker = (one.document, one.turn)
            spans.append(f"<br><b>{escape(one.speaker)}</b> " if one.speaker != "text" else "")
        percentile = one.percentiles[name]
        strength = max(0.0, (percentile - 90.0) / 10.0)
        text = escape(one.text).replace("\n", "<br>")
        if strength <= 0:
            spans.append(text)
        else:
            about = f"{one.levels[name]:.2f} dose units, p{percentile:.1f}"
            spans.append(f'<span style="--s:{strength:.2f}" title="{about}">{text}</span>')
    return f'<section><h3>{escape(name)}</h3><p class="text">{"".join(spans)}</p></section>'


HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Monitor</title><style>
:root { color-scheme: light dark; --ink: #1c1c1a; --paper: #fdfdfb; --faint: #8a8a84; --line: #0b62a8; --mark: 200, 80, 0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e4; --paper: #161614; --faint: #8a8a84; --line: #6db3ee; --mark: 255, 140, 50; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; margin-bottom: .2rem; }
figure { margin: 0 0 .8rem; } figcaption { font-weight: 600; } small { font-weight: 400; color: var(--faint); }
svg { width: 100%; height: auto; } svg polyline { fill: none; stroke: var(--line); stroke-width: 1.5; }
svg text { font: 10px system-ui, sans-serif; fill: var(--faint); } svg .p { stroke: var(--faint); stroke-dasharray: 3 3; stroke-width: .7; }
svg .turn { stroke: var(--faint); stroke-width: .5; } svg circle { fill: rgb(var(--mark)); }
table { border-collapse: collapse; font-size: .9rem; } td, th { padding: .2rem .7rem .2rem 0; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.text { line-height: 1.8; overflow-wrap: anywhere; } .text span { background: rgba(var(--mark), calc(.15 + .6 * var(--s))); border-radius: 2px; }
</style></head><body><main>"""
