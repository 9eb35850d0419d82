"""Emotion traces of a text, a chat or what the model writes now: per token, per turn, with alarms.

FILE is a text, or a jsonl of messages (one chat a file, or {"messages": [...]} a line); - is standard input. With --prompt the
model writes on, and is read while it writes; --scenes reads the gallery of `saes case scenes`. Levels are in dose units; percentiles are of a reference corpus (--reference, a
text a line; by default the study's own concept texts). An alarm is a rule such as 'desperate > p99 for 20': the mean over
20 tokens lies above the 99th percentile of such means in the reference. Exits with 0 whether or not alarms are raised.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study
from commands.spec_flags import at_least, listed

EXAMPLE = "saes monitor chat.jsonl --alarm 'desperate > p99 for 20' --jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to read")
    group.add_argument("file", nargs="?", metavar="FILE_OR_-", help="a text or a jsonl of messages")
    group.add_argument(
        "--scenes", nargs="?", const="", choices=("", "story", "chat"), metavar="story|chat",
        help="the bundled gallery, each scene beside its twin (default chat where the model has a chat template)",
    )  # fmt: skip
    group.add_argument("--prompt", metavar="TEXT", help="let the model write on from this, and read along")
    group.add_argument("--tokens", type=at_least(1), default=100, metavar="N", help="new tokens (default 100)")
    group.add_argument("--temperature", type=float, default=0.7, metavar="X", help="(default 0.7)")
    group = parser.add_argument_group("with what")
    group.add_argument("--study", default=DEFAULT, metavar="STUDY", help=f"whose labels (default {DEFAULT})")
    group.add_argument("--concepts", metavar="A,B,...", help="default: every label that held")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the study's")
    group.add_argument("--reference", metavar="FILE", help="what is usual: a text a line")
    group.add_argument("--alarm", action="append", default=[], metavar="RULE", help="may be repeated")
    group.add_argument(
        "--divergence", action="store_true", help="say where levels and words part (needs the concept set)"
    )
    group = parser.add_argument_group("what to leave")
    group.add_argument("--jsonl", action="store_true", help="an event a line, as it happens, for other programs")
    group.add_argument("--out", metavar="PAGE.html", help="a page with traces and coloured text")


def run(arguments: argparse.Namespace) -> Answer | None:
    from analysis.monitoring.alarms import Watch, parse_rule
    from analysis.monitoring.journey import AlarmRaised, TurnRead, monitor, outside_for, reference_for
    from analysis.monitoring.page import write_page
    from analysis.monitoring.reader import LevelReader
    from analysis.monitoring.terminal import legend, lines
    from analysis.monitoring.transcript import transcript_at

    if sum(one is not None for one in (arguments.file, arguments.prompt, arguments.scenes)) != 1:
        raise ValueError("give one of a FILE (or - for standard input), a --prompt to write on from, or --scenes")
    rules = [parse_rule(text) for text in arguments.alarm]
    study = Study.open(find_study(arguments.study))
    if arguments.file not in (None, "-"):
        transcript_at(arguments.file)  # before the reference is read, which takes its time
    if arguments.reference and not Path(arguments.reference).is_file():
        raise FileNotFoundError(f"there is no reference {arguments.reference}: give a file with a text a line")
    if not arguments.temperature >= 0:
        raise ValueError(f"--temperature is 0 or more, got {arguments.temperature:g}")
    concepts = listed(arguments.concepts) if arguments.concepts else None
    reader = LevelReader.of_study(study, concepts, arguments.model, device=arguments.device)
    reference = reference_for(study, reader, arguments.reference)
    Watch(rules, reference)  # a rule that cannot be watched is said before anything is read
    outside = outside_for(study, reader, reference) if arguments.divergence else None
    events = monitor(study, _documents(arguments, reader), rules, reference=reference, reader=reader, outside=outside)
    kept: list[Any] = []

    def passing() -> Iterator[Any]:
        for event in events:
            if arguments.out or isinstance(event, (AlarmRaised, TurnRead)):
                kept.append(event)
            yield event

    if arguments.jsonl:
        for event in passing():
            print(json.dumps(event.as_dict()), flush=True)
        text = ""
    elif arguments.json:
        for _ in passing():
            pass
        text = ""
    else:
        colours = sys.stdout.isatty()
        print(legend(reader.concepts, reference.n_tokens, reference.source, colours))
        for piece in lines(passing(), colours):
            print(piece, end="", flush=True)
        text = f"page: {arguments.out}" if arguments.out else ""
    if arguments.out:
        write_page(arguments.out, study, kept, reference, concepts)
    data = {
        "alarms": [event.as_dict() for event in kept if isinstance(event, AlarmRaised)],
        "turns": [event.as_dict() for event in kept if isinstance(event, TurnRead)],
        "concepts": list(reader.concepts), "reference": {"source": reference.source, "tokens": reference.n_tokens},
        "page": arguments.out,
    }  # fmt: skip
    return (
        None if arguments.jsonl and not arguments.json else Answer(text, data)
    )  # nothing but events for other programs


def _documents(arguments: argparse.Namespace, reader: Any) -> Iterator[Any]:
    from analysis.monitoring.live import written_live
    from analysis.monitoring.transcript import documents, read_documents

    tokenizer = reader.model.tokenizer
    if arguments.scenes is not None:
        from analysis.cases.scenes import named_documents

        chats = bool(getattr(tokenizer, "chat_template", None))
        yield from named_documents(arguments.scenes or ("chat" if chats else "story"), tokenizer)
    elif arguments.prompt is not None:
        yield written_live(reader, arguments.prompt, arguments.tokens, arguments.temperature, seed=arguments.seed or 0)
    elif arguments.file == "-":
        yield from documents(iter(sys.stdin), "standard input", tokenizer)
    else:
        yield from read_documents(arguments.file, tokenizer)
