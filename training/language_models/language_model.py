"""What every language model can do here, whichever package it runs on, and the tokens it is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Hook = Callable[..., Tensor]
"""``x [text, token, d] -> x'``. Where it accepts them it is also given ``keep`` [text, token] (None: everywhere) and
``offset``, the position of the first token, one number or one a text, and ``seen``, a function that gives the tokens of
each text so far [text, token], the last being those of ``x``. Whatever it does where ``keep`` is False (padding
and special tokens) is undone, so plain functions of ``x`` are safe too."""


class Tokens(NamedTuple):
    """Texts as token ids, padded on the right, where causal attention never looks."""

    ids: Int64[Tensor, "text token"]
    keep: Bool[Tensor, "text token"]
    """True at tokens of the text itself: False at padding and at special tokens."""
    lengths: Int64[Tensor, " text"] | None = None
    """How many tokens each text has, special ones included; None where nothing is padded."""

    @property
    def real(self) -> Bool[Tensor, "text token"]:
        """True everywhere but at padding."""
        if self.lengths is None:
            return torch.ones_like(self.keep)
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens on ``device``."""
        return Tokens(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    def take(self, texts: slice | Sequence[int] | Tensor) -> "Tokens":
        """The same for some of the texts, without the padding that only the others needed."""
        if self.lengths is None:
            return Tokens(self.ids[texts], self.keep[texts])
        lengths = self.lengths[texts]
        width = int(lengths.max()) if len(lengths) else 0
        return Tokens(self.ids[texts][:, :width], self.keep[texts][:, :width], lengths)

    def batches(self, texts: int) -> Iterator["Tokens"]:
        """All texts, so many at a time, in order."""
        for start in range(0, len(self.ids), texts):
            yield self.take(slice(start, start + texts))


@runtime_checkable
class LanguageModel(Protocol):
    """A causal language model whose activations can be read and edited by TransformerLens' hook names."""

    name: str
    """Hub name or folder, as a Site holds it."""
    revision: str | None
    n_layers: int
    d_model: int
    context: int
    """The longest text it can read, in tokens."""
    tokenizer: Any

    @property
    def device(self) -> torch.device:
        """Where it reads its tokens."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        ...

    def hook_names(self) -> list[str]:
        """Every place that can be read and edited."""
        ...

    def width(self, hook_name: str) -> int:
        """The length of the activations there; ValueError for an unknown place."""
        ...

    def weights_hash(self) -> str:
        """A SHA-256 of all weights."""
        ...

    def unembedding(self) -> Float[Tensor, "vocab d_model"]:
        """What turns the last activation (after the final norm) into logits: a token is a row."""
        ...

    def tokenise(self, texts: Sequence[str], max_tokens: int | None = None, add_bos: bool | None = None) -> Tokens:
        """Tokens of ``texts``, each cut at ``max_tokens`` (default: the context).

        ``add_bos`` says whether a beginning-of-text token comes first; None does as the tokenizer does by itself.
        """
        ...

    def reading(self, read: str) -> "LanguageModel":
        """The same model, whose ``tokenise`` puts each text into a chat and keeps the tokens of one role (see `chat`).

        ValueError where it has no chat template.
        """
        ...

    def strings(self, ids: Int64[Tensor, " token"] | Sequence[int]) -> list[str]:
        """Each token as text to show, leading space included."""
        ...

    def activations(self, tokens: Tokens, hook_names: Sequence[str]) -> dict[str, Float[Tensor, "text token d_in"]]:
        """What passes each place; the forward pass stops at the last of them. Values at padding mean nothing."""
        ...

    def logits(self, tokens: Tokens, hooks: Mapping[str, Hook] | None = None) -> Float[Tensor, "text token vocab"]:
        """The model's answer at every token, with ``hooks`` in place."""
        ...

    def differentiable_logits(self, tokens: Tokens, hooks: Mapping[str, Hook]) -> Float[Tensor, "text token vocab"]:
        """The same, with the gradient of whatever the hooks bring in."""
        ...

    def hooked(self, hooks: Mapping[str, Hook]) -> AbstractContextManager[Any]:
        """Keeps ``hooks`` in place for all done inside; an unknown place is a ValueError that lists the others."""
        ...

    def generate(
        self,
        prompts: Sequence[str] | Tokens,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | Sequence[int] | Sequence[str] = 0,
        hooks: Mapping[str, Hook] | None = None,
        keep_prompt: bool = False,
        stop: str | Sequence[str] | None = None,
        told: Callable[[list[int | None]], bool | None] | None = None,
    ) -> list[str]:
        """What the model writes after each prompt, up to its end-of-text token or (without it) a ``stop`` string.

        Each prompt draws from a stream of its own, made of ``seed`` and its place in the list (or of its own seed,
        where there is one a prompt), so that what it becomes does not depend on its neighbours. A seed that is a text names
        the stream itself: "5/0" is that of the first prompt under seed 5, so that two rows can draw as one alone would.

        ``told`` is given each prompt's new token as soon as it is drawn, before any other is read: None for one that is
        closed, or that its end-of-text token just closed. Where it answers True the writing ends there; what it raises
        is raised.
        """
        ...

    def log_probs(self, tokens: Tokens, hooks: Mapping[str, Hook] | None = None) -> Float[Tensor, "text token"]:
        """log p(token | those before it) in nats; 0 at the first token of each text and at padding."""
        ...

    def next_token_log_probs(
        self, prompts: Sequence[str] | Tokens, hooks: Mapping[str, Hook] | None = None
    ) -> Float[Tensor, "text vocab"]:
        """log p of every token as the next one after each prompt."""
        ...
