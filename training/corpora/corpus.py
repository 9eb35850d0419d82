"""Texts and tables from wherever they are, and windows of tokens packed from texts. The only door to `datasets`."""

import csv
import json
import logging
import lzma
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from training.language_models import tokenising
from training.language_models.language_model import LanguageModel, Tokens

log = logging.getLogger(__name__)

DOCUMENT_END = "<|endoftext|>"
"""A line of its own between the documents of a .txt file."""
KINDS = (".txt", ".txt.xz", ".jsonl", ".jsonl.xz", ".parquet")
TABLES = (".csv", ".tsv", ".csv.xz", ".tsv.xz", ".jsonl", ".jsonl.xz", ".parquet")
"""Endings of files that hold rows with named columns."""
HELD_OUT_EVERY = 20
"""Of so many documents, the first is held out."""
DOCUMENTS_AT_ONCE = 256
"""Documents that are tokenised together."""


def texts(
    source: str | Path, split: str | None = None, column: str = "text", limit: int | None = None
) -> Iterator[str]:
    """The documents of ``source``, in order, at most ``limit`` of them, none empty.

    ``source`` is a folder of .txt, .txt.xz, .jsonl and .parquet files (read in the order of their names), one such
    file, "storyworld:SEED" (generated without end; "storyworld" alone is seed 0, the text that the bundled model was
    trained on), or a data set's name for `datasets`, "name" or "name:configuration", of which ``split`` (default train)
    is read. ``column`` is the field that holds the text.

    A source that does not exist is an error at once; one without any text is an error when that is known.
    """
    name, path = str(source), Path(source)
    kind, _, detail = name.partition(":")
    if kind == "storyworld" and not path.exists():
        documents = _storyworld(detail)
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(KINDS))
        if not files:
            raise ValueError(f"{name} holds no corpus: no file in it ends in {', '.join(KINDS)}")
        documents = (text for file in files for text in _file(file, column))
    elif path.is_file():
        if not name.endswith(KINDS):
            raise ValueError(f"{name} cannot be read as a corpus; files that can end in {', '.join(KINDS)}")
        documents = _file(path, column)
    elif name.startswith((".", "/", "~")) or name.endswith(KINDS) or name.count("/") > 1:
        raise FileNotFoundError(f"there is no corpus {name}")
    else:
        documents = _data_set(kind, detail or None, split or "train", column)
    return _with_text(documents, name, limit)


def _with_text(documents: Iterator[str], name: str, limit: int | None) -> Iterator[str]:
    found = False
    for text in islice((text for text in documents if text.strip()), limit):
        found = True
        yield text
    if not found and limit != 0:
        raise ValueError(f"the corpus {name} holds no text")


def _storyworld(seed: str) -> Iterator[str]:
    from training.corpora.storyworld.stream import documents

    if seed and not seed.isdigit():
        raise ValueError(f"storyworld takes a whole number as its seed, storyworld:7 for example, not {seed!r}")
    return documents(int(seed or 0))


def _file(path: Path, column: str) -> Iterator[str]:
    if path.suffix == ".parquet":
        yield from _column(_parquet(path), column, str(path))
        return
    with _readable(path) as lines:
        yield from _from_lines(lines, path, column) if ".jsonl" in path.suffixes else _from_text(lines)


@contextmanager
def _readable(path: Path) -> Iterator[TextIO]:
    """The file's text, unpacked where it ends in .xz; ValueError for what is no text."""
    try:
        opened: Any = lzma.open if path.suffix == ".xz" else open
        with opened(path, "rt", encoding="utf-8", newline="" if _is_separated(path) else None) as lines:
            yield lines
    except (UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}") from error


def _is_separated(path: Path) -> bool:
    return bool({".csv", ".tsv"} & set(path.suffixes))


def _from_text(lines: Iterable[str]) -> Iterator[str]:
    document: list[str] = []
    for line in lines:
        if line.strip() == DOCUMENT_END:
            yield "".join(document).strip("\n")
            document = []
        else:
            document.append(line)
    yield "".join(document).strip("\n")


def _from_lines(lines: Iterable[str], path: Path, column: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[column]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: no JSON object with a field {column!r}") from error
        if not isinstance(text, str):
            raise ValueError(f"{path}, line {number}: the field {column!r} is not a string")
        yield text


def rows(source: str | Path, split: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a table, in order, as they are read: column -> value.

    ``source`` is a folder of files that end in one of `TABLES` (in the order of their names), one such file, or a data
    set's name for `datasets`, "name" or "name:configuration", of which ``split`` (default train) is read; files are
    read whole. What a .csv or .tsv file holds are strings. A source that does not exist is an error at once.
    """
    name, path = str(source), Path(source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(TABLES))
        if not files:
            raise ValueError(f"{name} holds no table: no file in it ends in {', '.join(TABLES)}")
        return (row for file in files for row in _table(file))
    if path.is_file():
        if not name.endswith(TABLES):
            raise ValueError(f"{name} cannot be read as a table; files that can end in {', '.join(TABLES)}")
        return _table(path)
    if name.startswith((".", "/", "~")) or name.endswith(TABLES) or name.count("/") > 1:
        raise FileNotFoundError(f"there is no table {name}")
    hub, _, configuration = name.partition(":")
    return _rows_of(_datasets().load_dataset, name, hub, configuration or None, split=split or "train")


def _table(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    with _readable(path) as lines:
        if _is_separated(path):
            yield from _separated(lines, path)
        else:
            yield from _objects(lines, path)


def _objects(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: a line must be a JSON object")
        yield row


def _separated(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(lines, delimiter="\t" if ".tsv" in path.suffixes else ",")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {reader.line_num}: another number of columns than the first line has")
            yield row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    return _rows_of(_datasets().load_dataset, str(path), "parquet", data_files=str(path))


def _data_set(name: str, configuration: str | None, split: str, column: str) -> Iterator[str]:
    yield from _column(_rows_of(_datasets().load_dataset, name, name, configuration, split=split), column, name)


def _column(rows: Iterable[dict[str, Any]], column: str, shown: str) -> Iterator[str]:
    for number, row in enumerate(rows):
        if not number and column not in row:
            raise ValueError(f"{shown} has no column {column!r}; it has {', '.join(row)}")
        yield row[column]


def _rows_of(load: Callable[..., Any], shown: str, *named: Any, **options: Any) -> Iterator[dict[str, Any]]:
    try:
        rows = iter(load(*named, **{"split": "train", "streaming": True, **options}))
        first = next(rows, None)
    except Exception as error:  # `datasets` raises what its many backends raise
        raise ValueError(
            f"{shown} is no file or folder here, and `datasets` cannot open it: {str(error).strip().splitlines()[0]}"
        ) from error
    if first is not None:
        yield first
        yield from rows


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError("a data set's name or a .parquet file needs `datasets`: pip install 'datasets>=4'") from error
    return datasets


def split_off(documents: Iterable[str], held_out: bool) -> Iterator[str]:
    """The documents that are held out (the first of every twenty), or the others: together, all of them."""
    for place, text in enumerate(documents):
        if (place % HELD_OUT_EVERY == 0) == held_out:
            yield text


def share(documents: Iterable[str], rank: int, ranks: int) -> Iterator[str]:
    """Every ``ranks``-th document from the ``rank``-th on: each document is seen by exactly one rank.

    Every rank opens the whole source, but tokenises its own documents only. So which ones are held out, and what a
    document's place is, never depends on the number of ranks, as it would if files were dealt out.
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"rank must lie between 0 and {ranks - 1}, one less than the number of ranks: got {rank}")
    return islice(documents, rank, None, ranks)


def repeated(open_documents: Callable[[], Iterator[str]]) -> Iterator[str]:
    """The documents again and again; a ValueError where there is none."""
    while True:
        documents = 0
        for text in open_documents():
            documents += 1
            yield text
        if not documents:
            raise ValueError(
                "no document of the corpus is left to train on: the first of every twenty is held out, and every process "
                "that reads a share of its own needs one. It needs at least two, and one for each further process, with a "
                f"line {DOCUMENT_END} between them in .txt files"
            )
        log.warning("the corpus has been read to its end (%d documents): starting again", documents)


def windows(
    documents: Iterable[str], model: LanguageModel, context: int | None = None, batch: int = 16
) -> Iterator[Tokens]:
    """Documents end to end, cut into windows of ``context`` tokens (default: the model's), ``batch`` at a time.

    Where the model's texts begin with a special token, every window does; the end-of-text token follows every document.
    Both have ``keep`` False. Nothing is padded and nothing left out: the last windows may be fewer, and the very last
    one, which comes alone, shorter.
    """
    context = model.context if context is None else context
    if not 2 <= context <= model.context:
        raise ValueError(f"context must lie between 2 and {model.context}, what {model.name} can read: got {context}")
    first, end = tokenising.bos(model.tokenizer), end_of_document(model)
    special = tokenising.special_ids(model.tokenizer)
    room = context - len(first)
    stream: list[int] = []
    for document in _ids(documents, model.tokenizer, end):
        stream += document
        if len(stream) >= batch * room:
            whole = len(stream) // (batch * room) * (batch * room)
            for start in range(0, whole, batch * room):
                yield _packed(stream[start : start + batch * room], room, first, special)
            stream = stream[whole:]
    whole = len(stream) // room * room
    for part, width in ((stream[:whole], room), (stream[whole:], len(stream) - whole)):
        if part:
            yield _packed(part, width, first, special)


def end_of_document(model: LanguageModel) -> list[int]:
    """What stands between two documents."""
    token = model.tokenizer.eos_token_id
    return [token] if token is not None else tokenising.bos(model.tokenizer)


def _ids(documents: Iterable[str], tokenizer: Any, end: list[int]) -> Iterator[list[int]]:
    documents = iter(documents)
    while chunk := list(islice(documents, DOCUMENTS_AT_ONCE)):
        for ids in tokenising.plain_ids(tokenizer, chunk):
            yield ids + end


def _packed(stream: list[int], room: int, first: list[int], special: Tensor) -> Tokens:
    ids = torch.tensor(stream, dtype=torch.long).view(-1, room)
    ids = torch.cat([torch.tensor(first, dtype=torch.long).expand(len(ids), -1), ids], dim=1)
    return Tokens(ids, ~torch.isin(ids, special))
