"""Has a language model say in a sentence when latents fire, and scores each sentence on excerpts that it was not shown.

Optional: nothing else needs it. The explainer sees excerpts of finding texts, never a label; a scorer then rates, by
the sentence alone, in which excerpts of checking texts the latent fires (detection) and which marked tokens are right
(fuzzing). Beside each score stands that of another latent's sentence. Any key is read from the environment and written
nowhere. A run that was stopped goes on with the same command.
"""

import argparse
from dataclasses import asdict
from statistics import median

from analysis.records import Explanation
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_study
from commands.spec_flags import listed

EXAMPLE = "saes explain checkpoints/my-study --llm http://localhost:8000/v1/my-model --max-requests 500"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to explain")
    group.add_argument("study", nargs="?", default=DEFAULT, metavar="STUDY", help="made by `saes label`")
    group.add_argument("--features", default="labels", metavar="F", help="labels (default), all, or latents: 3,17")
    group.add_argument("--held-out", type=int, default=16, metavar="N", help="firing, and silent, excerpts scored on")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="whose activations; default: what the study names")
    group = parser.add_argument_group("who explains")
    group.add_argument(
        "--llm", required=True, metavar="ENDPOINT_OR_DIR",
        help="openai/MODEL (at OPENAI_BASE_URL, else OpenAI), http://host:port/v1/MODEL, or a Hugging Face folder",
    )  # fmt: skip
    group.add_argument("--scorer-llm", metavar="ENDPOINT_OR_DIR", help="default: the same")
    group.add_argument("--key-env", metavar="NAME", help="environment variable with the key (default OPENAI_API_KEY)")
    group.add_argument("--answer-tokens", type=int, default=512, metavar="N", help="longest answer (default 512)")
    group = parser.add_argument_group("how it is asked")
    group.add_argument("--parallel", type=int, default=4, metavar="N", help="requests at a time (default 4)")
    group.add_argument("--per-minute", type=float, metavar="N", help="requests a minute at most")
    group.add_argument("--max-requests", type=int, metavar="N", help="stop after so many, tries included")
    group.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds a request may take (default 60)"
    )


def run(arguments: argparse.Namespace) -> Answer:
    for flag in ("parallel", "per_minute", "max_requests", "timeout", "answer_tokens"):
        if (value := getattr(arguments, flag)) is not None and value <= 0:
            raise ValueError(f"--{flag.replace('_', '-')} must be above zero, got {value}")
    study = Study.open(find_study(arguments.study))
    features = arguments.features
    if features not in ("all", "labels"):
        if not all(part.isdecimal() for part in listed(features)):
            raise ValueError(f"--features is labels, all, or latents such as 3,17, not {features!r}")
        features = listed(features, int)
    from analysis.explaining.journey import explain

    study = explain(
        study,
        arguments.llm,
        features,
        arguments.scorer_llm,
        held_out=arguments.held_out,
        parallel=arguments.parallel,
        per_minute=arguments.per_minute,
        max_requests=arguments.max_requests,
        answer_tokens=arguments.answer_tokens,
        timeout=arguments.timeout,
        key_variable=arguments.key_env,
        model=arguments.model,
        device=arguments.device,
        seed=arguments.seed or 0,
    )
    found, about = study.read("explanations", Explanation), study.info.settings["explain"]
    lines = [line for one in found for line in (f"latent {one.latent}: {told(one)[0]}", *told(one)[1:])]
    lines += ["", summary(found)] if found else []
    if about["skipped"]:
        lines.append(f"not explained, since they fire in too few finding texts: {_numbers(about['skipped'])}")
    if about["stopped"]:
        lines.append(f"{about['stopped']}, {len(about['left'])} latents are left: the same command goes on")
    data = {"explanations": [asdict(one) for one in found], "left": about["left"], "skipped": about["skipped"]}
    return Answer("\n".join(lines), {**data, "stopped": about["stopped"], "study": str(study.folder)})


def told(one: Explanation) -> list[str]:
    """An explanation and its scores, for the terminal."""
    return [
        one.text or "no explanation: no answer could be read",
        f"  detection {_score(one.detection, one.detection_low, one.detection_high)}, hard {_number(one.detection_hard)}, "
        f"another latent's explanation {_number(one.detection_shuffled)}, n = {one.n_firing} + {one.n_silent}",
        f"  fuzzing   {_score(one.fuzzing, one.fuzzing_low, one.fuzzing_high)}, "
        f"another latent's explanation {_number(one.fuzzing_shuffled)}, n = {one.n_right} + {one.n_wrong}",
    ]


def summary(found: list[Explanation]) -> str:
    """Medians over the latents, and how many explanations do better than another latent's."""
    parts = []
    for task in ("detection", "fuzzing"):
        scored = [one for one in found if getattr(one, task) is not None]
        compared = [one for one in scored if getattr(one, f"{task}_gain_low") is not None]
        if scored:
            parts.append(f"{task}: median AUROC {median(getattr(one, task) for one in scored):.2f} (n = {len(scored)})")
        if compared:
            above = sum(getattr(one, f"{task}_gain_low") > 0 for one in compared)
            middle = median(getattr(one, f"{task}_shuffled") for one in compared)
            parts[-1] += f", another latent's {middle:.2f}; {above} of {len(compared)} surely above it"
    return "\n".join(parts or ["nothing could be scored"])


def _score(value: float | None, low: float | None, high: float | None) -> str:
    return "-" if value is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _numbers(latents: list[int]) -> str:
    return ", ".join(map(str, latents[:20])) + (f" and {len(latents) - 20} more" if len(latents) > 20 else "")
