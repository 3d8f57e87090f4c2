"""Any ODBC database through arrow-odbc."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql_server import odbc_keywords
from hwm_magics.core.observed import Column
from hwm_magics.core.statement import Statement
from hwm_magics.errors import SourceError
from hwm_magics.sources import mysql_types
from hwm_magics.sources.descriptions import described
from hwm_magics.sources.dialects import Dialect, dialect_of
from hwm_magics.sources.dialects.postgres import with_natives as postgres_natives
from hwm_magics.sources.dialects.tsql import described as tsql_described
from hwm_magics.sources.dialects.tsql import with_natives as tsql_natives
from hwm_magics.sources.failures import failure, incomplete, lacks_table, not_installed
from hwm_magics.sources.probing import refuse_unreachable
from hwm_magics.sources.rendering import render, with_literals
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.sql_dbapi import PythonDriver, dialect_by_dbms, of_object
from hwm_magics.sources.sqlite_types import SqliteTypes, of_text, texts_of
from hwm_magics.sources.wire import Described, Wire

__all__ = ["OdbcDriver", "connect", "connect_with_token"]

_ROWS = 50_000
_BATCH_BYTES = 32 * 2**20
_TEXT = 64 * 1024
"""The longest text or bytes, where the database names no bound; read.options.max_text_size raises it."""
_CONNECT_SECONDS = 10
_DBMS_NAME = 17
_LOGIN_FAILED = "18456"
_ACCESS_TOKEN = 1256
"""Microsoft's number for the attribute that takes a token."""
# psqlodbc would fetch all rows into memory first, cut texts at 8190 characters, send booleans as text, and
# call a numeric without precision one of 28 digits.
_POSTGRES = {
    "UseDeclareFetch": "1",
    "Fetch": "10000",
    "MaxLongVarcharSize": "0",
    "BoolsAsChar": "0",
    "ByteaAsLongVarBinary": "1",
    "NumericAs": "12",
}
# Both drivers would fetch all rows into memory first, and MariaDB's would log in again without a word.
_MYSQL = {"CHARSET": "utf8mb4", "FORWARDONLY": "1", "NO_CACHE": "1", "AUTO_RECONNECT": "0"}
_USUAL = {"postgres": _POSTGRES, "mysql": _MYSQL}


def connect(
    connection_string: Secret, dialect: str, max_text_size: int | None = None, timezone: str | None = None
) -> OdbcDriver:
    """Connect through the ODBC driver manager.

    Args:
        connection_string: The connection string.
        dialect: The sqlglot dialect; "" to ask the database.
        max_text_size: The longest text or bytes, where the database names no bound.
        timezone: The zone of times without one; None for the session's own.

    Raises:
        LoginError, SourceConnectionError: The database can't be reached, or refuses the user.
        EngineNotInstalledError: The packages are missing.
    """
    try:
        import arrow_odbc
        import pyodbc
    except ImportError as error:
        raise not_installed(str(error.name or "arrow-odbc"), "odbc") from None
    _keep_loaded(arrow_odbc)
    text = connection_string.reveal()
    place = _place(text)
    if dialect == "tsql":
        refuse_unreachable(odbc_keywords(text).get("server", ""), doing=f"connecting to {place}")
    if not dialect:
        try:
            with pyodbc.connect(text, timeout=_CONNECT_SECONDS, autocommit=True) as asked:
                dialect = dialect_by_dbms(str(asked.getinfo(_DBMS_NAME)))
            asked.close()
        except pyodbc.Error as error:
            raise failure(error, doing=f"connecting to {place}", sqlstate=_state(error)) from None
    if dialect in _USUAL:
        text += ("" if text.rstrip().endswith(";") else ";") + "".join(
            f"{key}={value};" for key, value in _USUAL[dialect].items() if key.lower() not in text.lower()
        )
    try:
        connection = arrow_odbc.connect(text, login_timeout_sec=_CONNECT_SECONDS)
    except arrow_odbc.Error as error:
        raise failure(error, doing=f"connecting to {place}", sqlstate=_state(error)) from None
    driver = OdbcDriver(
        connection, dialect_of(dialect, odbc=True), place, Secret.of_address(text), max_text_size or _TEXT
    )
    driver.set_zone(timezone)
    return driver


def connect_with_token(connection_string: Secret, token: Secret) -> PythonDriver:
    """Connect to SQL Server with an access token, which only pyodbc can hand over to the driver.

    Args:
        connection_string: The connection string.
        token: The token.

    Raises:
        LoginError, SourceConnectionError: The database can't be reached, or refuses the token.
        EngineNotInstalledError: The packages are missing.
    """
    try:
        import pyodbc
    except ImportError as error:
        raise not_installed(str(error.name or "pyodbc"), "sqlserver") from None
    place = _place(connection_string.reveal())
    refuse_unreachable(
        odbc_keywords(connection_string.reveal()).get("server", ""), doing=f"connecting to {place}"
    )
    told = token.reveal().encode("utf-16-le")
    try:
        connection = pyodbc.connect(
            connection_string.reveal(),
            attrs_before={_ACCESS_TOKEN: len(told).to_bytes(4, "little") + told},
            timeout=_CONNECT_SECONDS,
            autocommit=True,
        )
    except pyodbc.Error as error:
        hint = "fetch a new access token, they last about an hour" if _LOGIN_FAILED in str(error) else ""
        raise failure(error, doing=f"connecting to {place}", sqlstate=_state(error), hint=hint) from None
    driver = of_object(connection, place, "tsql")
    return replace(driver, finish=connection.close)


def _keep_loaded(arrow_odbc: ModuleType) -> None:
    """Keep arrow-odbc's library loaded to the end of the process.

    Python unloads it when it shuts down, and whatever of its Arrow data is freed after that (by a
    traceback that holds a batch) would end the process with a segmentation fault.
    """
    import ctypes

    for library in Path(str(arrow_odbc.__file__)).parent.glob("arrow_odbc/*arrow_odbc.*"):
        if library.suffix in (".so", ".dylib", ".dll"):
            ctypes.CDLL(str(library))


def _place(text: str) -> str:
    """Server and database of a connection string, or its DSN."""
    told = odbc_keywords(text)
    server = told.get("server") or told.get("servername") or ""
    port = f":{told['port']}" if "port" in told else ""
    database = told.get("database", "")
    return f"{server}{port}/{database}".strip("/") or told.get("dsn") or "the ODBC data source"


def _state(error: BaseException) -> str:
    """The SQLSTATE in an ODBC message, where it tells more than the message."""
    found = re.search(r"State: (\w{5})", str(error)) or re.match(r"\('(\w{5})'", str(error))
    state = found[1] if found else ""
    return (
        state
        if state[:2] in ("08", "28", "3D", "40", "42") and state not in ("42000", "42S02", "42S22")
        else ""
    )


@dataclass(slots=True)
class OdbcDriver:
    """One connection of arrow-odbc.

    Attributes:
        connection: It.
        dialect: What its SQL is like.
        place: Its address for people.
        connection_string: What it was connected with.
        max_text_size: The longest text or bytes, where the database names no bound.
    """

    connection: Any
    dialect: Dialect
    place: str
    connection_string: Secret
    max_text_size: int = _TEXT
    _describing: Any = None
    _types: SqliteTypes = field(init=False)

    def __post_init__(self) -> None:
        self._types = SqliteTypes(self._run, self.ask)

    def _told(self, error: BaseException, doing: str) -> SourceError:
        hint = ""
        if re.search(r"truncat|larger than the|exceeds", str(error), re.IGNORECASE):
            hint = (
                f"texts and bytes of up to {self.max_text_size:,} are read: raise read.options.max_text_size"
            )
        known = self._known_tables() if lacks_table(error) else ()
        return failure(error, doing=f"{doing} {self.place}", sqlstate=_state(error), hint=hint, known=known)

    def _known_tables(self) -> tuple[str, ...]:
        try:
            return self.dialect.tables(self.ask)
        except SourceError:
            return ()

    @contextmanager
    def reading(self) -> Iterator[None]:
        # Each statement stands for itself: arrow-odbc connects with autocommit.
        yield

    def _read(self, sql: str, values: list[str], doing: str, schema: pa.Schema | None = None) -> Any:
        import arrow_odbc

        encoding = (
            arrow_odbc.TextEncoding.UTF16 if self.dialect.name == "tsql" else arrow_odbc.TextEncoding.AUTO
        )
        try:
            return self.connection.read_arrow_batches(
                sql,
                batch_size=_ROWS if schema is not None else 1_000,
                parameters=values or None,
                max_bytes_per_batch=_BATCH_BYTES,
                max_text_size=self.max_text_size,
                max_binary_size=self.max_text_size,
                schema=schema,
                # The next rows on their way while these are being written. Microsoft's driver is known to bear it.
                fetch_concurrently=schema is not None and self.dialect.name == "tsql",
                payload_text_encoding=encoding,
            )
        except arrow_odbc.Error as error:
            raise self._told(error, doing) from error

    def _run(self, sql: str) -> None:
        self._read(sql, [], "describing the query on")

    def set_zone(self, timezone: str | None) -> None:
        """Set the session's zone, None for the one that it has; and keep it from writing."""
        for sql in (self.dialect.set_zone(timezone), self.dialect.read_only()):
            if sql:
                self._run(sql)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query without values."""
        return self.rows(Statement((sql,)))

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        import arrow_odbc

        sql, values = render(statement, self.dialect.bind)
        reader = self._read(sql, values, "asking")
        found: list[tuple[Any, ...]] = []
        try:
            for batch in reader:
                found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        except arrow_odbc.Error as error:
            raise self._told(error, "asking") from error
        return found

    def _literal(self, statement: Statement) -> str:
        return with_literals(statement, self.dialect.bind, self.dialect.literal)

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        name = self.dialect.name
        if name == "sqlite":
            return self._types.describe(self._literal(statement))
        if name == "tsql":
            told = tsql_described(self.ask, self._literal(statement))
            if told is not None:
                return told
        # SQL Server has no WITH in derived tables; a statement of its own is described by being run.
        asked = statement if name == "tsql" else Statement(
            ("SELECT * FROM (\n", *statement.parts, f"\n) {self.dialect.alias} WHERE 1 = 0")
        )  # fmt: skip
        if name == "postgres":
            return postgres_natives(self.ask, self._literal(statement), self._by_pyodbc(asked))
        sql, values = render(asked, self.dialect.bind)
        schema = self._read(sql, values, "describing the query on").schema
        if name == "mysql":
            return mysql_types.by_odbc(schema, self._mixed(statement, mysql_types.odd(schema)))
        found = tuple(Described(each.name, "", each.type, each.nullable) for each in schema)
        return tsql_natives(self.ask, self._literal(statement), found) if name == "tsql" else found

    def _mixed(self, statement: Statement, names: Sequence[str]) -> pa.Schema:
        """What the driver makes of some columns beside a negative number."""
        if not names:
            return pa.schema([])
        quoted = [self.dialect.quote(each) for each in names]
        selected = ", ".join(f"COALESCE({each}, -1) AS {each}" for each in quoted)
        asked = Statement((f"SELECT {selected} FROM (\n", *statement.parts, "\n) AS hwm_wire WHERE 1 = 0"))  # noqa: S608 - quoted
        sql, values = render(asked, self.dialect.bind)
        return self._read(sql, values, "describing the query on").schema

    def _by_pyodbc(self, statement: Statement) -> tuple[Described, ...]:
        """The columns as pyodbc describes them: on a decimal's negative scale arrow-odbc ends the whole process."""
        import pyodbc

        sql, values = render(statement, self.dialect.bind)
        try:
            if self._describing is None:
                self._describing = pyodbc.connect(
                    self.connection_string.reveal(), timeout=_CONNECT_SECONDS, autocommit=True
                )
            cursor = self._describing.execute(sql, values)
            try:
                return described(cursor.description, self.dialect.name)
            finally:
                cursor.close()
        except pyodbc.Error as error:
            raise self._told(error, "describing the query on") from error

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        owners = [(kind, wire.column) for wire in wires for kind in wire.types]
        as_text = self.dialect.name == "sqlite"
        if as_text:
            statement = texts_of(statement, wires)
        schema = pa.schema(
            [(f"c{at}", pa.string() if as_text else kind) for at, (kind, _) in enumerate(owners)]
        )
        sql, values = render(statement, self.dialect.bind)
        counted = self.dialect.name == "tsql"
        reader = self._read(
            f"{sql}\n; SELECT ROWCOUNT_BIG()" if counted else sql, values, "reading from", schema
        )
        reading = _Reading(self, reader, owners if as_text else None, counted)
        return RawStream(reading.batches(), reading.close)

    def close(self) -> None:
        # arrow-odbc closes it when nothing refers to it any more.
        self.connection = None
        if self._describing is not None:
            self._describing.close()
            self._describing = None


@dataclass(slots=True)
class _Reading:
    """One SELECT on its way."""

    driver: OdbcDriver
    reader: Any
    texts: Sequence[tuple[pa.DataType, Column]] | None
    counted: bool
    rows: int = 0

    def batches(self) -> Iterator[Sequence[pa.Array]]:
        import arrow_odbc

        doing = f"reading from {self.driver.place}"
        try:
            while self.reader is not None:
                try:
                    batch = next(self.reader)
                except StopIteration:
                    break
                self.rows += batch.num_rows
                columns = batch.columns
                if self.texts is not None:
                    columns = [of_text(text, *owner) for text, owner in zip(columns, self.texts, strict=True)]
                yield columns
            if self.reader is None:
                raise incomplete(doing, "the read was stopped")
            # A connection that is lost between two rows looks like the end of them.
            if self.counted:
                self._count(doing)
        except arrow_odbc.Error as error:
            raise self.driver._told(error, "reading from") from error  # noqa: SLF001 - one unit
        finally:
            self.close()
        if not self.counted:
            told = self.driver.dialect.name == "mysql"
            try:
                ((answer,),) = self.driver.ask("SELECT FOUND_ROWS()" if told else self.driver.dialect.alive)
            except SourceError as error:
                raise incomplete(doing, f"the connection was lost ({error.message})") from error
            if told and int(answer) != self.rows:
                raise incomplete(doing, f"the server sent {int(answer):,} rows and {self.rows:,} arrived")

    def _count(self, doing: str) -> None:
        more = self.reader.more_results()
        batch = next(self.reader, None) if more else None
        sent = batch.column(0)[0].as_py() if batch is not None and batch.num_rows else None
        if sent != self.rows:
            told = "the server no longer answers" if sent is None else f"the server sent {sent:,}"
            raise incomplete(doing, f"{self.rows:,} rows arrived, and {told}")

    def close(self) -> None:
        self.reader = None
