"""Going on from the residual stream after a block, when what stands there is known: the blocks before it do not compute.

A sweep that edits one place hundreds of times over the same texts need not read them from the beginning each time.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from training.language_models.hugging_face import HuggingFaceModel, blocks_of
from training.language_models.language_model import LanguageModel, Tokens

_AFTER_A_BLOCK = re.compile(r"blocks\.\d+\.hook_(resid_post|out)")
"""What a whole block answers, by either name; blocks.3.mlp.hook_out is what a part of it does."""


def can_resume(model: LanguageModel, hook_name: str) -> bool:
    """Whether ``resumed`` knows how: after a whole block of a Hugging Face model that runs its own modules."""
    return type(model) is HuggingFaceModel and _AFTER_A_BLOCK.fullmatch(hook_name) is not None


def outcome_of(model: HuggingFaceModel, tokens: Tokens, hook_name: str) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """What stands at ``hook_name`` [text, token, d_model], and how its block wraps it for whoever calls the block."""
    kinds: list[int | None] = []
    block = model.place(hook_name).module

    def note(module: nn.Module, args: tuple, output: Any) -> None:
        kinds.append(len(output) if isinstance(output, tuple) else None)

    handle = block.register_forward_hook(note)
    try:
        x = model.activations(tokens, [hook_name])[hook_name]
    finally:
        handle.remove()
    extra = (kinds[0] or 1) - 1
    return x, (lambda x: x) if kinds[0] is None else (lambda x: (x, *(None,) * extra))


@contextmanager
def resumed(
    model: HuggingFaceModel, hook_name: str, x: Float[Tensor, "text token d_model"], wrap: Callable[[Tensor], Any]
) -> Iterator[None]:
    """Inside, every forward pass has ``x`` at ``hook_name``, and the blocks up to there pass on what they were given.

    Hooks at ``hook_name`` and after it act as ever. ``wrap`` is as ``outcome_of`` gives it; the tokens must be those of ``x``.
    """
    last = int(hook_name.split(".")[1])
    passed = list(blocks_of(model.model))[: last + 1]
    for number, block in enumerate(passed):
        here = number == last
        block.forward = (  # type: ignore[method-assign]
            lambda hidden_states, *args, here=here, **options: wrap(x if here else hidden_states)
        )
    try:
        with model.hooked({hook_name: lambda x: x}):  # an edit is under way: no pass may be put together from others
            yield
    finally:
        for block in passed:
            del block.forward  # the class's own stands again
