"""Any PEP 249 connection that the notebook made: its rows as Arrow, by declared types."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from hwm_magics.core.statement import Statement
from hwm_magics.errors import HwmError, SourceError
from hwm_magics.sources.descriptions import described
from hwm_magics.sources.dialects import Dialect, dialect_of
from hwm_magics.sources.dialects.mysql import check_zone
from hwm_magics.sources.dialects.postgres import with_natives as postgres_natives
from hwm_magics.sources.dialects.tsql import described as tsql_described
from hwm_magics.sources.dialects.tsql import with_natives as tsql_natives
from hwm_magics.sources.failures import failure, incomplete, lacks_table
from hwm_magics.sources.fitting import MOST_FETCHED, fetched
from hwm_magics.sources.mysql_types import description_of, leave_the_rest
from hwm_magics.sources.rendering import render, with_literals
from hwm_magics.sources.rows import arrays_of
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.sqlite_types import SqliteTypes, of_text, texts_of
from hwm_magics.sources.wire import Described, Wire

__all__ = ["PythonDriver", "Rows", "of_object"]

_DBMS_NAME = 17
"""ODBC's number for the question which database this is."""
_DBMS = (
    ("microsoft sql", "tsql"),
    ("postgres", "postgres"),
    ("sqlite", "sqlite"),
    ("mysql", "mysql"),
    ("mariadb", "mysql"),
    ("oracle", "oracle"),
    ("duckdb", "duckdb"),
    ("snowflake", "snowflake"),
)


def dialect_by_dbms(name: str) -> str:
    """The sqlglot dialect of a database, by the name that ODBC gives it; "" for plain SQL."""
    lower = name.lower()
    return next((dialect for word, dialect in _DBMS if word in lower), "")


@dataclass(slots=True)
class Rows:
    """A result on its way.

    Attributes:
        description: The cursor's description.
        fetch: Gives the next rows, an empty list at the end.
        close: Frees the cursor.
        forget: Called when the rows can't be had any more, before the cursor is freed.
    """

    description: Sequence[Sequence[Any]]
    fetch: Callable[[int], Sequence[Sequence[Any]]]
    close: Callable[[], None]
    forget: Callable[[], None] = field(default=lambda: None)


@dataclass(slots=True)
class PythonDriver:
    """A connection whose rows are Python values.

    Attributes:
        dialect: What its SQL is like.
        place: Its address for people.
        paramstyle: How its placeholders are written.
        execute: Runs SQL with values; the third argument says whether many rows will come.
        settle: Called when a read ends, whether well or not.
        finish: Closes what was opened for it.
        odbc: Whether ODBC is what it is reached by.
        keep: Commits a setting of the session.
    """

    dialect: Dialect
    place: str
    paramstyle: str
    execute: Callable[[str, list[str], bool], Rows]
    settle: Callable[[], None] = field(default=lambda: None)
    finish: Callable[[], None] = field(default=lambda: None)
    odbc: bool = False
    keep: Callable[[], None] = field(default=lambda: None)
    _types: SqliteTypes = field(init=False)
    _reading: bool = False

    def __post_init__(self) -> None:
        self._types = SqliteTypes(self._run, self.ask)

    def _told(self, error: BaseException, doing: str) -> SourceError:
        state = str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")
        known = self._known_tables() if lacks_table(error) else ()
        hint = self.dialect.advice(error, self.ask)
        return failure(error, doing=f"{doing} {self.place}", sqlstate=state, hint=hint, known=known)

    def _known_tables(self) -> tuple[str, ...]:
        try:
            return self.dialect.tables(self.ask)
        except SourceError:
            return ()

    def _execute(self, sql: str, values: list[str], doing: str, *, many: bool = False) -> Rows:
        try:
            return self.execute(sql, values, many)
        except HwmError:
            raise
        except Exception as error:
            raise self._told(error, doing) from error

    def _fetch(self, rows: Rows, count: int) -> Sequence[Sequence[Any]]:
        try:
            return rows.fetch(count)
        except Exception as error:
            rows.forget()
            raise self._told(error, "reading from") from error

    def _settle(self) -> None:
        # Of a connection that is lost the next statement tells.
        with suppress(Exception):
            self.settle()

    def set_zone(self, timezone: str | None) -> None:
        """Set the zone of a session that is ours, None for the one that it has; and keep it from writing."""
        for sql in (self.dialect.set_zone(timezone), self.dialect.read_only()):
            if sql:
                self._execute(sql, [], "setting up the session of").close()
                self.keep()

    def _run(self, sql: str) -> None:
        self._execute(sql, [], "describing the query on").close()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query without values."""
        return self.rows(Statement((sql,)))

    @contextmanager
    def reading(self) -> Iterator[None]:
        if self._reading:
            yield
            return
        self._reading = True
        try:
            yield
        finally:
            self._reading = False
            self._settle()

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        name = self.dialect.name
        if name == "sqlite":
            return self._types.describe(with_literals(statement, self.dialect.bind, self.dialect.literal))
        if name == "tsql":
            told = tsql_described(self.ask, self._literal(statement))
            if told is not None:
                return told
        found = self._described(statement)
        if name == "postgres":
            return postgres_natives(self.ask, self._literal(statement), found)
        if name == "tsql":
            return tsql_natives(self.ask, self._literal(statement), found)
        if name == "mysql":
            check_zone(self.ask, found)
        return found

    def _literal(self, statement: Statement) -> str:
        return with_literals(statement, self.dialect.bind, self.dialect.literal)

    def _described(self, statement: Statement) -> tuple[Described, ...]:
        # SQL Server has no WITH in derived tables; its cursors describe a statement before its first row.
        if self.dialect.name != "tsql":
            alias = self.dialect.alias
            statement = Statement(("SELECT * FROM (\n", *statement.parts, f"\n) {alias} WHERE 1 = 0"))
        sql, values = render(statement, self.dialect.bind, self.paramstyle)
        rows = self._execute(sql, values, "describing the query on")
        try:
            return described(rows.description, self.dialect.name)
        finally:
            rows.close()

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        sql, values = render(statement, self.dialect.bind, self.paramstyle)
        result = self._execute(sql, values, "asking")
        try:
            found: list[tuple[Any, ...]] = []
            while some := self._fetch(result, MOST_FETCHED):
                found += [tuple(row) for row in some]
            return found
        finally:
            result.close()

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        as_text = self.odbc and self.dialect.name == "sqlite"
        owners = [(kind, wire.column) for wire in wires for kind in wire.types]
        if as_text:
            statement = texts_of(statement, wires)
        sql, values = render(statement, self.dialect.bind, self.paramstyle)
        result = self._execute(sql, values, "reading from", many=True)
        state = {"open": True}

        def close() -> None:
            if state["open"]:
                state["open"] = False
                # A cursor that can't be closed must not hide why the read ended.
                with suppress(Exception):
                    result.close()
                self._settle()

        def fetch(count: int) -> Sequence[Sequence[Any]]:
            return self._fetch(result, count) if state["open"] else ()

        def columns_of(rows: Sequence[Sequence[Any]]) -> Sequence[pa.Array]:
            if not as_text:
                return arrays_of(rows, wires)
            texts = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
            return [of_text(text, *owner) for text, owner in zip(texts, owners, strict=True)]

        def batches() -> Iterator[Sequence[pa.Array]]:
            try:
                yield from fetched(fetch, columns_of)
                if not state["open"]:
                    raise incomplete(f"reading from {self.place}", "the read was stopped")
            finally:
                close()
            # Some drivers take a lost connection for the end: ask whether it is still there.
            self.ask(self.dialect.alive)
            self._settle()

        return RawStream(batches(), close)

    def close(self) -> None:
        self.finish()


def of_object(connection: Any, name: str, dialect: str) -> PythonDriver:
    """A connection of the notebook, which stays open.

    Args:
        connection: The connection.
        name: The variable's name.
        dialect: The sqlglot dialect; "" to ask the connection.
    """
    module = _module(connection)
    if not dialect and hasattr(connection, "getinfo"):
        dialect = dialect_by_dbms(str(connection.getinfo(_DBMS_NAME)))
    style = str(getattr(sys.modules.get(module), "paramstyle", "qmark"))
    idle = _idle(connection)

    def execute(sql: str, values: list[str], many: bool) -> Rows:  # noqa: FBT001 - a callback's signature
        if many and module == "psycopg":
            return _psycopg_stream(connection, sql, values)
        cursor = _cursor(connection, module, many=many)
        if values:
            cursor.execute(sql, values)
        else:
            cursor.execute(sql)
        return Rows(description_of(cursor), cursor.fetchmany, cursor.close, partial(leave_the_rest, cursor))

    def settle() -> None:
        # A transaction that only these reads have begun would stay open: it would hold back the database's cleaning,
        # and where it is a snapshot, show the next load what there was at this one.
        if idle and not _commits_by_itself(connection):
            connection.rollback()

    odbc = module == "pyodbc"
    return PythonDriver(dialect_of(dialect, odbc=odbc), name, style, execute, settle, odbc=odbc)


def _module(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0]


def _cursor(connection: Any, module: str, *, many: bool) -> Any:
    """A cursor that gives tuples, whatever the connection's own do; of many rows those on the way only."""
    if module != "pymysql":
        return connection.cursor()
    from pymysql.cursors import Cursor, SSCursor

    return connection.cursor(SSCursor if many else Cursor)


_IN_TRANSACTION = 1
"""MySQL's bit of the server's status."""


def _idle(connection: Any) -> bool:
    """Whether a connection that would begin a transaction by itself is surely outside of one."""
    status = getattr(getattr(connection, "info", None), "transaction_status", None)  # psycopg
    if status is not None:
        return int(status) == 0
    status = getattr(connection, "server_status", None)  # PyMySQL
    if isinstance(status, int):
        return not status & _IN_TRANSACTION
    return _module(connection) == "oracledb" and not connection.transaction_in_progress


def _commits_by_itself(connection: Any) -> bool:
    told = getattr(connection, "get_autocommit", None)  # PyMySQL, where autocommit is a method that sets it
    return bool(told() if told is not None else connection.autocommit)


def _psycopg_stream(connection: Any, sql: str, values: list[str]) -> Rows:
    """Rows as the server sends them: a plain cursor would hold them all in memory."""
    cursor = connection.cursor()
    rows = cursor.stream(sql, values or None)
    waiting: list[Any] = []

    def fetch(count: int) -> Sequence[Sequence[Any]]:
        some = waiting[:]
        waiting.clear()
        for row in rows:
            some.append(row)
            if len(some) >= count:
                break
        return some

    def close() -> None:
        rows.close()
        cursor.close()

    waiting += fetch(1)
    return Rows(cursor.description or (), fetch, close)
