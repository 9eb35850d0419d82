"""Writes a text with latents clamped, beside what the model writes when it is left alone.

A clamp is NAME=VALUE or LATENT=VALUE. A concept's name stands for the latents of its label, and its value is in dose
units: multiples of each latent's own active scale; NAME/written stands for the latents that write the concept, a unit of
which pushes as far. A bare latent number takes the latent's raw activation, and so does
the name of a direction in an npz of named directions: there it is a distance from the centre along the direction. With
--temperature above 0 both texts draw the same random numbers. A file (--spec) can say more: other edits, units, positions,
conditions and several sites; --save-spec writes one, and docs/interventions.md describes it. Where `saes validate` has
measured at which doses text stays fluent, a value beyond them is refused unless --beyond-safe is given.
"""

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.clamping.safe_dose import Clamp, clamp_of, refuse_unsafe, safe_ranges, written_edit
from analysis.study import Study
from commands.answer import Answer
from commands.places import DEFAULT, find_folder, is_checkpoint, is_study
from saes.latent_statistics import LabelUnits, LatentStatistics
from saes.plain_file import read_plain, write_plain
from saes.schema import check
from saes.written_intervention import (
    NAMED_POSITIONS,
    SCHEMA,
    Amount,
    WrittenEdit,
    WrittenIntervention,
    WrittenSite,
    intervention_from_data,
)

EXAMPLE = 'saes clamp --prompt "The door opened and" --clamp afraid=+4 --tokens 40'
DEFAULTS = {"tokens": 60, "temperature": 0.7, "top_p": 0.95, "positions": "all"}
SPEC: dict[str, Any] = {
    "prompt": {"type": "string"},
    "prompts": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "chat": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
        },
    },
    "tokens": {"type": "integer", "minimum": 1},
    "temperature": {"type": "number", "minimum": 0},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "positions": {"enum": list(NAMED_POSITIONS)},
}
"""What a spec may hold beside an intervention and `clamps`, whose positions these are. A chat is answered in its model's
own template."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to clamp")
    group.add_argument("where", nargs="?", default=DEFAULT, metavar="CHECKPOINT_OR_STUDY", help=f"(default {DEFAULT})")
    group.add_argument("--clamp", action="append", default=[], metavar="NAME_OR_LATENT=VALUE", help="may be repeated")
    group.add_argument("--positions", choices=NAMED_POSITIONS, help="which tokens (default all)")
    group.add_argument("--beyond-safe", action="store_true", help="allow doses beyond the safe range of a label")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the one that the SAE was trained on")
    group.add_argument("--hook-name", metavar="NAME", help="the place it was trained at, where it does not say")
    group.add_argument(
        "--spec", metavar="FILE_OR_-", help="YAML or JSON: an intervention's sites, prompts, a chat, any of these flags"
    )
    group.add_argument("--save-spec", metavar="FILE", help="write what all this means as such a file")
    group = parser.add_argument_group("what to write")
    group.add_argument("--prompt", action="append", metavar="TEXT", help="may be repeated")
    group.add_argument("--tokens", type=int, metavar="N", help="new tokens (default 60)")
    group.add_argument("--temperature", type=float, metavar="X", help="0 is the likeliest token (default 0.7)")
    group.add_argument("--top-p", type=float, metavar="X", help="(default 0.95)")


@dataclass(frozen=True)
class OpenedSite:
    """One site of an intervention with what it is about."""

    written: WrittenSite
    dictionary: Any
    site: Any
    study: Study | None
    statistics: LatentStatistics | None
    written_at: str | None = None
    """Where a transcoder writes."""

    def clamps(self) -> list[Clamp]:
        return [clamp_of(edit, self.study, self.statistics) for edit in self.written.edits]


def run(arguments: argparse.Namespace) -> Answer:
    asked = _asked(arguments)
    opened = [_opened_site(written, arguments) for written in asked["sites"]]
    clamps = [clamp for one in opened for clamp in one.clamps()]
    for one in opened:
        if one.study and not arguments.beyond_safe:
            refuse_unsafe(one.clamps(), safe_ranges(one.study), "--beyond-safe")
    from saes.intervention import in_turn
    from training.language_models.chat import invited
    from training.language_models.opening import open_model
    from training.language_models.turns import assistant_turns

    first = opened[0]
    model = open_model(
        arguments.model or (first.study.info.model if first.study else first.site.model), arguments.device
    )
    hooks: dict[str, list[Any]] = {}
    for one in opened:
        _check_fit(one, model)
        intervention = one.written.resolved(
            one.statistics,
            lambda text: model.tokenise([text], add_bos=False).ids[0].tolist(),
            lambda: assistant_turns(model.tokenizer),
        )
        for hook_name, hook in _hooks(intervention, one, model.device).items():
            hooks.setdefault(hook_name, []).append(hook)
    if arguments.save_spec:
        whole = {name: value for name, value in asked.items() if name not in ("sites", "positions") and value != []}
        sites = tuple(_said(one, arguments.where) for one in opened)
        write_plain(arguments.save_spec, {**WrittenIntervention(sites).as_data(), **whole})
    options = {"temperature": asked["temperature"], "top_p": asked["top_p"], "seed": arguments.seed or 0}
    begun = invited(model.tokenizer, asked["chat"]) if "chat" in asked else asked["prompts"]
    baseline = model.generate(begun, asked["tokens"], **options)
    acting = {hook_name: in_turn(some) for hook_name, some in hooks.items()}
    clamped = model.generate(begun, asked["tokens"], hooks=acting, **options)

    texts = [
        {"prompt": prompt, "baseline": before, "clamped": after}
        for prompt, before, after in zip(asked["prompts"] or [""], baseline, clamped, strict=True)
    ]
    shown = [
        {"name": one.name, "mode": one.mode, "asked": one.asked, "unit": one.unit, "latents": one.latents,
         "values": one.values}
        for one in clamps
    ]  # fmt: skip
    places = list(dict.fromkeys(str(one.site) for one in opened))
    heading = [*places, *(f"clamped: {one}" for one in clamps)]
    text = "\n".join([*heading, *(side_by_side(one["prompt"], one["baseline"], one["clamped"]) for one in texts)])
    return Answer(
        text,
        {"site": places[0], "sites": places, "clamps": shown, "texts": texts,
         "study": str(first.study.folder) if first.study else None},
    )  # fmt: skip


def parse(text: str) -> tuple[str, float]:
    """`afraid=+8` -> ("afraid", 8.0)."""
    name, equals, value = text.rpartition("=")
    try:
        return name.strip(), float(value) if equals and name.strip() else _fail(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a clamp: NAME_OR_LATENT=VALUE, for example afraid=+8 or 1234=0") from None


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
    if not prompts and not spec.get("chat"):
        raise ValueError('nothing to write on from: give --prompt "The door opened and"')
    if prompts and spec.get("chat"):
        raise ValueError("a prompt and a chat cannot both be written on from: give one of them")
    told = {name: getattr(arguments, name) for name in DEFAULTS if getattr(arguments, name) is not None}
    settings: dict[str, Any] = DEFAULTS | {name: spec[name] for name in DEFAULTS if name in spec} | told
    if settings["tokens"] < 1:
        raise ValueError(f"--tokens must be at least 1, got {settings['tokens']}")
    sites = list(spec.get("sites", ()))
    if clamps:
        sites.append(WrittenSite(tuple(written_edit(*clamp) for clamp in clamps), settings["positions"]))
    if not sites:
        raise ValueError("nothing to clamp: give --clamp NAME_OR_LATENT=VALUE, for example --clamp afraid=+4")
    return {**settings, "prompts": prompts, "sites": sites, **({"chat": spec["chat"]} if "chat" in spec else {})}


def _read(path: str) -> dict[str, Any]:
    """The spec, the sites of its intervention as values."""
    spec = read_plain(path)
    clamps = spec.get("clamps") if isinstance(spec, dict) else None
    if isinstance(clamps, dict):  # a latent's number is read as a number
        spec = {**spec, "clamps": {str(name): value for name, value in clamps.items()}}
        clamps = spec["clamps"]
    one = {"type": "object", "properties": {name: {"type": "number"} for name in clamps or ()}}
    check(spec, {"type": "object", "properties": {**SPEC, "clamps": one, **SCHEMA["properties"]}}, path)
    if "sites" in spec:
        whole = {name: spec[name] for name in SCHEMA["properties"] if name in spec}
        spec = {**spec, "sites": intervention_from_data(whole, path).sites}
    return spec


def _opened_site(written: WrittenSite, arguments: argparse.Namespace) -> OpenedSite:
    """The dictionary, the site and the statistics that a part of the intervention is about."""
    from analysis.latent_units import statistics_at, statistics_of
    from analysis.opening import dictionary_of, reads_one_site, writes_elsewhere
    from saes.opening import known_site, open_dictionary
    from saes.site import Site

    folder, study = _opened(written.dictionary or arguments.where)
    if study:
        opened, site, about = dictionary_of(study), Site.parse(study.info.site), study.info.settings
        if written.hook_name not in (None, site.hook_name):
            raise ValueError(f"{folder} is about {site.hook_name}, not {written.hook_name}")
    else:
        place = written.hook_name or arguments.hook_name
        opened, site, about = open_dictionary(folder, model=arguments.model, hook_name=place)
        site = known_site(site, folder)
    dictionary, written_at = reads_one_site(opened), about.get("hook_name_out")
    if not writes_elsewhere(dictionary):
        written_at = None
    elif not written_at:
        raise ValueError("this transcoder does not say which place it writes (hook_name_out), so it cannot be clamped")
    names = getattr(dictionary, "names", ())
    statistics = statistics_of(study) if study else None
    if written.statistics:
        statistics = statistics_at(_place(written.statistics))
    elif names and not study:
        written = replace(written, edits=tuple(_by_direction(edit, names) for edit in written.edits))
        units = {name: LabelUnits((number,), (1.0,)) for number, name in enumerate(names)}
        statistics = LatentStatistics(str(folder), {}, units)
    return OpenedSite(written, dictionary, site, study, statistics, written_at)


def _by_direction(edit: WrittenEdit, names: Sequence[str]) -> WrittenEdit:
    """The same, with a named direction's value as the distance that it is."""
    if not edit.label:
        return edit
    if edit.label not in names:
        raise ValueError(f"there is no direction {edit.label!r}; there are: {', '.join(names)}")
    if edit.value is None or edit.value.unit != "dose":
        return edit
    return replace(edit, value=Amount(edit.value.number, "raw"))


def _hooks(intervention: Any, one: OpenedSite, device: Any) -> dict[str, Any]:
    """What carries it out, by hook name; a transcoder reads at one place and writes at another."""
    from analysis.opening import on_device
    from saes.intervention import hooks_across

    dictionary = on_device(one.dictionary, device)
    if one.written_at:
        return hooks_across(intervention, dictionary, one.site.hook_name, one.written_at)
    return {one.site.hook_name: intervention.hook(dictionary)}


def _said(one: OpenedSite, where: str) -> WrittenSite:
    """The same with nothing left to a default, so that the file says it all."""
    return replace(
        one.written,
        dictionary=one.written.dictionary or where,
        hook_name=one.site.hook_name,
        statistics=one.written.statistics or (str(one.study.folder) if one.study else None),
    )


def _check_fit(one: OpenedSite, model: Any) -> None:
    """ValueError for latents or a site that the dictionary or the model does not have."""
    known = one.dictionary.d_sae
    conditions = [one.written.only_where[0]] if one.written.only_where else []
    for latent in [*conditions, *(latent for clamp in one.clamps() for latent in clamp.latents)]:
        if not 0 <= latent < known:
            raise ValueError(f"there is no latent {latent}: this SAE has 0 to {known - 1}")
    found = model.width(one.site.hook_name)
    if found != one.dictionary.d_in:
        raise ValueError(
            f"expected d_in {one.dictionary.d_in}, got {found} at {one.site.hook_name} of {model.name}: another model's SAE"
        )


def _place(name: str) -> Path:
    """A file, or a folder as commands find it."""
    return Path(name) if Path(name).is_file() else find_folder(name)


def _opened(where: str) -> tuple[Path, Study | None]:
    """The folder that was given, and the study that names its SAE's latents."""
    folder = find_folder(where)
    if is_study(folder):
        study = Study.open(folder)
        return folder, study
    inside = folder / "study"
    return folder, Study.open(inside) if is_checkpoint(folder) and is_study(inside) else None
