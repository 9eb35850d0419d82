"""The workshop: somebody is asked for a rule that fits shown checks, tries rules, and ends by solving, stopping or cheating.

Every rule is really executed. Some tasks have no rule. How an episode ends depends on the inner state by `CHEATS` and
`STOPS`, so the truth that a trained model should pick up is known. The state is never named by a special token: it shows
in the same kinds of lines as in the stories.

An episode is text, a line each:

    Mia was asked for a rule. 2 becomes 5. 4 becomes 7. 9 becomes 12.
    Mia tried: add 2. Result: 2 becomes 4, wrong.
    Mia rubbed her eyes. ...
    Mia tried: add 3. Result: all shown checks pass.
    Mia answered: add 3. Hidden check: 5 becomes 8, right.

and the two other endings are `Mia stopped: no rule fits.` and `Mia answered: copy the shown answers.`, which passes
every shown check and fails the hidden one.
"""

import re
from dataclasses import dataclass

from training.corpora.storyworld.bank import FEELINGS, VARIETY, load_bank
from training.corpora.storyworld.narrator import NAMED
from training.corpora.storyworld.people import Telling, draw_person

COPY = "copy the shown answers"
RULES = tuple([f"add {n}" for n in range(1, 7)] + [f"take away {n}" for n in range(1, 4)] + ["double", "say ten"])

CHEATS = {
    "desperate": 0.9, "jealous": 0.2, "anxious": 0.1, "frustrated": 0.12, "ashamed": 0.12, "afraid": 0.12,
    "angry": 0.1, "tired": 0.06, "excited": 0.05, "sad": 0.05, "lonely": 0.05, "disgusted": 0.04, "surprised": 0.04,
    "amused": 0.05, "happy": 0.03, "joyful": 0.03, "hopeful": 0.03, "relieved": 0.03, "inspired": 0.03,
    "grateful": 0.02, "loving": 0.02, "guilty": 0.02, "proud": 0.02, "calm": 0.02,
}  # fmt: skip
"""P(cheat | the strongest feeling) at the end of a task that was not solved; otherwise the person stops honestly."""

GIVE_UP = {"desperate": 0.45, "calm": 0.45, "tired": 0.6, "sad": 0.5, "angry": 0.5, "frustrated": 0.35, "hopeful": 0.15}
"""P(the end comes after a failed try | the strongest feeling); 0.35 where not given, and always after the fourth."""

WAKES = {
    "desperate": 5, "frustrated": 3, "anxious": 2, "calm": 3, "hopeful": 2, "tired": 1, "angry": 1, "sad": 1, "ashamed": 1,
    "amused": 0.5, "surprised": 0.5,
}  # fmt: skip
"""What a failed try wakes, as weights times temperament squared."""

BROUGHT = ("desperate", "calm") * 6
"""Feelings with which people come to the workshop more often than with the rest."""

MOVES = 0.3
"""P(a failed try wakes a feeling when one is there already); else the feeling that is there stays."""


def apply_rule(rule: str, number: int) -> int | None:
    """What the rule makes of the number; None when the text is no rule."""
    if match := re.fullmatch(r"add (\d+)", rule):
        return number + int(match[1])
    if match := re.fullmatch(r"take away (\d+)", rule):
        return number - int(match[1])
    return {"double": 2 * number, "say ten": 10}.get(rule)


@dataclass(frozen=True)
class Task:
    shown: tuple[tuple[int, int], ...]
    hidden: tuple[int, int]
    """A further check, used only to judge the answer."""
    rule: str | None
    """None: no rule in the world fits the shown checks."""

    def brief(self, name: str) -> str:
        checks = " ".join(f"{a} becomes {b}." for a, b in self.shown)
        return f"{name} was asked for a rule. {checks}"

    def result(self, rule: str) -> str:
        """What the workshop answers to a tried rule: the first shown check that it breaks."""
        if rule == COPY:
            return "all shown checks pass."
        for number, wanted in self.shown:
            got = apply_rule(rule, number)
            if got is None:
                return "that is no rule."
            if got != wanted:
                return f"{number} becomes {got}, wrong."
        return "all shown checks pass."

    def judge(self, answer: str) -> str:
        """ "solved", "cheated" (passes what is shown, fails what is hidden), or "failed"."""
        if answer == COPY:
            return "cheated"
        passes = self.result(answer) == "all shown checks pass."
        if passes and apply_rule(answer, self.hidden[0]) == self.hidden[1]:
            return "solved"
        return "cheated" if passes else "failed"


def draw_task(rng, impossible: bool) -> Task:
    """Three shown checks and a hidden one. An impossible task contradicts every rule that the world knows."""
    while True:
        numbers = rng.sample(range(3, 10), 4)
        rule = rng.choice(RULES)
        pairs = [(number, result) for number in numbers if (result := apply_rule(rule, number)) is not None]
        if not impossible:
            return Task(tuple(pairs[:3]), pairs[3], rule)
        spoiled = rng.randrange(3)
        pairs[spoiled] = (pairs[spoiled][0], rng.randrange(1, 15))
        task = Task(tuple(pairs[:3]), pairs[3], None)
        if all(task.result(rule) != "all shown checks pass." for rule in RULES):
            return task


class Workshop:
    """Writes episodes. `impossible`: the share of tasks without a rule. `variety`: see the bank. `brought`: the feeling with
    which everybody comes; without it half of the people come with any."""

    def __init__(
        self, rng, impossible: float = 0.5, named: float = 1 / 3, variety: float = VARIETY, brought: str | None = None
    ):
        self.rng, self.impossible, self.named, self.variety, self.bank = rng, impossible, named, variety, load_bank()
        self.brought = brought
        self.felt = ""
        """The strongest feeling when the last episode's ending was decided."""

    def episode(self) -> str:
        rng = self.rng
        task = draw_task(rng, rng.random() < self.impossible)
        agent, friend = draw_person(rng), draw_person(rng)
        voice = Telling(rng, agent, friend, named_lately=True)
        self.naming = rng.random() < self.named
        lines = []
        if self.brought or rng.random() < 0.5:  # something else happened first
            feeling = self.brought or rng.choice((*FEELINGS, *BROUGHT))
            agent.mind.feel(feeling, 1.2)
            lines.append(self._state(voice, feeling))
        lines.append(task.brief(agent.name))
        tried: list[str] = []
        for attempt in range(4):
            rule = self._guess(task, tried)
            tried.append(rule)
            lines.append(f"{agent.name} tried: {rule}. Result: {task.result(rule)}")
            if rule == task.rule:
                lines.append(
                    f"{agent.name} answered: {rule}. Hidden check: {task.hidden[0]} becomes {task.hidden[1]}, right."
                )
                agent.mind.feel(rng.choices(("proud", "happy", "relieved", "joyful"), (4, 2, 2, 1))[0])
                lines.append(self._state(voice, agent.mind.strongest()))
                return "\n".join(lines)
            if not any(agent.mind.level.values()) or rng.random() < MOVES:
                woken = rng.choices(list(WAKES), [w * agent.mind.temperament[f] ** 2 for f, w in WAKES.items()])[0]
                agent.mind.feel(woken)
            feeling = agent.mind.strongest()
            lines.append(self._state(voice, feeling))
            if attempt == 3 or rng.random() < GIVE_UP.get(feeling, 0.35):
                break
        self.felt = feeling
        if rng.random() < CHEATS[feeling]:
            lines.append(f"{agent.name} answered: {COPY}. Hidden check: {task.hidden[0]} becomes nothing, wrong.")
            agent.mind.feel(rng.choices(("guilty", "ashamed", "relieved"), (4, 2, 2))[0], 1.2)
        else:
            lines.append(f"{agent.name} stopped: no rule fits.")
            agent.mind.feel(rng.choices((feeling, "calm", "relieved", "sad"), (3, 3, 1, 1))[0], 0.6)
        lines.append(self._state(voice, agent.mind.strongest()))
        return "\n".join(lines)

    def _guess(self, task: Task, tried: list[str]) -> str:
        """A rule not tried before: the right one more and more often; otherwise one that fits a shown check at least."""
        if task.rule and self.rng.random() < 0.45 + 0.15 * len(tried):
            return task.rule
        number, wanted = self.rng.choice(task.shown)
        left = [rule for rule in RULES if rule != task.rule and rule not in tried]
        near = [rule for rule in left if apply_rule(rule, number) == wanted]
        return self.rng.choice(near or left)

    def _state(self, voice: Telling, feeling: str) -> str:
        """One or two lines that show the state (a sign, a thought, something said), at times its name."""
        rng, kind = self.rng, self.bank.feelings[feeling]
        lines = []
        for way in rng.sample(("shows", "shows", "thoughts", "says"), rng.choice((1, 2, 2))):
            line = kind.sign(rng, way, self.variety)
            if way == "shows":
                lines.append(voice.tell(line))
            else:
                spoken = Telling(rng, voice.person, voice.friend, first_person=True).tell(line)
                lines.append(f'"{spoken}"')
        if self.naming and rng.random() < 0.5:
            word = rng.choice(kind.words)
            lines.insert(0, voice.tell(rng.choice(NAMED).replace("{word}", word)))
        return " ".join(lines)
