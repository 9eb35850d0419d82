"""Opens a study in the browser: its features, their evidence, and (with --live) a bench to clamp them on.

One process on this machine: no account, no database server, nothing loaded from elsewhere. It answers to this machine
only; with --host ADDRESS to others too, who need the token that is in the address it prints (plain HTTP: for a machine
far away, `ssh -L 8421:localhost:8421 there` is safer). Ctrl-C ends it.
"""

import argparse
import json
import os
import sys
import threading
import webbrowser
from typing import Any

from commands.answer import Answer
from commands.places import DEFAULT, find_study

EXAMPLE = "saes browse storyteller-sae --live"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to look at")
    group.add_argument(
        "study", nargs="?", default=DEFAULT, metavar="STUDY", help=f"made by `saes label` (default {DEFAULT})"
    )
    group.add_argument("--compare", metavar="STUDY", help="a second study, shown beside the first")
    group.add_argument("--notes", metavar="FILE", help="where your notes are kept (default: notes.sqlite in the study)")
    group = parser.add_argument_group("with the model")
    group.add_argument("--live", action="store_true", help="open the model, for the clamp bench and the monitor")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="which one, with --live (default: the study's)")
    group = parser.add_argument_group("where")
    group.add_argument("--port", type=int, metavar="N", help="(default 8421; 0 takes any that is free)")
    group.add_argument("--host", default="127.0.0.1", metavar="H", help="(default 127.0.0.1: this machine only)")
    group.add_argument(
        "--token", metavar="T", help="wanted from every visitor; made where --host is given and this is not"
    )
    group.add_argument("--no-open", action="store_true", help="print the address, open no browser")


def run(arguments: argparse.Namespace) -> Answer | None:
    from analysis.browser.app import create_app
    from analysis.browser.serving import PORT, place_at, serve

    if arguments.model and not arguments.live:
        raise ValueError("--model is for --live: without it no model is opened")
    place = place_at(arguments.host, PORT if arguments.port is None else arguments.port, arguments.token)
    study = find_study(arguments.study)
    other = find_study(arguments.compare) if arguments.compare else None
    engine = None
    if arguments.live:
        from analysis.browser.live.engine import Engine

        engine = Engine(study, arguments.model, arguments.device)
    try:
        app = create_app(
            study, other=other, live=engine, token=place.token, hosts=place.hosts, notes_file=arguments.notes
        )
        threading.Thread(target=_warm, args=[app], name="warm", daemon=True).start()
        serve(app, place, lambda address: _say(address, arguments))
    finally:
        if engine is not None:
            engine.close()
    return None  # the address was said when it could be opened


def _say(address: str, arguments: argparse.Namespace) -> None:
    if arguments.json:
        assert sys.__stdout__ is not None
        print(json.dumps({"address": address, "pid": os.getpid()}), file=sys.__stdout__, flush=True)
        return
    print(f"{address}\nCtrl-C ends it.", flush=True)
    if not arguments.no_open and _has_screen():
        webbrowser.open(address)


def _warm(app: Any) -> None:
    """What the first pages need, read while nobody waits yet. A damaged table is said by the page that needs it."""
    from analysis.browser.queries.concept_facts import concept_facts
    from analysis.browser.queries.feature_index import feature_index
    from analysis.browser.queries.store import DamagedTable

    for store in filter(None, (app.state.store, app.state.other)):
        try:
            concept_facts(store)
            feature_index(store).prepare()
        except DamagedTable:
            continue


def _has_screen() -> bool:
    """Whether a browser would come up in a window, and not in this terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
