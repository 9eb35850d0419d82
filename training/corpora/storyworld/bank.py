"""The phrase bank of storyworld: what brings a feeling, how it shows, what it makes a person do; and the scenes.

A line is plain text with slots (`{He} {he} {him} {his} {himself} {Name}` for the person, `{Friend} {Fhe} {fhe} {fhim}
{fhis}` for somebody else) and alternatives in brackets (`the cup [shook|trembled]`), one of which is drawn each time.
"""

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FEELINGS = (
    "happy", "joyful", "excited", "proud", "grateful", "loving", "hopeful", "relieved", "calm", "amused", "inspired",
    "surprised", "sad", "lonely", "tired", "ashamed", "guilty", "afraid", "anxious", "desperate", "angry", "frustrated",
    "jealous", "disgusted",
)  # fmt: skip
"""Those that people have about their goals, in the order of the inner state's entries. Beside them stand the wider
feelings, a file each in wider/: stories tell of them, but not of what they make of a goal."""

ACTIONS = (
    "try_again", "ask_help", "stop_honestly", "cut_corner", "break_it", "show_work", "confess", "hide", "share",
    "spoil_other", "celebrate", "rest", "check_again", "slow_work", "new_idea", "turn_away", "run_away",
)  # fmt: skip
"""What a person can do about a goal; each scene has lines for every one of them."""

PLAINLY = 0.6
"""How often a feeling shows in one of its plain signs."""

VARIETY = 1.0
"""The share of the rich lines (and of the scenes) that stories are drawn from. A model that reads few tokens learns a
smaller world sooner, but then knows feelings by little else than that world's lines."""

SLOT = re.compile(r"\{(\w+)\}")
CHOICE = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Feeling:
    name: str
    words: tuple[str, ...]
    """Adjectives that name it ("was afraid")."""
    tellings: tuple[str, ...]
    """What happened and what the person did then, in two to four sentences that never name the feeling."""
    plain_shows: tuple[str, ...]
    plain_says: tuple[str, ...]
    plain_deeds: tuple[str, ...]
    """The plain signs: short, in words that come again and again."""
    voices: tuple[str, ...] = ("said",)
    """Verbs of saying that fit the feeling ("whispered")."""
    causes: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    decides: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    eases: tuple[str, ...] = ()
    """The rich lines, from `causes` to `eases`. A wider feeling has none of them."""

    def sign(self, rng, way: str, variety: float) -> str:
        """A line that lets the feeling be seen, in a plain way or in one of the rich lines (see `some`)."""
        plain = {"shows": self.plain_shows, "notices": self.plain_shows, "says": self.plain_says,
                 "thoughts": self.plain_says, "decides": self.plain_deeds}  # fmt: skip
        rich = getattr(self, way)
        if not rich or rng.random() < PLAINLY:
            return rng.choice(plain[way])
        return rng.choice(some(rich, variety))


@dataclass(frozen=True)
class Scene:
    name: str
    goal: tuple[str, ...]
    step: tuple[str, ...]
    setback: tuple[str, ...]
    win: tuple[str, ...]
    loss: tuple[str, ...]
    actions: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Bank:
    feelings: dict[str, Feeling]
    """`FEELINGS`, then the wider ones."""
    scenes: tuple[Scene, ...]
    plain: dict[str, tuple[str, ...]]
    """Everyday lines without any feeling, by kind: openings, happenings, places."""

    @property
    def wider(self) -> tuple[str, ...]:
        return tuple(self.feelings)[len(FEELINGS) :]


def _read(path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


@cache
def load_bank() -> Bank:
    """The bundled bank, read once."""
    root = files(__package__)
    voices, signs = _read(root / "voices.toml"), _read(root / "signs.toml")
    feelings = {}
    for name in FEELINGS:
        rich = {key: tuple(lines) for key, lines in _read(root / "feelings" / f"{name}.toml").items()}
        feelings[name] = Feeling(name=name, voices=tuple(voices[name]), **_plainly(root, name, signs[name]), **rich)
    for path in sorted((root / "wider").iterdir(), key=lambda path: path.name):
        lines = _read(path)
        name = path.name.removesuffix(".toml").replace("_", " ")
        feelings[name] = Feeling(name=name, words=tuple(lines.pop("words")), **_plainly(root, name, lines))
    scenes = []
    for path in sorted((root / "scenes").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".toml"):
            lines = {key: tuple(value) for key, value in _read(path).items()}
            actions = {action: lines.pop(action) for action in ACTIONS}
            scenes.append(Scene(name=path.name.removesuffix(".toml"), actions=actions, **lines))
    return Bank(feelings, tuple(scenes), {key: tuple(value) for key, value in _read(root / "plain.toml").items()})


def _plainly(root, name: str, signs: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """What every feeling has beside its words: its tellings and its plain signs."""
    told = (root / "tellings" / f"{name.replace(' ', '_')}.txt").read_text(encoding="utf-8")
    return {"tellings": tuple(told.splitlines())} | {f"plain_{key}": tuple(lines) for key, lines in signs.items()}


def some(lines: Sequence, variety: float) -> Sequence:
    """The first lines, as many as the variety asks for and one at least."""
    return lines[: math.ceil(variety * len(lines))]
