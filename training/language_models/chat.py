"""Texts as turns of a chat, by the tokenizer's own template, and which of their tokens are read.

``user``: the text is what the user says, and its own tokens are read. ``assistant``: the user has said PROMPT, the text is
the reply, and its own tokens are read. ``before_reply``: the text is what the user says, and the one token is read that
stands before the reply (the last of the template's generation prompt), from which the reply is written.

Whose a token is comes from the template itself: the text is rendered beside another that differs from it at both ends, and
what the two share before and after it belongs to the template. So markers of a turn are read in no role.
"""

from collections.abc import Sequence
from typing import Any

from training.language_models import tokenising
from training.language_models.language_model import Tokens

READS = ("all", "user", "assistant", "before_reply")
"""What can be read of a text; ``all`` is every token of the text as it stands, without a chat around it."""

PROMPT = "Write a short text."
"""What the user has said before a text that the assistant says."""


def check_read(tokenizer: Any, read: str, name: str) -> None:
    """A ValueError where the model called ``name`` cannot be read so."""
    if read not in READS:
        raise ValueError(f"unknown read {read!r}: it is one of {', '.join(READS)}")
    if read == "all":
        return
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"{name} is no chat model (its tokenizer has no chat template), so read can only be all, not {read}"
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer of {name} does not tell where its tokens lie (it is a slow one): read can only be all"
        )


def tokenise_turns(tokenizer: Any, texts: Sequence[str], read: str, max_tokens: int) -> Tokens:
    """Tokens of the whole chat around each text, each cut at ``max_tokens``; ``keep`` is True at those to be read.

    Raises ValueError for a text that the template rewrites, and where the cut leaves nothing to read.
    """
    turns = [_rendered(tokenizer, text.strip(), read) for text in texts]
    if not turns:
        return tokenising.padded([], tokenising.special_ids(tokenizer), 0)
    rendered = [chat for chat, _, _ in turns]
    found = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    rows = [ids[:max_tokens] for ids in found["input_ids"]]
    tokens = tokenising.padded(rows, tokenising.special_ids(tokenizer), tokenising.filler(tokenizer))
    keep = tokens.keep & False
    for row, (ids, places, (_, start, stop)) in enumerate(zip(rows, found["offset_mapping"], turns, strict=True)):
        if read == "before_reply":
            if len(places) > max_tokens:
                raise ValueError(
                    f"text {row} makes a chat of {len(places)} tokens, of which {max_tokens} can be read: not the last one, "
                    "which stands before the reply"
                )
            keep[row, len(ids) - 1] = True
            continue
        for token, (first, end) in enumerate(places[: len(ids)]):
            keep[row, token] = bool(tokens.keep[row, token]) and first < stop and end > start
        if not bool(keep[row].any()):
            raise ValueError(f"text {row} has no {read} token among the first {max_tokens} of its chat")
    return tokens._replace(keep=keep)


def invited(tokenizer: Any, messages: Sequence[dict[str, str]]) -> Tokens:
    """A chat as the tokenizer's template writes it, up to where the next reply begins: what to write on from.

    Raises ValueError where there is no template, or where it refuses these turns.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("this model is no chat model (its tokenizer has no chat template): give a prompt instead")
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except Exception as error:  # templates are programs: jinja2 raises what they ask it to
        raise ValueError(f"the chat template cannot be applied to these turns: {error}") from error
    # the template begins the text itself
    return tokenising.tokenise(tokenizer, [text], 2**62, add_bos=False)


def _rendered(tokenizer: Any, text: str, read: str) -> tuple[str, int, int]:
    """The chat as one string, and where ``text`` begins and ends in it."""
    if not text:
        raise ValueError("an empty text cannot be a turn of a chat")
    other = next(letter for letter in "xyz" if letter not in (text[0], text[-1]))
    chat, beside = (_chat(tokenizer, one, read) for one in (text, other))
    start = _shared(chat, beside)
    stop = len(chat) - _shared(chat[start:][::-1], beside[start:][::-1])
    if chat[start:stop] != text:
        raise ValueError(
            f"the chat template rewrites texts ({chat[start:stop][:40]!r} for {text[:40]!r}): read can only be all"
        )
    return chat, start, stop


def _shared(one: str, other: str) -> int:
    """How many characters the two begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))


def _chat(tokenizer: Any, text: str, read: str) -> str:
    messages = [{"role": "user", "content": text}]
    if read == "assistant":
        messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": text}]
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=read == "before_reply")
    except Exception as error:  # templates are programs: jinja2 raises what they ask it to
        raise ValueError(f"the chat template cannot be applied to {read} texts: {error}") from error
