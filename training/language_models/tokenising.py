"""Texts to tokens and back, with any Hugging Face tokenizer."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from training.language_models.language_model import Tokens


def tokenise(tokenizer: Any, texts: Sequence[str], max_tokens: int, add_bos: bool | None = None) -> Tokens:
    """See LanguageModel.tokenise; a special token that is written out in a text counts as one."""
    if isinstance(texts, str):
        raise ValueError("tokenise takes a list of texts, got one string")
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    first = bos(tokenizer, add_bos)
    rows = [(first + plain)[:max_tokens] for plain in plain_ids(tokenizer, texts)]
    return padded(rows, special_ids(tokenizer), filler(tokenizer))


def plain_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, nothing added."""
    if not len(texts):
        return []
    # verbose=False: a warning about texts beyond the context would be about what is cut or packed anyway
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def tokenizer_hash(tokenizer: Any) -> str:
    """A SHA-256 of all that decides how a tokenizer cuts texts."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    told = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def bos(tokenizer: Any, add_bos: bool | None = None) -> list[int]:
    """What comes before a text: the beginning-of-text token, or nothing."""
    token = tokenizer.bos_token_id
    if add_bos is None:
        add_bos = token is not None and tokenizer("a")["input_ids"][:1] == [token]
    if add_bos and token is None:
        raise ValueError("this tokenizer has no beginning-of-text token, so add_bos cannot be True")
    return [token] if add_bos else []


def special_ids(tokenizer: Any) -> Tensor:
    """The ids that are not text: beginning, end, padding, chat markers."""
    markers = [number for number, token in tokenizer.added_tokens_decoder.items() if token.special]
    return torch.tensor(sorted({*tokenizer.all_special_ids, *markers}), dtype=torch.long)


def filler(tokenizer: Any) -> int:
    """The id that stands where there is no text."""
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
    return next((token for token in candidates if token is not None), 0)


def padded(rows: Sequence[Sequence[int]], special: Tensor, fill: int) -> Tokens:
    """Tokens of lists of ids."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    width = int(lengths.max()) if len(rows) else 0
    ids = torch.full((len(rows), width), fill, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.long)
    real = torch.arange(width) < lengths[:, None]
    return Tokens(ids, real & ~torch.isin(ids, special), lengths)


def strings(tokenizer: Any, ids: Tensor | Sequence[int]) -> list[str]:
    """See LanguageModel.strings."""
    numbers = [int(number) for number in ids]
    pieces = tokenizer.convert_ids_to_tokens(numbers)
    # SentencePiece writes a space as U+2581, and its decoder drops it from the first token of a text.
    return [
        piece.replace("\u2581", " ") if piece is not None and "\u2581" in piece else tokenizer.decode([number])
        for number, piece in zip(numbers, pieces, strict=True)
    ]


def continuation(tokenizer: Any, prompt: Sequence[int], written: Sequence[int]) -> str:
    """The text of ``written`` as it reads after ``prompt``: decoded alone it could lose its leading space."""
    before = tokenizer.decode(list(prompt), skip_special_tokens=True)
    both = tokenizer.decode([*prompt, *written], skip_special_tokens=True)
    if both.startswith(before):
        return both[len(before) :]
    return tokenizer.decode(list(written), skip_special_tokens=True)
