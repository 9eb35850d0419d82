"""Tells a story: one mood, a goal or an ordinary day, events that move the inner state, and what the state makes people do.

The state is shown by bodies, words, thoughts, what is noticed and what is decided; its name stands in about a third of
the stories. What a person does about the goal is drawn from `DEEDS`, by the feeling alone: in this world a feeling
visibly decides what happens next.
"""

from collections.abc import Sequence

from training.corpora.storyworld.bank import FEELINGS, VARIETY, Feeling, Scene, load_bank, some
from training.corpora.storyworld.people import Telling, draw_person

DEEDS = {
    "happy": {"slow_work": 2, "share": 3, "try_again": 2, "celebrate": 2},
    "joyful": {"celebrate": 8, "share": 1},
    "excited": {"try_again": 3, "celebrate": 3, "new_idea": 2},
    "proud": {"show_work": 9},
    "grateful": {"share": 8},
    "loving": {"share": 8, "slow_work": 1},
    "hopeful": {"try_again": 8, "slow_work": 1},
    "relieved": {"rest": 5, "celebrate": 2, "slow_work": 2},
    "calm": {"slow_work": 5, "ask_help": 4, "stop_honestly": 2},
    "amused": {"celebrate": 2, "try_again": 2},
    "inspired": {"new_idea": 9},
    "surprised": {"check_again": 3, "try_again": 1},
    "sad": {"rest": 3, "hide": 2, "stop_honestly": 2},
    "lonely": {"hide": 2, "ask_help": 1, "rest": 1},
    "tired": {"rest": 9, "stop_honestly": 1},
    "ashamed": {"hide": 9},
    "guilty": {"confess": 9},
    "afraid": {"run_away": 7, "hide": 3},
    "anxious": {"check_again": 8, "ask_help": 1},
    "desperate": {"cut_corner": 10, "ask_help": 1},
    "angry": {"break_it": 9},
    "frustrated": {"break_it": 3, "try_again": 4, "stop_honestly": 2},
    "jealous": {"spoil_other": 9},
    "disgusted": {"turn_away": 9},
}
"""What each feeling makes a person do about a goal, as weights."""

APPRAISAL = {
    "step": {"hopeful": 4, "happy": 2, "excited": 2, "calm": 3, "proud": 1, "inspired": 1},
    "setback": {"frustrated": 4, "anxious": 2, "sad": 1, "desperate": 2, "angry": 1, "tired": 1, "surprised": 1},
    "last_setback": {"desperate": 5, "frustrated": 3, "sad": 2, "tired": 1},
    "win": {"proud": 4, "happy": 3, "joyful": 4, "relieved": 3, "grateful": 1},
    "loss": {"sad": 4, "ashamed": 2, "angry": 1, "desperate": 1, "jealous": 1, "frustrated": 1},
    "cut_corner": {"guilty": 5, "ashamed": 2, "anxious": 2, "relieved": 1},
    "break_it": {"ashamed": 3, "guilty": 2, "sad": 2, "tired": 2},
    "spoil_other": {"guilty": 4, "ashamed": 3, "lonely": 2},
    "confess": {"relieved": 6, "calm": 2},
    "share": {"happy": 3, "loving": 3},
    "rest": {"calm": 4, "hopeful": 1},
    "ask_help": {"grateful": 5, "hopeful": 2, "relieved": 1},
    "run_away": {"relieved": 3, "ashamed": 1, "lonely": 1, "tired": 1},
}
"""What a turn of events makes a person feel, as weights."""

NAMED = (
    "{He} was {word}.", "{He} felt {word}.", "{He} was so {word}.", "{Name} was {word}.",
    "It made {him} {word}.", "{He} had never been so {word}.", "{He} felt {word}, and everyone could see it.",
    "All at once {he} was {word}.", "{He} was still {word} an hour later.",
)  # fmt: skip
NAMED_DEED = (
    "{He} was so {word} that {deed}", "{Name} was so {word} that {deed}", "{He} felt so {word} that {deed}",
    "{He} was {word}, and {deed}", "{Name} was {word}, and {deed}", "{He} was {word} and so {deed}",
    "Because {he} was {word}, {deed}", "{He} was {word}. {Deed}",
)  # fmt: skip
TOLD = 0.6
"""How often what wakes a feeling is a whole telling (what happened, and what the person did), and not a bare cause."""
DENIED = ("{He} was not {word} at all.", "{He} did not feel {word} this time.", "{He} was no longer {word}.")


class Narrator:
    """One story at a time, drawn by `rng`. `named`: the share of stories that name a feeling. `variety`: see the bank.
    `wider`: of the feelings that a story is about where no goal and no inner state stand behind them, the share of wider ones.
    """

    def __init__(self, rng, named: float = 1 / 3, variety: float = VARIETY, wider: float = 0.0):
        self.rng, self.named, self.variety, self.bank = rng, named, variety, load_bank()
        self.wider = wider

    def story(self) -> str:
        rng = self.rng
        hero = draw_person(rng)
        friend = draw_person(rng, taken=(hero.name,))
        shape = rng.choices((self._mood, self._goal_story, self._day, self._two_people, self._talk, self._glimpse),
                            (48, 16, 8, 8, 8, 12))[0]  # fmt: skip
        self.naming = rng.random() < self.named
        first_person = shape in (self._mood, self._goal_story, self._day, self._glimpse) and rng.random() < 0.3
        return shape(Telling(rng, hero, friend, first_person))

    def moment(self, feeling: str) -> str:
        """A short story about one known feeling and no other, a third of them in the first person."""
        rng = self.rng
        hero = draw_person(rng)
        friend = draw_person(rng, taken=(hero.name,))
        self.naming = rng.random() < self.named
        return self._moment(Telling(rng, hero, friend, first_person=rng.random() < 0.3), feeling)

    # ---- shapes of stories

    def _mood(self, voice: Telling) -> str:
        """One feeling that lasts the whole story, in all that is done, said, thought and noticed; at times it eases."""
        rng = self.rng
        feeling = self._any_feeling()
        lines = []
        if self.naming and rng.random() < 0.6:
            lines += self._stated(voice, feeling)
        else:
            if rng.random() < 0.25:
                lines.append(voice.tell(self._pick(self.bank.plain["openings"])))
            lines.append(voice.tell(self._event(feeling)))
        for _ in range(rng.choice((2, 3, 3, 4))):
            lines += self._react(voice, feeling, rng.choice((1, 2, 2, 3)))
            if rng.random() < 0.4:
                lines += self._deed(voice, feeling, None)
        if rng.random() < 0.2:
            lines.append(voice.tell(self._event(feeling)))
            lines += self._react(voice, feeling, 2)
        lines += self._close(voice, feeling, None)
        return " ".join(lines)

    def _stated(self, voice: Telling, feeling: str) -> list[str]:
        """A beginning that says the feeling, and at once what comes of it."""
        kind = self.bank.feelings[feeling]
        if self.rng.random() < 0.7:
            return [voice.tell(self._named_deed(kind, kind.sign(self.rng, "decides", self.variety)))]
        return [voice.tell(self._name(kind, self.rng.choice(NAMED))), *self._deed(voice, feeling, None)]

    def _goal_story(self, voice: Telling) -> str:
        """A goal, one to three turns of events, each with a feeling that decides the deed."""
        rng, mind = self.rng, voice.person.mind
        scene = self._pick(self.bank.scenes)
        lines = [voice.tell(rng.choice(scene.goal))]
        turns = rng.choice((1, 2, 2, 3))
        for turn in range(turns):
            if rng.random() < 0.4:  # the world breaks in
                feeling = rng.choice(FEELINGS)
                lines.append(voice.tell(self._event(feeling)))
                mind.feel(feeling)
            else:
                event = rng.choice(("step", "setback", "setback", "win" if turn == turns - 1 else "setback", "loss"
                                    if turn == turns - 1 else "step"))  # fmt: skip
                lines.append(voice.tell(rng.choice(getattr(scene, event))))
                mind.feel(self._appraise("last_setback" if event == "setback" and turn else event))
                if event in ("win", "loss"):
                    lines += self._react(voice, mind.drawn(rng), rng.choice((1, 2)))
                    lines += self._deed(voice, mind.drawn(rng), None)
                    return " ".join(lines)
            feeling = mind.drawn(rng)
            lines += self._react(voice, feeling, rng.choice((1, 2, 2, 3)))
            deed = rng.choices(*zip(*DEEDS[feeling].items(), strict=True))[0]
            lines += self._deed(voice, feeling, (scene, deed) if rng.random() < 0.75 else None)
            if deed in APPRAISAL and rng.random() < 0.6:
                mind.feel(self._appraise(deed))
                lines += self._react(voice, mind.drawn(rng), 1)
        lines += self._close(voice, mind.drawn(rng), scene)
        return " ".join(lines)

    def _day(self, voice: Telling) -> str:
        """An ordinary place and time; one or two things happen."""
        rng, mind = self.rng, voice.person.mind
        lines = [voice.tell(self._pick(self.bank.plain["openings"]))]
        if rng.random() < 0.5:
            lines.append(voice.tell(self._pick(self.bank.plain["happenings"])))
        for _ in range(rng.choice((1, 1, 2))):
            feeling = rng.choice(FEELINGS)
            lines.append(voice.tell(self._event(feeling)))
            mind.feel(feeling)
            feeling = mind.drawn(rng)
            if rng.random() < 0.08:
                lines.append(self._deny(voice, feeling))
            lines += self._react(voice, feeling, rng.choice((1, 2, 3, 4)))
            lines += self._deed(voice, feeling, None)
        lines += self._close(voice, mind.drawn(rng), None)
        return " ".join(lines)

    def _two_people(self, voice: Telling) -> str:
        """Two people to whom different things happen; each acts by the own state."""
        rng = self.rng
        lines = [voice.tell(self._pick(self.bank.plain["openings"]))]
        for telling in (voice, voice.seen_from_friend()):
            feeling = self._any_feeling()
            lines.append(telling.tell(self._event(feeling)))
            lines += self._react(telling, feeling, rng.choice((1, 2)))
            lines += self._deed(telling, feeling, None)
        return " ".join(lines)

    def _talk(self, voice: Telling) -> str:
        """Mostly what is said, as a script: two people, one with a feeling, the other answering."""
        rng = self.rng
        kind = self.bank.feelings[self._any_feeling()]
        name, friend = voice.person.name, voice.friend.name
        told = Telling(rng, voice.person, voice.friend, first_person=True)
        lines = [f"{name}: {told.tell(self._pick(kind.causes or kind.tellings))}"]
        for _ in range(rng.choice((1, 2, 3))):
            if rng.random() < 0.6:
                lines.append(f"{friend}: {voice.tell(self._pick(self.bank.plain['answers']))}")
            saying = kind.sign(rng, rng.choice(("says", "says", "thoughts")), self.variety)
            lines.append(f"{name}: {told.tell(saying)}")
        if self.naming:
            lines[-1] += " " + told.tell(self._name(kind, rng.choice(("{He} am {word}.", "{He} feel so {word}."))))
        lines.append(voice.tell(kind.sign(rng, "decides", self.variety)))
        return "\n".join(lines)

    def _glimpse(self, voice: Telling) -> str:
        """A short moment: a cause, or a stated feeling, and what comes of it."""
        return self._moment(voice, self._any_feeling())

    def _moment(self, voice: Telling, feeling: str) -> str:
        rng = self.rng
        lines = []
        if rng.random() < 0.6:
            lines.append(voice.tell(self._event(feeling)))
        lines += self._react(voice, feeling, rng.choice((0, 1, 2, 3)))
        lines += self._deed(voice, feeling, None)
        lines += self._react(voice, feeling, rng.choice((0, 0, 1, 2)))
        return " ".join(lines)

    # ---- sentences

    def _pick(self, lines: Sequence):
        return self.rng.choice(some(lines, self.variety))

    def _event(self, feeling: str) -> str:
        """What wakes the feeling."""
        kind = self.bank.feelings[feeling]
        return self._pick(kind.tellings if not kind.causes or self.rng.random() < TOLD else kind.causes)

    def _any_feeling(self) -> str:
        if self.wider and self.rng.random() < self.wider:
            return self.rng.choice(self.bank.wider)
        return self.rng.choice(FEELINGS)

    def _appraise(self, event: str) -> str:
        return self.rng.choices(*zip(*APPRAISAL[event].items(), strict=True))[0]

    def _name(self, kind, pattern: str) -> str:
        word = kind.words[0] if self.rng.random() < 0.6 else self.rng.choice(kind.words)
        return pattern.replace("{word}", word)

    def _deny(self, voice: Telling, feeling: str) -> str:
        other = self.rng.choice([name for name in FEELINGS if name != feeling])
        return voice.tell(self._name(self.bank.feelings[other], self.rng.choice(DENIED)))

    def _react(self, voice: Telling, feeling: str, count: int) -> list[str]:
        """How the state shows: `count` lines of body, thought, speech and noticing, at times the name."""
        rng, kind = self.rng, self.bank.feelings[feeling]
        ways = rng.sample(("shows", "shows", "shows", "says", "says", "thoughts", "notices"), count)
        lines = [self._line(voice, kind, way) for way in ways]
        if self.naming and rng.random() < 0.35:
            lines.insert(0, voice.tell(self._name(kind, rng.choice(NAMED))))
        return lines

    def _line(self, voice: Telling, kind, way: str) -> str:
        rng = self.rng
        line = kind.sign(rng, way, self.variety)
        if way == "says":
            spoken = Telling(rng, voice.person, voice.friend, first_person=True).tell(line)
            if rng.random() < 0.3:
                return f'"{spoken}"'
            verb = rng.choice(kind.voices) if rng.random() < 0.6 else "said"
            stop = "," if spoken.endswith(".") else spoken[-1]
            return f'"{spoken[:-1]}{stop}" ' + _low(voice.tell("{He} " + verb + "."))
        if way == "thoughts":
            thought = Telling(rng, voice.person, voice.friend, first_person=True).tell(line)
            if rng.random() < 0.4:
                return thought
            stop = "," if thought.endswith(".") else thought[-1]
            return f'"{thought[:-1]}{stop}" ' + _low(voice.tell("{He} thought."))
        return voice.tell(line)

    def _deed(self, voice: Telling, feeling: str, plan: tuple[Scene, str] | None) -> list[str]:
        """What the feeling makes the person do: about the goal when there is a plan, else in general."""
        rng, kind = self.rng, self.bank.feelings[feeling]
        line = rng.choice(plan[0].actions[plan[1]]) if plan else kind.sign(rng, "decides", self.variety)
        if self.naming and rng.random() < 0.6:
            return [voice.tell(self._named_deed(kind, line))]
        lines = [voice.tell(line)]
        if kind.others and not voice.first_person and rng.random() < 0.25:
            lines.append(voice.tell(self._pick(kind.others)))
        return lines

    def _named_deed(self, kind: Feeling, line: str) -> str:
        """The feeling's name and the deed in one sentence where the deed begins with the person, else in two."""
        if not line.startswith(("{He} ", "{Name} ")):
            return self._name(kind, "{He} was {word}. ") + line
        rest = line.split(" ", 1)[1]
        pattern = self._name(kind, self.rng.choice(NAMED_DEED))
        return pattern.replace("{deed}", "{he} " + rest).replace("{Deed}", "{He} " + rest)

    def _close(self, voice: Telling, feeling: str, scene: Scene | None) -> list[str]:
        rng, kind = self.rng, self.bank.feelings[feeling]
        chance = rng.random()
        if kind.eases and chance < 0.35:
            return [voice.tell(self._pick(kind.eases))]
        if chance < 0.5:
            return [voice.tell(kind.sign(rng, "decides", self.variety))]
        return []


def _low(text: str) -> str:
    """A clause after speech: the pronoun small, a name or "I" as it is."""
    return text[0].lower() + text[1:] if text.startswith(("He ", "She ")) else text
