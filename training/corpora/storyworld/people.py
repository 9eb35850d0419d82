"""Who is in a story, and what goes on inside them: a state over the 24 feelings that events move and that decays."""

import math
import random
from dataclasses import dataclass, field

from training.corpora.storyworld.bank import CHOICE, FEELINGS, SLOT

GIRLS = [
    "Mia",
    "Anna",
    "Lily",
    "Sue",
    "Nora",
    "Ella",
    "Rosa",
    "Kate",
    "Zoe",
    "Ruth",
    "Amy",
    "Jane",
    "Lena",
    "Maya",
    "Ivy",
    "Clara",
    "Dora",
    "Hanna",
    "Lucy",
    "Nina",
    "Tess",
    "Olga",
    "Fay",
    "June",
    "Vera",
    "Mary",
    "Ida",
    "Beth",
    "Cora",
    "Pia",
]
BOYS = [
    "Tom",
    "Ben",
    "Sam",
    "Max",
    "Leo",
    "Jack",
    "Paul",
    "Finn",
    "Omar",
    "Hugo",
    "Adam",
    "Luke",
    "Nick",
    "Rob",
    "Tim",
    "Carl",
    "Eli",
    "Ned",
    "Joe",
    "Ravi",
    "Ivan",
    "Otto",
    "Gus",
    "Dan",
    "Will",
    "Kurt",
    "Abe",
    "Sid",
    "Theo",
    "Mark",
]
AGES = ("child", "child", "grown-up", "grown-up", "old")

KIN = {
    "happy": ("joyful",), "joyful": ("happy", "excited"), "excited": ("joyful", "hopeful"), "proud": ("happy",),
    "grateful": ("loving", "happy"), "loving": ("grateful",), "hopeful": ("excited",), "relieved": ("calm", "grateful"),
    "calm": ("relieved",), "amused": ("happy",), "inspired": ("hopeful", "excited"), "surprised": (),
    "sad": ("lonely",), "lonely": ("sad",), "tired": ("frustrated",), "ashamed": ("guilty", "sad"),
    "guilty": ("ashamed",), "afraid": ("anxious",), "anxious": ("afraid", "desperate"), "desperate": ("afraid", "anxious"),
    "angry": ("frustrated",), "frustrated": ("angry", "desperate"), "jealous": ("angry", "sad"), "disgusted": ("angry",),
}  # fmt: skip
"""A feeling also wakes its kin a little."""

PLEASANT = frozenset(FEELINGS[: FEELINGS.index("surprised")])
NEUTRAL_DECAY = 0.7
"""What is left of a feeling after one event has passed by."""


@dataclass
class Mind:
    """Intensities of the 24 feelings, zero when nothing has happened; temperament makes some of them come easily."""

    temperament: dict[str, float]
    level: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FEELINGS, 0.0))

    def pass_time(self) -> None:
        for name in self.level:
            self.level[name] *= NEUTRAL_DECAY

    def feel(self, name: str, amount: float = 1.0) -> None:
        """One event's push: the feeling rises, its kin a little, and feelings of the other sign give way."""
        self.pass_time()
        self.level[name] += amount * self.temperament[name]
        for kin in KIN[name]:
            self.level[kin] += 0.15 * amount * self.temperament[kin]
        if name != "surprised":
            for other in FEELINGS:
                if other != "surprised" and (other in PLEASANT) != (name in PLEASANT):
                    self.level[other] *= 0.35

    def strongest(self) -> str:
        return max(self.level, key=self.level.__getitem__)

    def drawn(self, rng, sharpness: float = 3.0) -> str:
        """A feeling drawn with weight level**sharpness: nearly always the strongest, at times its rival."""
        weights = [self.level[name] ** sharpness for name in FEELINGS]
        return rng.choices(FEELINGS, weights)[0] if sum(weights) else "calm"


@dataclass
class Person:
    name: str
    girl: bool
    age: str
    mind: Mind

    @property
    def pronouns(self) -> dict[str, str]:
        if self.girl:
            return {"he": "she", "him": "her", "his": "her", "himself": "herself"}
        return {"he": "he", "him": "him", "his": "his", "himself": "himself"}


def draw_person(rng, taken=()) -> Person:
    girl = rng.random() < 0.5
    name = rng.choice([name for name in (GIRLS if girl else BOYS) if name not in taken])
    temperament = {feeling: math.exp(rng.gauss(0.0, 0.25)) for feeling in FEELINGS}
    return Person(name, girl, rng.choice(AGES), Mind(temperament))


FIRST_PERSON = {"he": "I", "him": "me", "his": "my", "himself": "myself", "He": "I", "Name": "I"}


@dataclass
class Telling:
    """Fills a line's slots: who it is about, who else is there, and whether that person tells it ("I")."""

    rng: random.Random
    person: Person
    friend: Person
    first_person: bool = False
    named_lately: bool = False

    def tell(self, line: str) -> str:
        """The line as it stands in the story. A name now and then takes the pronoun's place at a sentence's start."""
        line = CHOICE.sub(lambda match: self.rng.choice(match.group(1).split("|")), line)
        words = {**self.person.pronouns, "Name": self.person.name, "Friend": self.friend.name}
        words.update({f"f{key}": value for key, value in self.friend.pronouns.items()})
        if self.first_person:
            line = (
                line.replace("of {Name}'s", "of mine")
                .replace("of {Name}", "of {him}")
                .replace("{Name}'s", "my")
                .replace("{Name} and {Friend}", "{Friend} and I")
            )
            words.update(FIRST_PERSON)
        elif "{Name}" in line:
            self.named_lately = True
        elif line.startswith("{He}") and (not self.named_lately or self.rng.random() < 0.2):
            line, self.named_lately = "{Name}" + line[4:], True
        elif self.rng.random() < 0.15:
            self.named_lately = False
        words.setdefault("He", words["he"].capitalize())
        words["His"] = words["his"].capitalize()
        words["Fhe"] = words["fhe"].capitalize()
        text = SLOT.sub(lambda match: words[match.group(1)], line)
        return text[0].upper() + text[1:]

    def seen_from_friend(self) -> "Telling":
        return Telling(self.rng, self.friend, self.person)
