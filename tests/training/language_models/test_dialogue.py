"""Texts written in turns are those that `generate` would write turn by turn, and each token is read once."""

from dataclasses import dataclass

import pytest
import torch

from saes.intervention import DirectionPush
from training.language_models.dialogue import fits, write_in_turns

HOOK_NAME = "blocks.1.hook_resid_post"
STARTS = ("Nora was", "Where did", "Rain", "Where did you go?")
PUSH = DirectionPush(torch.arange(32).float(), 4.0)


@dataclass
class Replied:
    """Three turns; the other side takes back half of each and adds words of its own."""

    text: str
    seed: int
    turns: int = 0
    most: int = 3
    acts: bool = True

    def turn(self):
        return None if self.turns == self.most else (self.seed * 100 + self.turns, 5 + self.seed)

    def enough(self, written):
        return "." in written

    def hear(self, written):
        self.turns += 1
        self.text += written[: len(written) // 2] + (" he" if self.turns % 2 else "")

    def edited(self):
        return self.acts


def told(model, **changes):
    talks = [Replied(text, seed, **changes) for seed, text in enumerate(STARTS)]
    over = []
    write_in_turns(model, talks, 1.0, 0.95, HOOK_NAME, lambda rows: PUSH.hook(), over.append)
    assert sum(over) == len(talks)
    return [talk.text for talk in talks]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen2"])
@pytest.mark.parametrize("acts", [True, False])
def test_it_is_what_generate_writes_turn_by_turn(models, family, acts):
    model = models[family]
    wanted = []
    for seed, text in enumerate(STARTS):
        talk = Replied(text, seed)
        while turn := talk.turn():
            hooks = {HOOK_NAME: PUSH.hook()} if acts else None
            [written] = model.generate([talk.text], turn[1], 1.0, 0.95, seed=[turn[0]], hooks=hooks, stop=None)
            if "." in written:
                written = written[: written.index(".") + 1]
            talk.hear(written)
        wanted.append(talk.text)
    assert told(model, acts=acts) == wanted


def test_the_hook_acts_from_where_the_talk_says(llama):
    class Late(Replied):
        def edited(self):
            return self.turns >= 1

    seen = []

    def hook(x, *, keep=None):
        seen.append(keep.clone())
        return x

    talk = Late("Nora was", 0, most=2)
    write_in_turns(llama, [talk], 1.0, 0.95, HOOK_NAME, lambda rows: hook)
    flat = torch.cat([one[0] for one in seen])
    began = int(flat.nonzero()[0])
    assert 0 < began < len(flat)
    assert flat[began:].all()
    assert not flat[:began].any()


def test_nothing_is_read_twice(llama):
    read = []

    def hook(x, *, keep=None):
        read.append(x.shape[1])
        return x

    talk = Replied("Nora was", 3)
    write_in_turns(llama, [talk], 1.0, 0.95, HOOK_NAME, lambda rows: hook)
    assert read[0] == len(llama.tokenise(["Nora was"]).ids[0])
    assert set(read[1:]) == {1}


def test_a_talk_that_is_over_before_it_begins(llama):
    talk, over = Replied("Nora", 0, most=0), []
    write_in_turns(llama, [talk], 1.0, 0.95, HOOK_NAME, lambda rows: PUSH.hook(), over.append)
    assert talk.text == "Nora"
    assert over == [1]


def test_only_layers_that_see_the_whole_text_fit(models):
    assert fits(models["llama"])
    assert not fits(models["gemma2"])
    assert not fits(object())
