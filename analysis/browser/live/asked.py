"""What a person asks of the clamp bench, as a value: checked, in an address, as a line for the terminal, as Python.

A clamp is written NAME[:MODE]=VALUE[UNIT]: `afraid=+4`, `307:add=2dose`, `calm:scale=0.5`, `307:ablate`. As on the command
line a label's value is in dose units and a latent's by number in activation units, unless the unit says otherwise.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml

from analysis.clamping.safe_dose import Clamp, clamp_of, refuse_unsafe
from analysis.monitoring.transcript import ROLES
from saes.latent_statistics import LatentStatistics
from saes.written_intervention import MODES, NAMED_POSITIONS, VERSION, Amount, WrittenEdit, WrittenSite

CLAMP = re.compile(
    r"^\s*(?P<name>[^=:]+?)\s*(:\s*(?P<mode>[a-z]+))?\s*(=\s*(?P<value>[-+0-9.eE]+)\s*(?P<unit>dose|raw)?)?\s*$"
)
LONGEST = 300
"""Letters of a clamp."""
LIFT = "“beyond the safe range”"


@dataclass(frozen=True)
class Limits:
    """What one request may take, so that nobody keeps the model from the others."""

    queue: int = 16
    """Requests that may wait."""
    letters: int = 20_000
    """Of a prompt."""
    prompt_tokens: int = 2048
    new_tokens: int = 512
    clamps: int = 16
    read_letters: int = 200_000
    """Of a monitored text."""
    read_tokens: int = 8_000
    rules: int = 16


@dataclass(frozen=True)
class Asked:
    """A prompt or a chat, what is clamped how, and how the text is drawn."""

    prompt: str = ""
    turn: list[str] = field(default_factory=list)
    """A chat in place of a prompt: "user: Hello", "assistant: Hi", ..., the last by whom the model answers."""
    clamp: list[str] = field(default_factory=list)
    """NAME[:MODE]=VALUE[UNIT]; see above."""
    positions: str = "all"
    """all, prompt, generated or (in a chat) assistant."""
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0
    tokens: int = 60
    beyond: bool = False
    """Whether doses may lie beyond the range in which the text was measured to stay fluent."""

    def checked(self, limits: Limits) -> "Asked":
        """The same; ValueError, in one sentence, for what cannot be done."""
        if not self.prompt.strip() and not self.turn:
            raise ValueError("there is nothing to write on from: give a prompt, or the turns of a chat")
        if self.prompt.strip() and self.turn:
            raise ValueError("a prompt and a chat cannot both be written on from: give one of them")
        letters = len(self.prompt) + sum(map(len, self.turn))
        if letters > limits.letters:
            raise ValueError(f"the prompt has {letters} letters: {limits.letters} at most can be written on from here")
        if not 1 <= self.tokens <= limits.new_tokens:
            raise ValueError(f"1 to {limits.new_tokens} new tokens can be written here, not {self.tokens}")
        if not 0 <= self.temperature <= 10:  # false for NaN, too
            raise ValueError(f"the temperature lies from 0 to 10, got {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top-p lies above 0 and up to 1, got {self.top_p:g}")
        if self.positions not in NAMED_POSITIONS:
            raise ValueError(f"positions are one of {', '.join(NAMED_POSITIONS)}, got {self.positions!r}")
        if abs(self.seed) >= 2**63:
            raise ValueError("the seed is too large")
        if len(self.clamp) > limits.clamps:
            raise ValueError(f"{limits.clamps} clamps at a time at most, got {len(self.clamp)}")
        whole_letters(self.prompt, *self.turn, *self.clamp)
        self.messages()
        self.edits()
        return self

    def messages(self) -> list[dict[str, str]]:
        """The chat as messages."""
        found = []
        for text in self.turn:
            role, _, said = text.partition(":")
            if role not in ROLES or not said.strip():
                raise ValueError(f"{text[:60]!r} is no turn: a role ({', '.join(ROLES)}), a colon and what is said")
            found.append({"role": role, "content": said.strip()})
        return found

    def edits(self) -> tuple[WrittenEdit, ...]:
        return tuple(parse_clamp(text) for text in self.clamp)

    def site(self) -> WrittenSite | None:
        """What is clamped; None where nothing is."""
        return WrittenSite(self.edits(), self.positions) if self.clamp else None

    def latents(self) -> list[int]:
        """Those that are named by their number."""
        return [latent for edit in self.edits() for latent in edit.latents]

    def clamps(self, statistics: LatentStatistics, safe: Mapping[str, tuple[float, float]]) -> list[Clamp]:
        """What each edit comes to; ValueError for an unknown label and, unless ``beyond``, for a dose that is not safe."""
        found = [clamp_of(edit, None, statistics) for edit in self.edits()]
        if not self.beyond:
            refuse_unsafe(found, safe, LIFT)
        return found

    def query(self) -> dict[str, Any]:
        """Whatever is not the default, as a page's address holds it."""
        default = Asked()
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: int(value) if isinstance(value, bool) else value
            for name, value in values.items()
            if value != getattr(default, name)
        }

    def command_line(self, study: str, model: str | None = None) -> str:
        """`saes clamp …`, which writes the same two texts."""
        words = ["saes", "clamp", study, *(["--model", model] if model else [])]
        plain = all(
            edit.mode == "set" and edit.value is not None and edit.value.unit == ("dose" if edit.label else "raw")
            for edit in self.edits()
        )
        document: dict[str, Any] = {}
        if self.turn:
            document["chat"] = self.messages()
        else:
            words.append(f"--prompt={self.prompt}" if self.prompt.startswith("-") else "--prompt")
            words += [] if self.prompt.startswith("-") else [self.prompt]
        if plain:
            for edit in self.edits():
                assert edit.value is not None
                name = edit.label or str(edit.latents[0])
                words += ["--clamp", f"{name}={edit.value.number:+.12g}"]
            words += ["--positions", self.positions]
        elif (site := self.site()) is not None:
            document |= {"version": VERSION, "sites": [site.as_data()]}
        words += ["--tokens", str(self.tokens), "--temperature", f"{self.temperature:g}", "--top-p", f"{self.top_p:g}"]
        words += ["--seed", str(self.seed), *(["--beyond-safe"] if self.beyond else [])]
        if not document:
            return shlex.join(words)
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
        end = "END"
        while end in text.splitlines():
            end += "_"
        return f"{shlex.join(words)} --spec - <<'{end}'\n{text}{end}"

    def python(self, study: str, clamps: Sequence[Clamp], model: str | None = None) -> str:
        """A program that writes the same two texts."""
        edits = [
            f"    Edit({tuple(one.latents)!r}, mode={one.mode!r}, value={_value(one)}),"
            if len(one.latents) == 1 or one.mode in ("scale", "ablate")
            else f"    Edit({tuple(one.latents)!r}, mode={one.mode!r}, value=1.0, weights={tuple(one.values)!r}),"
            for one in clamps
        ]
        begun = "invited(model.tokenizer, messages)" if self.turn else "[prompt]"
        positions = "assistant_turns(model.tokenizer)" if self.positions == "assistant" else repr(self.positions)
        options = f"temperature={self.temperature!r}, top_p={self.top_p!r}, seed={self.seed!r}"
        lines = [
            "from analysis.opening import open_subject",
            "from analysis.study import Study",
            "from saes.intervention import Edit, Intervention",
            *(["from training.language_models.chat import invited"] if self.turn else []),
            *(["from training.language_models.turns import assistant_turns"] if self.positions == "assistant" else []),
            "",
            f"study = Study.open({study!r})",
            f'model, sae, hook_name = open_subject(study, {model!r}, None, "auto")',
            f"messages = {self.messages()!r}" if self.turn else f"prompt = {self.prompt!r}",
            "edits = (",
            *edits,
            ")",
            f"clamp = Intervention(edits, positions={positions})",
            f"options = dict({options})",
            f"print(model.generate({begun}, {self.tokens}, **options)[0])",
            f"print(model.generate({begun}, {self.tokens}, hooks={{hook_name: clamp.hook(sae)}}, **options)[0])",
        ]
        return "\n".join(lines) + "\n"


def parse_clamp(text: str) -> WrittenEdit:
    """`afraid:add=+2` as an edit. ValueError, in one sentence, where it is none."""
    found = CLAMP.match(text) if len(text) <= LONGEST else None
    mode = (found["mode"] or "set") if found else ""
    if found is None or mode not in MODES:
        raise ValueError(
            f"{text[:60]!r} is no clamp: NAME[:MODE]=VALUE[UNIT], such as afraid=+4 or 307:add=2dose; modes are {', '.join(MODES)}"
        )
    name, said, unit = found["name"], found["value"], found["unit"]
    by_number = name.isascii() and name.isdecimal()
    if by_number and int(name) >= 2**31:
        raise ValueError(f"there is no latent {name[:20]}")
    what: dict[str, Any] = {"latents": (int(name),)} if by_number else {"label": name}
    if mode == "ablate":
        return WrittenEdit(mode, **what)
    try:
        value = float(said)
    except (TypeError, ValueError):
        value = float("nan")
    if not isfinite(value):
        raise ValueError(f"{text[:60]!r} lacks a value: for example {name}=+4")
    if mode == "scale":
        return WrittenEdit(mode, value=Amount(value, "factor"), **what)
    return WrittenEdit(mode, value=Amount(value, unit or ("raw" if by_number else "dose")), **what)


def whole_letters(*texts: str) -> None:
    """ValueError for half a surrogate pair, which JSON can hold and no text can."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text holds half of a letter (a lone surrogate): it is no text") from None


def _value(clamp: Clamp) -> str:
    return repr(clamp.asked if clamp.mode == "scale" else 0.0 if clamp.mode == "ablate" else clamp.values[0])
