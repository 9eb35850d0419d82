"""Edits of latents at a site, as values, and the hooks that carry them out.

x' = x + (edited - read) @ W_dec[ids]: only the touched latents move, and what the dictionary cannot
write stays as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.dictionary import Dictionary, Reader, fitting, latent_ids
from saes.written_intervention import MODES


@dataclass(frozen=True)
class TokenSet:
    """The positions at which one of these tokens stands."""

    ids: tuple[int, ...]

    def __post_init__(self):
        object.__setattr__(self, "ids", tuple(sorted({int(token) for token in self.ids})))
        if not self.ids:
            raise ValueError("a token set needs one or more tokens")

    def inside(self, seen: Int64[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
        """Where they stand among the tokens of each row."""
        return torch.isin(seen, torch.tensor(self.ids, device=seen.device))


@dataclass(frozen=True)
class Turns:
    """The positions inside one speaker's turns of a chat: after the tokens that open one, before any that closes it."""

    opening: tuple[int, ...]
    """Tokens that stand, in this order, before each of these turns."""
    closing: tuple[int, ...]
    """Any of these tokens ends a turn."""

    def __post_init__(self):
        object.__setattr__(self, "opening", tuple(int(token) for token in self.opening))
        object.__setattr__(self, "closing", tuple(int(token) for token in self.closing))
        if not self.opening or not self.closing:
            raise ValueError("turns need tokens that open them and tokens that close them")

    def inside(self, seen: Int64[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
        """Which of the tokens from the first one on lie within such a turn."""
        place = torch.arange(seen.shape[-1], device=seen.device)
        begins = torch.zeros_like(seen, dtype=torch.bool)
        if seen.shape[-1] > len(self.opening):
            runs = seen.unfold(-1, len(self.opening), 1)[..., :-1, :]
            begins[..., len(self.opening) :] = (runs == torch.tensor(self.opening, device=seen.device)).all(-1)
        ends = torch.isin(seen, torch.tensor(self.closing, device=seen.device))
        begun, ended = (torch.where(at, place, -1).cummax(-1).values for at in (begins, ends))
        return begun > ended


Positions = str | tuple[int, int] | TokenSet | Turns
"""``all``, ``prompt``, ``generated``, (start, stop) counted from the first token, a set of tokens, or a speaker's turns."""
Seen = Callable[[], Int64[Tensor, "row token"]]
"""The tokens of each row so far, those of the call last; a function, since few hooks need them."""
Offset = int | Tensor
"""Position of the first token of a call: one number, or one a row where padding on the left makes them differ."""


@runtime_checkable
class Hook(Protocol):
    """What a language model calls at a hook name: activations in, activations out."""

    def __call__(
        self,
        x: Float[Tensor, "*batch token d_in"],
        *,
        keep: Bool[Tensor, "*batch token"] | None = None,
        offset: Offset = 0,
        seen: Seen | None = None,
    ) -> Float[Tensor, "*batch token d_in"]:
        """``keep`` is False at padding, which stays untouched; ``offset`` is the first token's position."""
        ...


@dataclass(frozen=True)
class Edit:
    """One change of a few latents. ``value`` is in the latent's own units, except for "scale", where it is a factor."""

    latents: tuple[int, ...]
    value: float = 0.0
    mode: str = "set"
    """set: to value; add: value more; scale: value times; min: at least value; max: at most value; ablate: to zero."""
    weights: tuple[float, ...] | None = None
    """What each latent's value is multiplied by, for recipes; None is 1 for all."""
    where_active: bool = False
    """Whether each latent is edited only where it reads more than zero."""

    def __post_init__(self):
        object.__setattr__(self, "latents", tuple(int(latent) for latent in self.latents))
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; it is one of {', '.join(MODES)}")
        if not self.latents or len(set(self.latents)) < len(self.latents):
            raise ValueError(f"an edit needs one or more different latents, got {self.latents}")
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
            if len(self.weights) != len(self.latents):
                raise ValueError(f"{len(self.latents)} latents need as many weights, got {len(self.weights)}")
        if not all(isfinite(number) for number in (self.value, *(self.weights or ()))):
            raise ValueError("an edit's value and weights must be finite numbers")

    @property
    def values(self) -> tuple[float, ...]:
        """The value of each latent, its weight counted in."""
        return tuple(self.value * weight for weight in self.weights or (1.0,) * len(self.latents))

    def applied(self, read: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """What the readings of ``latents``, in that order, become."""
        return _applied(self.mode, self.where_active, read.new_tensor(self.values))(read)


@dataclass(frozen=True)
class Condition:
    """Act only at tokens where ``latent`` reads more than ``above``."""

    latent: int
    above: float


@dataclass(frozen=True)
class Intervention:
    """Edits, in order, at some of the positions. Without edits it is nothing: its hook returns the very same tensor."""

    edits: tuple[Edit, ...] = ()
    positions: Positions = "all"
    """Which tokens: all, the prompt, those generated after it, a window, a set of tokens, or a speaker's turns."""
    condition: Condition | None = None

    def __post_init__(self):
        object.__setattr__(self, "edits", tuple(self.edits))
        object.__setattr__(self, "positions", _checked(self.positions))

    @property
    def latents(self) -> tuple[int, ...]:
        """Every latent that has to be read, once."""
        edited = [latent for edit in self.edits for latent in edit.latents]
        conditions = [self.condition.latent] if self.condition and self.edits else []
        return tuple(dict.fromkeys(edited + conditions))

    def hook(
        self,
        dictionary: Dictionary,
        *,
        keep: Bool[Tensor, "*batch token"] | None = None,
        prompt_tokens: int | Tensor | None = None,
    ) -> Hook:
        """The function that carries this out. ``keep`` stands in for calls that bring no mask of their own.

        ``prompt_tokens`` says where the prompt ends (one number, or one a row). Without it a call at offset 0 or below
        is the prompt and any later one is generated, which is how generation with a KV cache calls.
        """
        return _hook({self: None}, None, dictionary, keep, prompt_tokens)


@dataclass(frozen=True, eq=False)
class DirectionPush:
    """x' = x + amount * direction / ||direction||, at some of the positions: what a clamp is measured against."""

    direction: Float[Tensor, " d_in"]
    amount: float
    positions: Positions = "all"

    def __post_init__(self):
        object.__setattr__(self, "positions", _checked(self.positions))
        norm = self.direction.norm()
        if not (isfinite(float(norm)) and norm > 0) or not isfinite(self.amount):
            raise ValueError("a push needs a direction of finite length above zero and a finite amount")

    def hook(
        self,
        dictionary: Dictionary | None = None,
        *,
        keep: Bool[Tensor, "*batch token"] | None = None,
        prompt_tokens: int | Tensor | None = None,
    ) -> Hook:
        """As Intervention.hook; reads no dictionary."""
        return _hook({self: None}, None, dictionary, keep, prompt_tokens)


@dataclass(frozen=True)
class RowInterventions:
    """A different intervention for each row of the batch, so that many arms share one forward pass.

    The dictionary reads the whole batch once, whatever the number of arms.
    """

    interventions: Sequence[Intervention | DirectionPush]
    """One for each row, in order; ``Intervention()`` for a row to be left alone."""

    def __post_init__(self):
        object.__setattr__(self, "interventions", tuple(self.interventions))

    def hook(
        self,
        dictionary: Dictionary | None = None,
        *,
        keep: Bool[Tensor, "row token"] | None = None,
        prompt_tokens: int | Tensor | None = None,
    ) -> Hook:
        """As Intervention.hook. A dictionary is needed as soon as one of the rows edits a latent."""
        rows_of: dict[Intervention | DirectionPush, list[int]] = {}
        for row, one in enumerate(self.interventions):
            rows_of.setdefault(one, []).append(row)
        return _hook({**rows_of}, len(self.interventions), dictionary, keep, prompt_tokens)


def in_turn(hooks: Sequence[Hook]) -> Hook:
    """One hook that does what each of these does, in this order: each reads what those before it left."""
    if len(hooks) == 1:
        return hooks[0]

    def act(x: Tensor, *, keep: Tensor | None = None, offset: Offset = 0, seen: Seen | None = None) -> Tensor:
        for hook in hooks:
            x = hook(x, keep=keep, offset=offset, seen=seen)
        return x

    return act


def hooks_across(
    intervention: "Intervention | DirectionPush | RowInterventions",
    transcoder: Dictionary,
    read_at: str,
    written_at: str,
) -> dict[str, Hook]:
    """The hooks that carry out an intervention on a transcoder's latents, by hook name.

    y' = y + (edited - read) @ W_dec[ids]: the latents are read of x, which passes ``read_at``, and what they write changes
    at ``written_at``, which has to come later in the model.
    """
    elsewhere = _ReadElsewhere(transcoder)
    return {read_at: elsewhere.note, written_at: intervention.hook(elsewhere)}  # type: ignore[arg-type]


class _ReadElsewhere:
    """A transcoder as `_hook` needs it: its latents' values are those of what was last noted."""

    def __init__(self, transcoder: Dictionary):
        self.transcoder, self.d_sae, self.directions = transcoder, transcoder.d_sae, transcoder.directions
        self.noted: Tensor | None = None

    def note(self, x: Tensor, *, keep: Tensor | None = None, offset: Offset = 0, seen: Seen | None = None) -> Tensor:
        self.noted = x
        return x

    def latent_reader(self, ids: Sequence[int] | Tensor, device: torch.device | None = None) -> Reader:
        reader = self.transcoder.latent_reader(ids, device)

        def read(y: Tensor) -> Tensor:
            if self.noted is None or self.noted.shape[:-1] != y.shape[:-1]:
                raise ValueError("the place that a transcoder reads has to come before the one that it writes")
            return reader(self.noted)

        return read


# ---- how they are carried out

Move = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(x, readings, where or None for everywhere) -> x'."""


def _hook(
    rows_of: dict[Intervention | DirectionPush, list[int] | None],
    n_rows: int | None,
    dictionary: Dictionary | None,
    default_keep: Tensor | None,
    prompt_tokens: int | Tensor | None,
) -> Hook:
    """One hook for several interventions, each at its rows (None: every row) of a batch of ``n_rows`` (None: any).

    A token of generated text costs a millisecond or two, so all that does not depend on the activations is made once
    for each device that they come from.
    """
    rows_of = {one: rows for one, rows in rows_of.items() if not isinstance(one, Intervention) or one.edits}
    ids = list(dict.fromkeys(latent for one in rows_of if isinstance(one, Intervention) for latent in one.latents))
    if ids and dictionary is None:
        raise ValueError("editing latents needs the dictionary that they belong to")
    if ids:
        latent_ids(ids, dictionary.d_sae, torch.device("cpu"))  # type: ignore[union-attr]  # a mistake speaks at once
    made: dict[torch.device, tuple[Callable[[Tensor], Tensor], list]] = {}

    def prepared(device: torch.device) -> tuple[Callable[[Tensor], Tensor], list]:
        read = dictionary.latent_reader(ids, device) if ids and dictionary is not None else _reads_nothing
        moves = [
            (one, None if rows is None else torch.tensor(rows, device=device), _move(one, ids, dictionary, device))
            for one, rows in rows_of.items()
        ]
        return read, moves

    def act(x: Tensor, *, keep: Tensor | None = None, offset: Offset = 0, seen: Seen | None = None) -> Tensor:
        if n_rows is not None and len(x) != n_rows:
            raise ValueError(f"{n_rows} row interventions cannot act on {len(x)} rows")
        if x.device not in made:
            made[x.device] = prepared(x.device)
        read_latents, moves = made[x.device]
        reached = [move for move in moves if _reaches(move[0].positions, x, offset, prompt_tokens)]
        if not reached:
            return x
        keep = default_keep if keep is None else keep
        read = read_latents(x) if any(isinstance(one, Intervention) for one, _, _ in reached) else x[..., :0]
        after = None
        for one, rows, move in reached:
            where = _places(one.positions, x, offset, prompt_tokens, seen)
            if keep is not None:
                where = keep.to(x.device) if where is None else where & keep.to(x.device)
            if rows is None:  # the only one
                return move(x, read, where)
            after = x.clone() if after is None else after
            after[rows] = move(x[rows], read[rows], None if where is None else where[rows])
        assert after is not None
        return after

    return act


def _reads_nothing(x: Tensor) -> Tensor:
    return x[..., :0]


def _move(
    one: "Intervention | DirectionPush", ids: list[int], dictionary: Dictionary | None, device: torch.device
) -> Move:
    """What one intervention does to activations, given the readings of the latents ``ids``."""
    if isinstance(one, DirectionPush):
        return _push(one, device)
    assert dictionary is not None
    own = one.latents
    columns = None if list(own) == ids else torch.tensor([ids.index(latent) for latent in own], device=device)
    edit = _edit(one.edits, own, device, dictionary.directions.dtype)
    here = torch.tensor(own, device=dictionary.directions.device)
    directions = dictionary.directions[here].to(device)
    condition, above = None, 0.0
    if one.condition is not None:
        condition, above = own.index(one.condition.latent), one.condition.above

    def move(x: Tensor, read: Tensor, where: Tensor | None) -> Tensor:
        if columns is not None:
            read = read[..., columns]
        if condition is not None:
            holds = read[..., condition] > above
            where = holds if where is None else where & holds
        change = edit(read) - read
        if x.dtype == change.dtype:
            flat = torch.addmm(x.reshape(-1, x.shape[-1]), change.reshape(-1, len(own)), directions)
            after = flat.view(x.shape)
        else:
            after = (x + change @ directions).to(x.dtype)
        return after if where is None else torch.where(where[..., None], after, x)

    return move


def _edit(
    edits: Sequence[Edit], latents: Sequence[int], device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """What the readings of ``latents``, in that order, become by all edits."""
    steps: list[tuple[Callable[[Tensor], Tensor], Tensor | None]] = []
    for mode, where_active, told, values in _merged(edits):
        value = torch.tensor(values, device=device, dtype=dtype)
        whole = list(told) == list(latents)
        columns = None if whole else torch.tensor([latents.index(latent) for latent in told], device=device)
        steps.append((_applied(mode, where_active, value), columns))
    if len(steps) == 1 and steps[0][1] is None:
        return steps[0][0]

    def apply(read: Tensor) -> Tensor:
        edited = read.clone()
        for step, columns in steps:
            if columns is None:
                edited = step(edited)
            else:
                edited[..., columns] = step(edited[..., columns])
        return edited

    return apply


def _merged(edits: Sequence[Edit]) -> list[tuple[str, bool, tuple[int, ...], tuple[float, ...]]]:
    """The edits as (mode, where_active, latents, values), neighbours of one kind on different latents made one."""
    merged = []
    for (mode, where_active), alike in groupby(edits, key=lambda edit: (edit.mode, edit.where_active)):
        some = list(alike)
        latents = [latent for edit in some for latent in edit.latents]
        if len(set(latents)) == len(latents):
            values = tuple(value for edit in some for value in edit.values)
            merged.append((mode, where_active, tuple(latents), values))
        else:
            merged += [(mode, where_active, edit.latents, edit.values) for edit in some]
    return merged


def _applied(mode: str, where_active: bool, value: Float[Tensor, " n"]) -> Callable[[Tensor], Tensor]:
    """One edit: readings in, readings out."""
    change: Callable[[Tensor], Tensor]
    match mode:
        case "set":
            change = value.expand_as
        case "add":
            change = value.add
        case "scale":
            change = value.mul
        case "min":
            change = value.maximum
        case "max":
            change = value.minimum
        case _:
            change = torch.zeros_like
    return (lambda read: torch.where(read > 0, change(read), read)) if where_active else change


def _push(push: "DirectionPush", device: torch.device) -> Move:
    direction = push.direction.to(device, torch.float32)
    step = push.amount * direction / direction.norm()

    def move(x: Tensor, read: Tensor, where: Tensor | None) -> Tensor:
        fitting(step, x.shape[-1], torch.float32)
        after = (x + step).to(x.dtype)
        return after if where is None else torch.where(where[..., None], after, x)

    return move


def _checked(positions: Positions) -> Positions:
    if isinstance(positions, TokenSet | Turns) or positions in ("all", "generated", "prompt"):
        return positions
    if isinstance(positions, tuple | list) and len(positions) == 2:
        start, stop = (int(bound) for bound in positions)
        if 0 <= start < stop:
            return start, stop
    raise ValueError(
        f"positions must be all, generated, prompt, (start, stop) with 0 <= start < stop, a TokenSet or Turns: "
        f"{positions!r}"
    )


def _reaches(positions: Positions, x: Tensor, offset: Offset, prompt_tokens: int | Tensor | None) -> bool:
    """False where a call can be seen to hold none of the positions without looking at a tensor."""
    if positions == "all" or isinstance(positions, TokenSet | Turns):
        return True
    if not isinstance(offset, int) or isinstance(prompt_tokens, Tensor):
        return True
    start, stop = _bounds(positions, offset, prompt_tokens)
    return start < offset + x.shape[-2] and offset < stop


def _places(
    positions: Positions, x: Tensor, offset: Offset, prompt_tokens: int | Tensor | None, seen: Seen | None
) -> Bool[Tensor, "*batch token"] | None:
    """Which tokens of ``x`` the positions name; None is all of them."""
    if positions == "all":
        return None
    batch_and_tokens = x.shape[:-1]
    if isinstance(positions, TokenSet | Turns):
        if seen is None:
            raise ValueError("a token set or turns can be clamped only where the hook is told which tokens it sees")
        tokens = seen()[..., -x.shape[-2] :] if isinstance(positions, TokenSet) else seen()
        return positions.inside(tokens)[..., -x.shape[-2] :].to(x.device).expand(batch_and_tokens)
    if isinstance(offset, int) and not isinstance(prompt_tokens, Tensor):
        start, stop = _bounds(positions, offset, prompt_tokens)
        if start <= offset and offset + x.shape[-2] <= stop:
            return None
    first = torch.as_tensor(offset, device=x.device)
    place = first[..., None] + torch.arange(x.shape[-2], device=x.device)
    start, stop = _bounds(positions, first, prompt_tokens)
    start, stop = (torch.as_tensor(bound, device=x.device)[..., None] for bound in (start, stop))
    return ((place >= start) & (place < stop)).expand(batch_and_tokens)


def _bounds(positions: str | tuple[int, int], offset: Offset, prompt_tokens: int | Tensor | None):
    """First position and the one after the last, each one number or one a row."""
    if isinstance(positions, tuple):
        return positions
    endless = 2**62
    if prompt_tokens is None:  # the whole call is the prompt, or the whole call comes after it
        prompt_tokens = (offset <= 0) * endless
    return (-endless, prompt_tokens) if positions == "prompt" else (prompt_tokens, endless)
