"""Texts that a model and somebody else write in turns, side by side, each token read once.

`generate` reads a text anew at every call. An episode of many short turns is read many times over by it; here the keys and
values of what was read stay, what the other side says is read as it comes, and what it takes back is no longer looked at.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from saes.intervention import Hook
from training.language_models import generation, tokenising
from training.language_models.hugging_face import Call, HuggingFaceModel

FEWER = 0.7
"""Rows that are over leave the batch when the others are this share of it."""
GROWTH = 64
"""Places by which the room for keys and values grows."""


class Talk(Protocol):
    """One text, and what the other side does with the model's turns."""

    text: str

    def turn(self) -> tuple[int, int] | None:
        """The seed of the model's next turn and how many tokens it may have; None when the text is finished."""
        ...

    def enough(self, written: str) -> bool:
        """Whether the turn is over, however many tokens are left; asked after tokens with a full stop, colon or line's end."""
        ...

    def hear(self, written: str) -> None:
        """Takes up what the model wrote in its turn, and changes ``text``."""
        ...

    def edited(self) -> bool:
        """Whether the hooks act on tokens that are read from now on."""
        ...


def fits(model: Any) -> bool:
    """Whether `write_in_turns` can write with this model: every layer must be able to see the whole text."""
    if not isinstance(model, HuggingFaceModel):
        return False
    kinds = getattr(model.model.config, "layer_types", None) or ["full_attention"]
    return set(kinds) == {"full_attention"} and not getattr(model.model.config, "sliding_window", None)


@torch.no_grad()
def write_in_turns(
    model: HuggingFaceModel, talks: Sequence[Talk], temperature: float, top_p: float, hook_name: str,
    hook_of: Callable[[Sequence[int]], Hook], finished: Callable[[int], object] = lambda talks: None,
) -> None:  # fmt: skip
    """Writes until every talk is finished.

    ``hook_of`` makes the hook of the talks with these numbers, a row each. A talk's words are those that `generate` would
    give it turn by turn with the same seeds; only where ``edited`` changes on the way does it differ: what was read before
    stays as it was read.
    """
    tokenizer = model._tokenizer()
    rows = [_Row(number, talk, model) for number, talk in enumerate(talks)]
    rows = [row for row in rows if row.begin()]
    if len(rows) < len(talks):
        finished(len(talks) - len(rows))
    if not rows:
        return
    pieces = [piece if any(sign in piece for sign in ".:\n") else "" for piece in model.strings(range(len(tokenizer)))]
    ids, real = generation.left_padded([row.ids for row in rows], tokenising.filler(tokenizer))
    cache, mask, step = Cache(layer_class_to_replicate=_Roomy), real.to(model.device), ids.to(model.device)
    special = model.special.to(model.device)
    for row in rows:
        row.places = list(range(ids.shape[1] - len(row.ids), ids.shape[1]))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    hook, n_over = hook_of([row.number for row in rows]), 0
    while True:
        edited = torch.tensor([row.talk.edited() for row in rows], device=model.device)[:, None]
        keep = mask[:, -step.shape[1] :] & ~torch.isin(step, special) & edited
        with model.hooked({hook_name: hook}), model._told(Call(keep, positions[:, 0])):
            answer = model.model(
                input_ids=step, attention_mask=mask.long(), position_ids=positions, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
        draws = torch.tensor([row.draw() for row in rows], device=model.device)
        chosen = generation.sample(answer.logits[:, -1].float(), temperature, top_p, draws).tolist()
        place = mask.shape[1]
        forgotten = [row.go_on(token, place, pieces) for row, token in zip(rows, chosen, strict=True)]
        for at, gone in enumerate(forgotten):
            if gone:
                mask[at, gone] = False
        going = [at for at, row in enumerate(rows) if not row.over]
        if over := len(rows) - len(going) - n_over:
            finished(over)
        n_over = len(rows) - len(going)
        if not going:
            return
        if len(going) <= FEWER * len(rows):
            chosen_rows = torch.tensor(going, device=model.device)
            cache.batch_select_indices(chosen_rows)
            mask, rows, n_over = mask[chosen_rows], [rows[at] for at in going], 0
            hook = hook_of([row.number for row in rows])
        step = torch.tensor([[row.last] for row in rows], device=model.device)
        reads = torch.tensor([[not row.over] for row in rows], device=model.device)
        mask = torch.cat([mask, reads], dim=1)
        positions = (mask.sum(1, keepdim=True) - 1).clamp(min=0)


class _Row:
    """What of a talk's text is read, at which places of the cache, and what is still to be read."""

    def __init__(self, number: int, talk: Talk, model: HuggingFaceModel):
        self.number, self.talk, self.model = number, talk, model
        self.ends = set(model._ends().tolist())
        self.ids: list[int] = []
        self.places: list[int] = []
        self.ahead: list[int] = []
        self.last = 0
        self.over = False

    def begin(self) -> bool:
        """Makes ready for the model's next turn; False when there is none."""
        turn = self.talk.turn()
        if turn is None:
            self.over = True
            return False
        seed, self.room = turn
        self.luck = random.Random(f"{seed}/")  # as generate() draws with this seed
        self.written: list[int] = []
        self.prompt = self.model._rows([self.talk.text])[0]
        if not self.ids:
            self.ids = list(self.prompt)
        return True

    def draw(self) -> float:
        """The luck of the token that comes next; 0 where it is not the model's to choose."""
        return 0.0 if self.over or self.ahead else self.luck.random()

    def go_on(self, token: int, place: int, pieces: Sequence[str]) -> list[int]:
        """Puts the text's next token, or the one that the model chose, at a place; the places that are to be forgotten."""
        if self.over:
            return []
        if self.ahead:
            self._put(self.ahead.pop(0), place)
            return []
        ended = token in self.ends
        if not ended:
            self.written.append(token)
            ended = len(self.written) >= self.room or (
                bool(pieces[token]) and self.talk.enough(self.model._tokenizer().decode(self.written))
            )
        if not ended:
            self._put(token, place)
            return []
        self.talk.hear(tokenising.continuation(self.model._tokenizer(), self.prompt, self.written))
        if not self.begin():
            return []
        wanted = self.prompt
        same = next(
            (at for at, (a, b) in enumerate(zip(self.ids, wanted, strict=False)) if a != b),
            min(len(self.ids), len(wanted)),
        )
        same = min(same, len(wanted) - 1)  # what follows the last token is known only by reading it
        gone, self.ids, self.places = self.places[same:], self.ids[:same], self.places[:same]
        self.ahead = wanted[same:]
        self._put(self.ahead.pop(0), place)
        return gone

    def _put(self, token: int, place: int) -> None:
        self.last = token
        self.ids.append(token)
        self.places.append(place)


class _Roomy(DynamicLayer):
    """Keys and values with room for more, so that a token does not copy all that came before it."""

    room: list[Tensor]
    """The keys and the values, with places after them that are still empty."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if not before or self.room[0].shape[-2] < after:
            self.room = [
                F.pad(self._filled(held, new), (0, 0, 0, after - before + GROWTH))
                for held, new in ((self.keys, key_states), (self.values, value_states))
            ]
        self.is_initialized = True
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[..., before:after, :] = new
        self.keys, self.values = (room[..., :after, :] for room in self.room)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[-2]

    @staticmethod
    def _filled(held: Tensor | None, new: Tensor) -> Tensor:
        return new[..., :0, :] if held is None else held

    def batch_select_indices(self, indices: Tensor) -> None:
        length = self.get_seq_length()
        self.room = [room[indices] for room in self.room]
        self.keys, self.values = (room[..., :length, :] for room in self.room)
