"""`saes VERB ...`: finds the verb's file, runs it, and turns what went wrong into one line and an exit code."""

import argparse
import contextlib
import errno
import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

VERBS = {
    "start here": {
        "demo": "the whole journey on the bundled model, with a report to look at",
    },
    "the journey, step by step": {
        "pretrain": "train a small language model from nothing",
        "harvest": "write a language model's activations to disk, for many runs to read",
        "train": "train a sparse autoencoder on a language model's activations",
        "label": "find latents that carry emotion concepts, and check them on held-out texts",
        "validate": "test the labels by clamping, against matched controls",
    },
    "train on a cluster": {
        "plan": "what a training run will cost, before it is started",
        "submit": "hand a training run to Slurm",
    },
    "look at what was found": {
        "browse": "a study in the browser: features, their evidence, and a bench to clamp them on",
        "evaluate": "how good checkpoints are on held-out text, and their frontier",
        "clamp": "write with latents clamped, beside the baseline",
        "case": "a case study: what clamps do to behaviour, or what wakes a label",
        "monitor": "emotion traces of a text, a chat or what the model writes, with alarms",
        "ablate": "what the model loses without labelled latents, against matched random groups",
        "show": "what a checkpoint, a study or a feature is",
        "report": "a study as one page or as Markdown: method, tables, what was rejected and why",
        "export": "a study as a web site of files, or in the layouts of Neuronpedia and SAEDashboard",
        "explain": "what a language model says of latents, scored on excerpts it was not shown",
        "geometry": "how labelled directions lie, against human valence and arousal",
        "stability": "whether labels are found again in SAEs of other seeds, widths, layers",
        "transfer": "how labels do on a labelled data set that nobody here wrote",
        "concepts": "what a concept set holds, and how far words alone give it away",
    },
}
DONE, FAILED, WRONG_INPUT, STOPPED = 0, 1, 2, 130
USER_ERRORS = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: {message}; `{self.prog} --help` lists what there is\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 2 wrong input or a full disk, 1 our failure, 130 Ctrl-C, 75 stopped by the system and to be started again.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return DONE
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("emotion-saes"))
        return DONE
    verbs = [verb for group in VERBS.values() for verb in group]
    if words[0] not in verbs:
        print(f"saes: there is no verb {words[0]!r}; there are: {', '.join(verbs)}", file=sys.stderr)
        return WRONG_INPUT
    return _run(words[0], words[1:])


def overview() -> str:
    """What `saes --help` shows; loads nothing."""
    lines = [
        "usage: saes VERB ...",
        "",
        "Train sparse autoencoders on language models, label the latents that carry emotion concepts,",
        "and test the labels by clamping them against matched controls.",
    ]
    for group, verbs in VERBS.items():
        lines += ["", f"{group}:", *(f"  {verb:<10} {about}" for verb, about in verbs.items())]
    lines += [
        "",
        "every verb takes --help, --json, --device auto|cpu|cuda[:n] and --seed N",
        "",
        "example:",
        "  saes demo --out checkpoints/demo",
    ]
    return "\n".join(lines)


def _run(verb: str, words: list[str]) -> int:
    debug = "--debug" in words
    try:
        module = importlib.import_module(f"commands.{verb}")
        arguments = _parser(verb, module).parse_args(words)
        if arguments.json:  # nothing but the one object may reach stdout
            with contextlib.redirect_stdout(sys.stderr):
                answer = module.run(arguments)
        else:
            answer = module.run(arguments)
        if answer is not None:  # None: another process of the same command says it
            print(json.dumps(_plain(answer.data)) if arguments.json else answer.text)
        sys.stdout.flush()
        return DONE
    except SystemExit as stop:  # argparse's own
        return int(stop.code or 0)
    except BrokenPipeError:  # `saes show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt as stopped:
        print(f"\nsaes {verb}: stopped; what was saved is whole, and {_how_to_go_on(verb)}", file=sys.stderr)
        return getattr(stopped, "exit_code", STOPPED)
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        code, line = _verdict(error)
        print(f"saes {verb}: {line}", file=sys.stderr)
        return code


def _parser(verb: str, module: Any) -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=f"saes {verb}",
        description=module.__doc__,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    common = parser.add_argument_group("common to all verbs")
    common.add_argument("--json", action="store_true", help="print one JSON object as the last thing on stdout")
    common.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda or cuda:1")
    common.add_argument("--seed", type=int, metavar="N", help="of everything drawn at random (default 0)")
    common.add_argument("--debug", action="store_true", help="show the traceback of what went wrong")
    return parser


def _verdict(error: Exception) -> tuple[int, str]:
    """Exit code and the one line: whose mistake it was, and what would do."""
    said = " ".join(str(error).split())
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in said:
        place = getattr(error, "filename", None) or said
        return WRONG_INPUT, f"the disk is full ({place}); files from before are whole: free some space and run it again"
    if isinstance(error, USER_ERRORS):
        return WRONG_INPUT, said or type(error).__name__
    if isinstance(error, ImportError):
        return FAILED, said
    kind = type(error).__name__
    return FAILED, f"failed with {kind}: {said}"[:300] + " (--debug shows where)"


def _how_to_go_on(verb: str) -> str:
    if verb == "train":
        return "the same command with --resume goes on from there"
    return "the same command goes on or begins again"


def _plain(value: Any) -> Any:
    """JSON without NaN: a number that could not be computed is null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


if __name__ == "__main__":
    sys.exit(main())
