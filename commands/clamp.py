"""Writes a text with latents clamped, beside what the model writes when it is left alone.

A clamp is NAME=VALUE or LATENT=VALUE. A concept's name stands for the latents of its label, and its value is in dose
units: multiples of each latent's own active scale. A bare latent number takes the latent's raw activation, and so does
the name of a direction in an npz of named directions: there it is a distance from the centre along the direction. With
--temperature above 0 both texts draw the same random numbers. Where `saes validate` has measured at which doses a label's
text stays fluent, a value beyond them is refused unless --beyond-safe is given.
"""

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.records import ClampResult
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_folder, is_checkpoint, is_study

EXAMPLE = 'saes clamp --prompt "The door opened and" --clamp afraid=+4 --tokens 40'
DEFAULTS = {"tokens": 60, "temperature": 0.7, "top_p": 0.95, "positions": "all"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to clamp")
    group.add_argument("where", nargs="?", default=DEFAULT, metavar="CHECKPOINT_OR_STUDY", help=f"(default {DEFAULT})")
    group.add_argument("--clamp", action="append", default=[], metavar="NAME_OR_LATENT=VALUE", help="may be repeated")
    group.add_argument("--positions", choices=("all", "prompt", "generated"), help="which tokens (default all)")
    group.add_argument("--beyond-safe", action="store_true", help="allow doses beyond the safe range of a label")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the one that the SAE was trained on")
    group.add_argument("--hook-name", metavar="NAME", help="the place it was trained at, where it does not say")
    group.add_argument("--spec", metavar="FILE", help="YAML with prompts, clamps {name: value} and any of these flags")
    group = parser.add_argument_group("what to write")
    group.add_argument("--prompt", action="append", metavar="TEXT", help="may be repeated")
    group.add_argument("--tokens", type=int, metavar="N", help="new tokens (default 60)")
    group.add_argument("--temperature", type=float, metavar="X", help="0 is the likeliest token (default 0.7)")
    group.add_argument("--top-p", type=float, metavar="X", help="(default 0.95)")


@dataclass(frozen=True)
class Clamp:
    """What one --clamp came to."""

    name: str
    latents: list[int]
    values: list[float]
    """In activation units, one a latent."""
    unit: str
    asked: float
    evidence: str = ""
    """What the label's status is, and on how much."""

    def __str__(self) -> str:
        parts = ", ".join(f"{latent} to {value:.4g}" for latent, value in zip(self.latents, self.values, strict=True))
        if self.unit == "dose":
            return (
                f"{self.name} = {self.asked:+g} dose units (latent {parts} in activation units); label {self.evidence}"
            )
        return f"latent {parts} in activation units"


def run(arguments: argparse.Namespace) -> Answer:
    asked = _asked(arguments)
    checkpoint, study = _opened(arguments.where)
    from analysis.opening import dictionary_of, reads_one_site, writes_elsewhere
    from saes.intervention import Edit, Intervention, hooks_across
    from saes.opening import known_site, open_dictionary
    from saes.site import Site
    from training.language_models.opening import open_model

    if study:
        opened, site, about = dictionary_of(study), Site.parse(study.info.site), study.info.settings
    else:
        opened, site, about = open_dictionary(checkpoint, model=arguments.model, hook_name=arguments.hook_name)
        site = known_site(site, checkpoint)
    dictionary, written = reads_one_site(opened), about.get("hook_name_out")
    if writes_elsewhere(dictionary) and not written:
        raise ValueError("this transcoder does not say which place it writes (hook_name_out), so it cannot be clamped")
    clamps = [resolve(name, value, study, getattr(dictionary, "names", ())) for name, value in asked["clamps"]]
    if study and not arguments.beyond_safe:
        refuse_unsafe(clamps, study)
    for clamp in clamps:
        for latent in clamp.latents:
            if not 0 <= latent < dictionary.d_sae:
                raise ValueError(f"there is no latent {latent}: this SAE has 0 to {dictionary.d_sae - 1}")
    model = open_model(arguments.model or (study.info.model if study else site.model), arguments.device)
    if model.width(site.hook_name) != dictionary.d_in:
        found = model.width(site.hook_name)
        raise ValueError(
            f"expected d_in {dictionary.d_in}, got {found} at {site.hook_name} of {model.name}: another model's SAE"
        )
    dictionary = dictionary.to(model.device)
    edits = tuple(Edit(tuple(one.latents), 1.0, "set", tuple(one.values)) for one in clamps)
    clamping = Intervention(edits, asked["positions"])
    if writes_elsewhere(dictionary):
        hooks = hooks_across(clamping, dictionary, site.hook_name, str(written))
    else:
        hooks = {site.hook_name: clamping.hook(dictionary)}
    options = {"temperature": asked["temperature"], "top_p": asked["top_p"], "seed": arguments.seed or 0}
    baseline = model.generate(asked["prompts"], asked["tokens"], **options)
    clamped = model.generate(asked["prompts"], asked["tokens"], hooks=hooks, **options)

    texts = [
        {"prompt": prompt, "baseline": before, "clamped": after}
        for prompt, before, after in zip(asked["prompts"], baseline, clamped, strict=True)
    ]
    shown = [
        {"name": one.name, "asked": one.asked, "unit": one.unit, "latents": one.latents, "values": one.values}
        for one in clamps
    ]
    heading = [f"{site}", *(f"clamped: {one}" for one in clamps)]
    text = "\n".join([*heading, *(side_by_side(one["prompt"], one["baseline"], one["clamped"]) for one in texts)])
    return Answer(
        text, {"site": str(site), "clamps": shown, "texts": texts, "study": str(study.folder) if study else None}
    )


def parse(text: str) -> tuple[str, float]:
    """`afraid=+8` -> ("afraid", 8.0)."""
    name, equals, value = text.rpartition("=")
    try:
        return name.strip(), float(value) if equals and name.strip() else _fail(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a clamp: NAME_OR_LATENT=VALUE, for example afraid=+8 or 1234=0") from None


def resolve(name: str, value: float, study: Study | None, directions: Sequence[str] = ()) -> Clamp:
    """A concept's name through the study's chosen labels, a latent's number, or the name of one of the directions."""
    if name.isdecimal():
        return Clamp(name, [int(name)], [value], "activation", value)
    if study is None and name in directions:
        return Clamp(name, [directions.index(name)], [value], "activation", value)
    if study is None and directions:
        raise ValueError(f"there is no direction {name!r}; there are: {', '.join(directions)}")
    if study is None:
        raise ValueError(f"{name!r} is a name, but no study says what it means: give a latent's number, or a study")
    label = study.label(name)
    values = [value * scale * weight for scale, weight in zip(label.scales, label.weights, strict=True)]
    evidence = f"{label.status}, checking AUROC {label.auroc_checking:.2f} (n = {label.n_positive})"
    return Clamp(name, label.latents, values, "dose", value, evidence)


def refuse_unsafe(clamps: Sequence[Clamp], study: Study) -> None:
    """ValueError for a named dose at which the label's text was measured to be no longer fluent, or that was not tried."""
    measured = {one.concept: one for one in study.read("clamps", ClampResult) if one.arm == "label"}
    for clamp in clamps:
        if clamp.unit != "dose" or clamp.name not in measured:
            continue
        low, high = measured[clamp.name].safe_low, measured[clamp.name].safe_high
        if low is not None and high is not None and not low <= clamp.asked <= high:
            raise ValueError(
                f"{clamp.name}={clamp.asked:+g} is outside the safe range of {low:+.2g} to {high:+.2g} dose units in which the text "
                f"was measured to stay fluent: choose a dose within it, or lift the limit with --beyond-safe"
            )


def side_by_side(prompt: str, baseline: str, clamped: str, width: int | None = None) -> str:
    """Two columns as wide as the terminal."""
    width = width or min(shutil.get_terminal_size((100, 20)).columns, 160)
    column = max(20, (width - 3) // 2)
    left, right = (
        ["baseline", *_wrapped(prompt + baseline, column)],
        ["clamped", *_wrapped(prompt + clamped, column)],
    )
    height = max(len(left), len(right))
    left, right = left + [""] * (height - len(left)), right + [""] * (height - len(right))
    lines = [f"{one:<{column}} | {other}".rstrip() for one, other in zip(left, right, strict=True)]
    return "\n".join(["", lines[0], "-" * column + "-+-" + "-" * column, *lines[1:]])


def _wrapped(text: str, width: int) -> list[str]:
    return [line for part in text.splitlines() for line in (textwrap.wrap(part, width) or [""])]


def _fail(text: str) -> float:
    raise ValueError(text)


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """Flags over the spec file over defaults."""
    spec = _read(arguments.spec) if arguments.spec else {}
    prompts = arguments.prompt or spec.get("prompts") or spec.get("prompt")
    prompts = [prompts] if isinstance(prompts, str) else list(prompts or [])
    clamps = [(str(name), float(value)) for name, value in dict(spec.get("clamps") or {}).items()]
    clamps += [parse(text) for text in arguments.clamp]
    if not prompts:
        raise ValueError('nothing to write on from: give --prompt "The door opened and"')
    if not clamps:
        raise ValueError("nothing to clamp: give --clamp NAME_OR_LATENT=VALUE, for example --clamp afraid=+4")
    told = {name: getattr(arguments, name) for name in DEFAULTS if getattr(arguments, name) is not None}
    settings: dict[str, Any] = DEFAULTS | {name: spec[name] for name in DEFAULTS if name in spec} | told
    if settings["tokens"] < 1:
        raise ValueError(f"--tokens must be at least 1, got {settings['tokens']}")
    return {**settings, "prompts": prompts, "clamps": clamps}


def _read(path: str) -> dict[str, Any]:
    import yaml

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no spec {path}")
    try:
        spec = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    known = {"prompts", "prompt", "clamps", *DEFAULTS}
    if not isinstance(spec, dict) or set(spec) - known:
        raise ValueError(f"{path} must hold some of: {', '.join(sorted(known))}")
    return spec


def _opened(where: str) -> tuple[Path, Study | None]:
    """The folder that was given, and the study that names its SAE's latents."""
    folder = find_folder(where)
    if is_study(folder):
        study = Study.open(folder)
        return folder, study
    inside = folder / "study"
    return folder, Study.open(inside) if is_checkpoint(folder) and is_study(inside) else None
