"""Store: SQL over a study's Parquet tables, by an engine inside this process."""

import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from analysis.records import StudyInfo
from analysis.study import TABLES, Study

if TYPE_CHECKING:
    import duckdb

MEMORY = "256MB"
"""What the engine may hold; the process around it holds about 150 MB more."""
THREADS = 2
HELD = 4 * 2**20
"""A file of so many bytes at most is held in memory, which halves the time of a question."""
TRIES = 20
"""How often a question is asked again because a table was written while it was answered."""
OURS = ("CatalogException", "BinderException", "ParserException", "PermissionException", "OutOfMemoryException")
"""The engine's errors that no file is to blame for."""

Stamp = tuple[int, int, int]
"""When a file was last written, its size, its inode: a table that is written anew has another."""


class DamagedTable(ValueError):
    """A table's file cannot be read; the message is a sentence for the person at the page."""


class Store:
    """The tables of one study, each a view of its own name: with no rows where the study has not made it yet.

    Names that SQL keeps for itself want quotes (`"values"`, `"text"`). Values go in as parameters, never into the
    statement's text. Any number of threads may ask at once. A table that is written anew is seen at the next question.
    """

    def __init__(self, folder: str | Path):
        """Opens a study folder; FileNotFoundError and ValueError as by `Study.open`."""
        import duckdb

        self.folder = Path(folder).resolve()
        self._study = Study.open(self.folder)
        self._study_stamp = _stamp(str(self.folder / "study.json"))
        self._files = {table: str(self.folder / f"{table}.parquet") for table in TABLES}
        self._lock = threading.Lock()
        self._stamps: dict[str, Stamp | None] = {}
        self._damaged: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._database = duckdb.connect(":memory:")
        for setting in (
            f"SET memory_limit = '{MEMORY}'",
            f"SET threads = {THREADS}",
            "SET temp_directory = ''",
            "SET parquet_metadata_cache = true",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            f"SET allowed_directories = [{_quoted(str(self.folder))}, {_quoted(_literally(str(self.folder)))}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._database.execute(setting)
        self._look()

    @property
    def info(self) -> StudyInfo:
        """What study.json says now."""
        return self.study.info

    @property
    def study(self) -> Study:
        """The study itself, for what is no table (arrays, the concept set)."""
        stamp = _stamp(str(self.folder / "study.json"))
        if stamp != self._study_stamp:
            self._study, self._study_stamp = Study.open(self.folder), stamp
        return self._study

    @property
    def names(self) -> tuple[str, ...]:
        """Every table that may be asked for."""
        return tuple(TABLES)

    def made(self, table: str) -> bool:
        """Whether the study has this table, with rows or without."""
        return _stamp(self._files[table]) is not None

    def stamp(self, *tables: str) -> tuple[Stamp | None, ...]:
        """A value that is another as soon as one of these tables (default: any) is written anew: a key for caches."""
        return tuple(_stamp(self._files[table]) for table in tables or TABLES)

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """What a statement finds, a dict a row. DamagedTable where a file that it needs cannot be read."""
        names, found = self._ask(sql, parameters)
        return [dict(zip(names, row, strict=True)) for row in found]

    def one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> dict[str, Any] | None:
        """The first row, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def value(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first row's first value, or None."""
        found = self._ask(sql, parameters)[1]
        return found[0][0] if found else None

    def records(self, table: str, where: str = "true", parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """A table's rows as the records of `analysis.records`, in the table's order."""
        return [TABLES[table](**row) for row in self.rows(f'SELECT * FROM "{table}" WHERE {where}', parameters)]

    def arrow(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The same as a pyarrow table, for downloads."""
        return self._run(lambda cursor: cursor.sql(sql, params=_given(parameters)).to_arrow_table(), sql)

    def close(self) -> None:
        self._database.close()

    def _ask(self, sql: str, parameters: Sequence[Any] | dict[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        def fetch(cursor: "duckdb.DuckDBPyConnection") -> tuple[list[str], list[tuple[Any, ...]]]:
            cursor.execute(sql, _given(parameters))
            return [column[0] for column in cursor.description or ()], cursor.fetchall()

        return self._run(fetch, sql)

    def _run(self, fetch: "Callable[[duckdb.DuckDBPyConnection], Any]", sql: str) -> Any:
        """What `fetch` finds. An answer during which a table was written anew may mix old and new, and is asked again."""
        import duckdb

        for _ in range(TRIES):
            before = self._look()
            cursor = self._database.cursor()
            try:
                found = fetch(cursor)
            except duckdb.Error as error:
                if self.stamp() == before:
                    raise self._said_of(error, sql) from error
            else:
                if self.stamp() == before:
                    return found
            finally:
                cursor.close()
        raise DamagedTable(f"the tables of {self.folder.name} are being written over and over: ask again in a moment")

    def _said_of(self, error: "duckdb.Error", sql: str) -> Exception:
        """A damaged file where the statement needs one, else the error itself: then it is ours."""
        needed = [table for table in TABLES if re.search(rf"\b{table}\b", sql)]
        for table in needed:
            if table in self._damaged:
                return DamagedTable(self._damaged[table])
        if needed and type(error).__name__ not in OURS:
            said = str(error).splitlines()[0]
            return DamagedTable(f"{' or '.join(needed)} of {self.folder.name} cannot be read ({said})")
        return error

    def _look(self) -> tuple[Stamp | None, ...]:
        """Makes the views of the tables whose files changed; returns the stamps of all."""
        import duckdb

        stamps = self.stamp()
        changed = [(table, stamp) for table, stamp in zip(TABLES, stamps, strict=True) if stamp != self._seen(table)]
        if not changed:
            return stamps
        with self._lock:
            for table, stamp in changed:
                if stamp == self._seen(table):  # another thread was first
                    continue
                try:
                    self._replace(table, self._select(table, stamp), held=stamp is not None and stamp[1] <= HELD)
                    self._damaged.pop(table, None)
                except (duckdb.Error, DamagedTable) as error:
                    said = str(error).splitlines()[0]
                    self._damaged[table] = (
                        f"{table}.parquet of {self.folder.name} is damaged ({said}): run the step that makes it again"
                    )
                    self._replace(table, None)
                self._stamps[table] = stamp
        return stamps

    def _replace(self, table: str, select: str | None, held: bool = False) -> None:
        """Puts a table, or a view of its file, in the place of what was there; at once, for those who ask meanwhile."""
        import duckdb

        cursor = self._database.cursor()
        cursor.execute("BEGIN")
        try:
            cursor.execute(f'DROP {self._kinds.get(table, "VIEW")} IF EXISTS "{table}"')
            kind = "TABLE" if held else "VIEW"
            if select is not None:
                cursor.execute(f'CREATE {kind} "{table}" AS {select}')
            cursor.execute("COMMIT")
            self._kinds[table] = kind
        except duckdb.Error:
            cursor.execute("ROLLBACK")
            raise
        finally:
            cursor.close()

    def _seen(self, table: str) -> Stamp | str | None:
        return self._stamps.get(table, "never")

    def _select(self, table: str, stamp: Stamp | None) -> str:
        kind = TABLES[table]
        hints = get_type_hints(kind)
        types = {column.name: column_type(hints[column.name]) for column in fields(kind)}
        if stamp is None:
            empty = ", ".join(f'NULL::{sql_type} AS "{name}"' for name, sql_type in types.items())
            return f"SELECT {empty} WHERE false"
        source = f"read_parquet({_quoted(_literally(self._files[table]))})"
        there = self._database.sql(f"SELECT * FROM {source}").columns
        columns = []
        for column in fields(kind):
            if column.name in there:
                columns.append(f'"{column.name}"')
                continue
            columns.append(f'{_default(column)}::{types[column.name]} AS "{column.name}"')
        return f"SELECT {', '.join(columns)} FROM {source}"


def column_type(hint: Any) -> str:
    """The SQL type of a record's field."""
    plain = {int: "BIGINT", float: "DOUBLE", str: "VARCHAR", bool: "BOOLEAN"}
    if hint in plain:
        return plain[hint]
    arguments: tuple[Any, ...] = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is list:
        return column_type(arguments[0]) + "[]"
    inner = [argument for argument in arguments if argument is not type(None)]
    assert len(inner) == 1, f"no column type for {hint}"
    return column_type(inner[0])


def _given(parameters: Sequence[Any] | dict[str, Any]) -> list[Any] | dict[str, Any]:
    return parameters if isinstance(parameters, dict) else list(parameters)


def _default(column: Field) -> str:
    """What stands for a column that an older study lacks."""
    if column.default_factory is not MISSING:
        assert column.default_factory() == []
        return "[]"
    if column.default is MISSING:
        raise DamagedTable(f"it lacks the column {column.name}, so another version made it")
    value = column.default
    if value is None:
        return "NULL"
    return _quoted(str(value)) if isinstance(value, (str, float)) else str(value)  # a bare nan would be a column's name


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literally(path: str) -> str:
    """A path in which nothing is taken for a pattern of paths."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
