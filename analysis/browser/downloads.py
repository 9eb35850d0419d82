"""Rows as a file to keep: CSV, Parquet or JSON, written some rows at a time."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from tempfile import SpooledTemporaryFile
from typing import Any

from analysis.browser.notes import as_cell
from analysis.browser.rendering import plain

KINDS = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}
IN_MEMORY = 16_000_000
"""Bytes of a Parquet file before it is put on the disk."""
PIECE = 1 << 16


def written(batches: Iterable[Sequence[Any]], record: type, kind: str) -> Iterator[bytes]:
    """The dataclasses of ``batches``, all of type ``record``, as bytes of a file of one of `KINDS`.

    In CSV a list is JSON within its cell, what is not known is empty (in JSON it is null), and a text that a spreadsheet
    would take for a formula has an apostrophe before it.
    """
    assert kind in KINDS
    return {"csv": _csv, "json": _json, "parquet": _parquet}[kind](batches, record)


def _csv(batches: Iterable[Sequence[Any]], record: type) -> Iterator[bytes]:
    yield _csv_lines([[column.name for column in fields(record)]])
    for batch in batches:
        yield _csv_lines(
            [
                [
                    json.dumps(value, ensure_ascii=False) if isinstance(value, list) else as_cell(value)
                    for value in plain(row).values()
                ]
                for row in batch
            ]
        )


def _csv_lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _json(batches: Iterable[Sequence[Any]], record: type) -> Iterator[bytes]:
    between = "[\n"
    for batch in batches:
        if batch:
            yield (between + ",\n".join(json.dumps(plain(row), ensure_ascii=False) for row in batch)).encode()
            between = ",\n"
    yield b"[]\n" if between == "[\n" else b"\n]\n"


def _parquet(batches: Iterable[Sequence[Any]], record: type) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from analysis.study import arrow_schema

    schema = arrow_schema(record)
    with SpooledTemporaryFile(IN_MEMORY) as file:
        with pq.ParquetWriter(file, schema) as writer:
            for batch in batches:
                writer.write_table(pa.Table.from_pylist([asdict(row) for row in batch], schema=schema))
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece
