"""SQLite files through ADBC, read-only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa

from hwm_magics.core.observed import Column
from hwm_magics.core.statement import Statement
from hwm_magics.errors import QueryError, SourceConnectionError, SourceError
from hwm_magics.sources import adbc
from hwm_magics.sources.dialects import Dialect
from hwm_magics.sources.dialects.sqlite import Sqlite
from hwm_magics.sources.failures import failure, incomplete
from hwm_magics.sources.fitting import FEW, gathered
from hwm_magics.sources.rendering import render, with_literals
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.sqlite_types import SqliteTypes
from hwm_magics.sources.wire import Described, Wire

if TYPE_CHECKING:
    from adbc_driver_manager import AdbcConnection, AdbcDatabase

__all__ = ["AdbcSqlite", "connect"]

# The driver takes the types of the first row for those of all: this row has the types meant.
_FIRST = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''", pa.binary(): "x''"}


def connect(path: str, attach: Mapping[str, str] | None = None) -> AdbcSqlite:
    """Open a SQLite file.

    Args:
        path: The file.
        attach: Further files by schema name.

    Raises:
        SourceConnectionError: A file is not there, or is no database.
    """
    import adbc_driver_manager
    import adbc_driver_sqlite

    # Its only way to say where the library is.
    driver = adbc_driver_sqlite._driver_path()  # noqa: SLF001
    doing = f"opening the SQLite database {path}"
    database = None
    try:
        database = adbc_driver_manager.AdbcDatabase(driver=driver, uri=_readable(path))
        connection = adbc_driver_manager.AdbcConnection(database)
    except adbc_driver_manager.Error as error:
        if database is not None:
            database.close()
        raise failure(error, doing=f"connecting: {doing}") from error
    opened = AdbcSqlite(connection, database, path)
    try:
        # SQLite looks into a file only when it must.
        opened.ask("SELECT COUNT(*) FROM sqlite_master")
        for schema, other in (attach or {}).items():
            opened.run(f"ATTACH {opened.dialect.literal(_readable(other))} AS {opened.dialect.quote(schema)}")
            opened.ask(f"SELECT COUNT(*) FROM {opened.dialect.quote(schema)}.sqlite_master")  # noqa: S608 - quoted
    except SourceError as error:
        opened.close()
        if isinstance(error, SourceConnectionError):
            raise
        raise SourceConnectionError(
            f"{doing}: {error.message.partition(': ')[2]}", hint="check the path"
        ) from error
    return opened


def _readable(path: str) -> str:
    """A URI that opens the file for reading, and never makes one."""
    if path == ":memory:":
        return path
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "is not there"
        raise SourceConnectionError(
            f"the SQLite database {path} {what}", hint="check the connection's database"
        )
    return f"file:{quote(str(Path(path).absolute()))}?mode=ro"


@dataclass(slots=True)
class AdbcSqlite:
    """One connection to SQLite files.

    Attributes:
        connection: ADBC's connection.
        database: What it belongs to; None for a connection that the user opened.
        place: The file, for people.
    """

    connection: AdbcConnection
    database: AdbcDatabase | None
    place: str
    dialect: Dialect = field(default_factory=lambda: Sqlite("sqlite"))
    _types: SqliteTypes = field(init=False)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._types = SqliteTypes(self.run, self.ask)

    def _failure(self, error: BaseException, doing: str) -> SourceError:
        known: tuple[str, ...] = ()
        if "no such table" in str(error) and doing != "looking at":
            known = self._tables()
        missing = re.search(r"no such (table|column): ([\w.]+)", str(error))
        if missing and missing[1] == "table":
            error = QueryError(f'relation "{missing[2]}" does not exist')
        return failure(error, doing=f"{doing} {self.place}", known=known)

    def _tables(self) -> tuple[str, ...]:
        try:
            return self.dialect.tables(lambda sql: adbc.fetch(self.connection, sql))
        except adbc.ERRORS:
            return ()

    def run(self, sql: str) -> None:
        """Run SQL that gives no rows."""
        try:
            adbc.execute(self.connection, sql)
        except adbc.ERRORS as error:
            raise self._failure(error, "describing the query on") from error

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query without values."""
        return self.rows(Statement((sql,)))

    @contextmanager
    def reading(self) -> Iterator[None]:
        # The file is open for reading only, and each statement sees one state of it.
        yield

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        return self._types.describe(with_literals(statement, self.dialect.bind, self.dialect.literal))

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        sql, values = render(statement, self.dialect.bind)
        try:
            return adbc.fetch(self.connection, sql, values)
        except adbc.ERRORS as error:
            raise self._failure(error, "asking") from error

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        sql, values = render(statement, self.dialect.bind)
        types = [kind for wire in wires for kind in wire.types]
        first = ", ".join(f"{_FIRST[kind]} AS c{at}" for at, kind in enumerate(types))
        try:
            reader, free = adbc.reader_of(
                self.connection,
                f"SELECT {first} UNION ALL {sql}",
                values,
                {"adbc.sqlite.query.batch_rows": str(FEW)},
            )
        except adbc.ERRORS as error:
            raise self._told(error, wires) from error
        reading = _Reading(self, reader, free, wires)
        return RawStream(gathered(reading.batches()), reading.close)

    def _told(self, error: BaseException, wires: Sequence[Wire]) -> SourceError:
        found = re.search(r"Type mismatch in column (\d+): expected \w+ but got ([\w/]+)", str(error))
        if found is None:
            return self._failure(error, "reading from")
        owners = [wire.column for wire in wires for _ in wire.types]
        return _mixed(owners[int(found[1])], floating=found[2] == "DOUBLE")

    def close(self) -> None:
        if self.database is None or self._closed:
            return
        self._closed = True
        try:
            self.connection.close()
            self.database.close()
        except adbc.ERRORS:  # a file needs no farewell
            return


def _mixed(column: Column, *, floating: bool) -> QueryError:
    return QueryError(
        f"column {column.name!r} is declared {column.native}, and holds "
        f"{'a floating point number' if floating else 'text or bytes'}",
        hint=f"mend such rows, or write CAST({column.name} AS TEXT) AS {column.name} in the query",
    )


@dataclass(slots=True)
class _Reading:
    """One SELECT on its way."""

    driver: AdbcSqlite
    reader: pa.RecordBatchReader
    free: Any
    wires: Sequence[Wire]
    done: bool = False

    def batches(self) -> Iterator[Sequence[pa.Array]]:
        first = True
        expected = [(kind, wire.column) for wire in self.wires for kind in wire.types]
        try:
            for columns in adbc.columns_of(self.reader):
                if first:
                    # In its first batch the driver widens a column's type to what it meets there.
                    for column, (kind, owner) in zip(columns, expected, strict=True):
                        if column.type != kind:
                            raise _mixed(owner, floating=column.type == pa.float64())
                yield [column.slice(1) for column in columns] if first else columns
                first = False
        except adbc.ERRORS as error:
            if self.done:
                raise incomplete(f"reading from {self.driver.place}", "the read was stopped") from None
            told = self.driver._told(error, self.wires)  # noqa: SLF001 - one unit
            self.close()
            raise told from error
        if self.done or first:
            raise incomplete(f"reading from {self.driver.place}", "the read was stopped")
        self.close()

    def close(self) -> None:
        if not self.done:
            self.done = True
            self.free()
