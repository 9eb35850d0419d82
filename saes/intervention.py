"""Edits of latents at a site, as values, and the hooks that carry them out.

x' = x + (edited - read) @ W_dec[ids]: only the touched latents move, and what the dictionary cannot
write stays as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes.dictionary import Dictionary, fitting, latent_ids

MODES = ("set", "add", "scale", "min", "max", "ablate")
Positions = str | tuple[int, int]
"""``all``, ``prompt``, ``generated``, or (start, stop) counted from the first token."""
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

    def applied(self, read: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """What the readings of ``latents``, in that order, become."""
        value = read.new_tensor([self.value * weight for weight in self.weights or (1.0,) * len(self.latents)])
        match self.mode:
            case "set":
                return value.expand_as(read)
            case "add":
                return read + value
            case "scale":
                return read * value
            case "min":
                return read.maximum(value)
            case "max":
                return read.minimum(value)
            case _:
                return torch.zeros_like(read)


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
    """Which tokens: all, the prompt, those generated after it, or (start, stop) counted from the first token."""
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

    def moved(
        self,
        x: Float[Tensor, "*batch token d_in"],
        read: Float[Tensor, "*batch token n"],
        column: dict[int, int],
        directions: Float[Tensor, "n d_in"],
        where: Bool[Tensor, "*batch token"],
    ) -> Float[Tensor, "*batch token d_in"]:
        """``x`` after the edits, given the readings of the latents whose columns ``column`` names."""
        edited = read.clone()
        for edit in self.edits:
            columns = [column[latent] for latent in edit.latents]
            edited[..., columns] = edit.applied(edited[..., columns])
        if self.condition is not None:
            where = where & (read[..., column[self.condition.latent]] > self.condition.above)
        change = (edited - read) @ directions
        return torch.where(where[..., None], (x + change).to(x.dtype), x)


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

    def pushed(
        self, x: Float[Tensor, "*batch token d_in"], where: Bool[Tensor, "*batch token"]
    ) -> Float[Tensor, "*batch token d_in"]:
        """``x`` after the push."""
        direction = fitting(self.direction, x.shape[-1], torch.float32).to(x.device)
        return torch.where(where[..., None], (x + self.amount * direction / direction.norm()).to(x.dtype), x)


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

    def note(self, x: Tensor, *, keep: Tensor | None = None, offset: Offset = 0) -> Tensor:
        self.noted = x
        return x

    def encode_latents(self, y: Tensor, ids: Sequence[int] | Tensor) -> Tensor:
        if self.noted is None or self.noted.shape[:-1] != y.shape[:-1]:
            raise ValueError("the place that a transcoder reads has to come before the one that it writes")
        return self.transcoder.encode_latents(self.noted, ids)


def _hook(
    rows_of: dict[Intervention | DirectionPush, list[int] | None],
    n_rows: int | None,
    dictionary: Dictionary | None,
    default_keep: Tensor | None,
    prompt_tokens: int | Tensor | None,
) -> Hook:
    """One hook for several interventions, each at its rows (None: every row) of a batch of ``n_rows`` (None: any)."""
    rows_of = {one: rows for one, rows in rows_of.items() if not isinstance(one, Intervention) or one.edits}
    ids = list(dict.fromkeys(latent for one in rows_of if isinstance(one, Intervention) for latent in one.latents))
    column = {latent: place for place, latent in enumerate(ids)}
    read_latents, directions = _reader(dictionary, ids)

    def act(x: Tensor, *, keep: Tensor | None = None, offset: Offset = 0) -> Tensor:
        if n_rows is not None and len(x) != n_rows:
            raise ValueError(f"{n_rows} row interventions cannot act on {len(x)} rows")
        keep = default_keep if keep is None else keep
        reached = {one: rows for one, rows in rows_of.items() if _reaches(one.positions, x, offset, prompt_tokens)}
        if not reached:
            return x
        read = read_latents(x) if any(isinstance(one, Intervention) for one in reached) else x[..., :0]
        after = x.clone()
        for one, rows in reached.items():
            at = slice(None) if rows is None else torch.tensor(rows, device=x.device)
            where = _places(one.positions, x, offset, prompt_tokens)
            where = (where if keep is None else where & keep.to(x.device))[at]
            if isinstance(one, DirectionPush):
                after[at] = one.pushed(x[at], where)
            else:
                after[at] = one.moved(x[at], read[at], column, directions, where)
        return after

    return act


def _reader(dictionary: Dictionary | None, ids: list[int]) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """How to read the latents ``ids``, and their directions."""
    if not ids:
        return (lambda x: x[..., :0]), torch.empty(0)
    if dictionary is None:
        raise ValueError("editing latents needs the dictionary that they belong to")
    index = latent_ids(ids, dictionary.d_sae, dictionary.directions.device)
    return (lambda x: dictionary.encode_latents(x, index)), dictionary.directions[index]


def _checked(positions: Positions) -> Positions:
    if isinstance(positions, str) and positions in ("all", "generated", "prompt"):
        return positions
    if not isinstance(positions, str) and len(positions) == 2:
        start, stop = (int(bound) for bound in positions)
        if 0 <= start < stop:
            return start, stop
    raise ValueError(f"positions must be all, generated, prompt or (start, stop) with 0 <= start < stop: {positions!r}")


def _reaches(positions: Positions, x: Tensor, offset: Offset, prompt_tokens: int | Tensor | None) -> bool:
    """False where a call can be seen to hold none of the positions without looking at a tensor."""
    if positions == "all":
        return True
    if not isinstance(offset, int) or isinstance(prompt_tokens, Tensor):
        return True
    start, stop = _bounds(positions, offset, prompt_tokens)
    return start < offset + x.shape[-2] and offset < stop


def _places(
    positions: Positions, x: Tensor, offset: Offset, prompt_tokens: int | Tensor | None
) -> Bool[Tensor, "*batch token"]:
    """Which tokens of ``x`` the positions name."""
    batch_and_tokens = x.shape[:-1]
    if positions == "all":
        return torch.ones(batch_and_tokens, dtype=torch.bool, device=x.device)
    first = torch.as_tensor(offset, device=x.device)
    place = first[..., None] + torch.arange(x.shape[-2], device=x.device)
    start, stop = _bounds(positions, first, prompt_tokens)
    start, stop = (torch.as_tensor(bound, device=x.device)[..., None] for bound in (start, stop))
    return ((place >= start) & (place < stop)).expand(batch_and_tokens)


def _bounds(positions: Positions, offset: Offset, prompt_tokens: int | Tensor | None):
    """First position and the one after the last, each one number or one a row."""
    if isinstance(positions, tuple):
        return positions
    endless = 2**62
    if prompt_tokens is None:  # the whole call is the prompt, or the whole call comes after it
        prompt_tokens = (offset <= 0) * endless
    return (-endless, prompt_tokens) if positions == "prompt" else (prompt_tokens, endless)
