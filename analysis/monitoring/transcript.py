"""What is monitored: a text, or a chat whose turns are known, as one string with the turns' places in it.

{"role": "user", "content": "..."}            a message a line: the whole file is one chat
{"messages": [{"role": ...}, ...]}            a chat a line
anything else                                 one text
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Turn:
    speaker: str
    """A role, or "text" where there are no turns."""
    start: int
    stop: int
    """Letters of the document."""


@dataclass(frozen=True)
class Document:
    text: str
    turns: tuple[Turn, ...]
    templated: bool = False
    """Whether a chat template wrote it, special tokens included."""

    def turn_at(self, start: int, stop: int) -> int:
        """The turn whose text shares most letters with these; -1 where none does, as in a template's marks."""
        shared = [min(stop, turn.stop) - max(start, turn.start) for turn in self.turns]
        best = max(range(len(shared)), key=shared.__getitem__, default=-1)
        return best if best >= 0 and shared[best] > 0 else -1


def plain_document(text: str) -> Document:
    return Document(text, (Turn("text", 0, len(text)),))


def chat_document(messages: Sequence[dict[str, str]], tokenizer: Any = None) -> Document:
    """The chat as the tokenizer's template writes it, or (without one) with each speaker's name before the words.

    Raises ValueError where the template changes what was said, so that its place is not known.
    """
    if getattr(tokenizer, "chat_template", None):
        text = tokenizer.apply_chat_template(list(messages), tokenize=False)
    else:
        text = "\n".join(f"{message['role'].capitalize()}: {message['content'].strip()}" for message in messages)
    turns, place = [], 0
    for number, message in enumerate(messages):
        said = message["content"].strip()
        start = text.find(said, place)
        if start < 0:
            raise ValueError(f"message {number + 1}: the chat template rewrites it, so its tokens cannot be told apart")
        place = start + len(said)
        turns.append(Turn(message["role"], start, place))
    return Document(text, tuple(turns), templated=bool(getattr(tokenizer, "chat_template", None)))


def documents(lines: Iterator[str], source: str, tokenizer: Any = None) -> Iterator[Document]:
    """The chats of a jsonl, or one text where the first line is none. Raises ValueError naming the line that is wrong."""
    first = next(lines, None)
    if first is None:
        return
    if not first.lstrip().startswith("{") or _parsed(first) is None:
        yield plain_document(first + "".join(lines))
        return
    one_chat: list[dict[str, str]] = []
    for number, line in enumerate(_again(first, lines), start=1):
        if not line.strip():
            continue
        row = _parsed(line)
        if row is None:
            raise ValueError(f"{source}:{number}: not JSON")
        if "messages" in row:
            if one_chat:
                raise ValueError(
                    f"{source}:{number}: a chat a line, after lines of one message each: give one or the other"
                )
            yield chat_document(_checked(row["messages"], f"{source}:{number}"), tokenizer)
        else:
            one_chat += _checked([row], f"{source}:{number}")
    if one_chat:
        yield chat_document(one_chat, tokenizer)


def transcript_at(path: str | Path) -> Path:
    """The file; FileNotFoundError where there is none."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise FileNotFoundError(f"there is no transcript {path} (it {what}): give a text, or a jsonl of messages")
    return path


def read_documents(path: str | Path, tokenizer: Any = None) -> Iterator[Document]:
    path = transcript_at(path)
    with path.open(encoding="utf-8") as file:
        yield from documents(iter(file), str(path), tokenizer)


def _again(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _checked(messages: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise ValueError(f"{where}: messages is a list of {{role, content}}")
    for message in messages:
        if (
            not isinstance(message, dict)
            or not isinstance(message.get("content"), str)
            or not message["content"].strip()
        ):
            raise ValueError(f"{where}: a message needs a role and a content")
        if message.get("role") not in ROLES:
            raise ValueError(f"{where}: a role is one of {', '.join(ROLES)}, got {message.get('role')!r}")
    return messages
