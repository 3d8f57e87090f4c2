"""MySQL and MariaDB through PyMySQL: values as the server's own texts, which Arrow reads; or rows through ODBC."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hwm_magics.connections.sql import MySqlConnection
from hwm_magics.core.observed import Column
from hwm_magics.core.statement import Statement
from hwm_magics.errors import SourceConnectionError
from hwm_magics.sources.dialects import dialect_of
from hwm_magics.sources.dialects.mysql import MySql, from_text
from hwm_magics.sources.failures import failure, incomplete, not_installed
from hwm_magics.sources.fitting import fetched
from hwm_magics.sources.mysql_types import description_of, leave_the_rest
from hwm_magics.sources.rendering import render
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.sql_dbapi import PythonDriver, Rows
from hwm_magics.sources.wire import Wire

if TYPE_CHECKING:
    from hwm_magics.sources.sql_odbc import OdbcDriver

__all__ = ["MySqlDriver", "connect"]

_CONNECT_SECONDS = 10
# What casts and comparisons depend on, whatever the server's own setting says.
_SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


def connect(connection: MySqlConnection, max_text_size: int | None = None) -> MySqlDriver:
    """Connect.

    Args:
        connection: The connection.
        max_text_size: The longest text or bytes that ODBC takes.

    Raises:
        LoginError, SourceConnectionError: The database can't be reached, or refuses the user.
        EngineNotInstalledError: PyMySQL is not installed.
    """
    try:
        import pymysql
        from pymysql.converters import conversions
        from pymysql.cursors import Cursor, SSCursor
    except ImportError:
        raise not_installed("pymysql", "mysql") from None
    place = f"{connection.host}:{connection.port}/{connection.database}"
    # Decoders have numbers of types as their keys, encoders Python's types: without the former texts stay texts.
    texts = {kind: encode for kind, encode in conversions.items() if not isinstance(kind, int)}
    address = (
        {"unix_socket": connection.host} if connection.host.startswith("/") else {"host": connection.host}
    )
    arguments: dict[str, Any] = {
        **address,
        "port": connection.port,
        "user": connection.username or "",
        "password": connection.password.reveal() if connection.password is not None else "",
        "database": connection.database,
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": _CONNECT_SECONDS,
        "program_name": "hwm_magics",
        "sql_mode": _SQL_MODE,
        "conv": texts,
        **{key: _typed(value) for key, value in connection.revealed_options().items()},
    }
    try:
        arguments |= _encryption(connection)
    except (OSError, ssl.SSLError) as error:
        raise SourceConnectionError(
            f"connecting to {place}: the certificates named by ssl_ca, ssl_cert and ssl_key can't be read ({error})",
            hint="name PEM files that are there",
        ) from None

    def opened() -> Any:
        return pymysql.connect(**arguments)

    try:
        raw = opened()
    except TypeError as error:
        raise SourceConnectionError(
            f"connecting to {place}: {error}", hint="options are the arguments of pymysql.connect"
        ) from None
    except Exception as error:  # noqa: BLE001 - sockets, TLS and the server each have exceptions of their own
        raise failure(
            error, doing=f"connecting to {place}", sqlstate=_state(error), hint=_hint(error)
        ) from None

    def execute(sql: str, values: list[str], many: bool) -> Rows:  # noqa: FBT001 - a callback's signature
        cursor = raw.cursor(SSCursor if many else Cursor)
        cursor.execute(sql, values or None)
        return Rows(description_of(cursor), cursor.fetchmany, cursor.close, partial(leave_the_rest, cursor))

    driver = MySqlDriver(
        dialect_of("mysql"), place, "pyformat", execute, finish=raw.close, connection=raw, opened=opened
    )
    driver.set_zone(connection.timezone)
    if connection.by_odbc is not None:
        try:
            _read_by_odbc(driver, connection, max_text_size)
        except BaseException:
            driver.close()
            raise
    return driver


def _read_by_odbc(driver: MySqlDriver, connection: MySqlConnection, max_text_size: int | None) -> None:
    """Let ODBC read the rows, from the very server that is asked for everything else."""
    from hwm_magics.sources import sql_odbc
    from hwm_magics.sources.odbc_drivers import mysql_driver

    string = connection.odbc(mysql_driver() if connection.by_odbc == "odbc" else str(connection.by_odbc))
    dialect = MySql("mysql", odbc=True)
    rows = sql_odbc.connect(string, "mysql", max_text_size, connection.timezone)
    rows.dialect = driver.dialect = dialect
    driver.rows_by = rows
    one, other = dialect.identity(driver.ask, ""), dialect.identity(rows.ask, "")
    if one != other:
        raise SourceConnectionError(
            f"{driver.place} leads to one server now and to another one then: {one.strong} and {other.strong}",
            hint="name the server itself; or leave out the connection's driver, so that one connection does all",
        )


def _typed(value: str) -> object:
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdigit() else value


def _encryption(connection: MySqlConnection) -> dict[str, Any]:
    """PyMySQL's arguments for a way to encrypt; without any it encrypts where the server can, and checks nothing."""
    mode = connection.encryption
    if mode == "disabled":
        return {"ssl_disabled": True}
    if mode == "preferred":
        return {}
    context = ssl.create_default_context(cafile=connection.ssl_ca)
    # Certificates that MySQL and MariaDB make for themselves lack what RFC 5280 asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    if connection.ssl_cert is not None:
        context.load_cert_chain(connection.ssl_cert, connection.ssl_key)
    return {"ssl": context}


def _state(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _hint(error: BaseException) -> str:
    told = str(error)
    if "SSL is required" in told:
        return "the server has no encryption: set ssl_mode: preferred, where the network may be trusted"
    if "CERTIFICATE_VERIFY_FAILED" in told or "certificate verify failed" in told:
        return "name the file of the authority that signed the server's certificate: ssl_ca on the connection"
    return ""


@dataclass(slots=True)
class MySqlDriver(PythonDriver):
    """One connection of ours.

    Attributes:
        connection: PyMySQL's.
        opened: Opens another one to the same server, to stop a query on this one.
        rows_by: The connection that reads the rows; None for this one.
    """

    connection: Any = None
    opened: Callable[[], Any] = lambda: None
    rows_by: OdbcDriver | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        if self._reading:
            yield
            return
        # One snapshot for the highest value, the counts and the clock.
        self._execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", [], "asking").close()
        self._reading = True
        try:
            yield
        finally:
            self._reading = False
            with suppress(Exception):  # of a connection that is lost the next statement tells
                self.connection.rollback()

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        if self.rows_by is not None:
            return self.rows_by.stream(statement, wires)
        # A mark by which the query is found among those that the server runs.
        mark = f"/* hwm_magics {secrets.token_hex(8)} */"
        sql, values = render(statement, self.dialect.bind, self.paramstyle)
        result = self._execute(f"{mark} {sql}", values, "reading from", many=True)
        reading = _Reading(self, result, wires, mark)
        return RawStream(reading.batches(), reading.close)

    def kill(self, mark: str) -> None:
        """Stop a query: whoever closes its cursor would have to take in all its rows first."""
        with suppress(Exception):  # the user may lack the right: the rows are taken in then
            other = self.opened()
            try:
                cursor = other.cursor()
                # What a proxy calls this connection's number may be that of another one on the server.
                cursor.execute(
                    "SELECT ID FROM INFORMATION_SCHEMA.PROCESSLIST WHERE INFO LIKE %s AND ID <> CONNECTION_ID()",
                    (f"{mark}%",),
                )
                for (number,) in cursor.fetchall():
                    cursor.execute(f"KILL QUERY {int(number)}")
            finally:
                other.close()

    def close(self) -> None:
        if self.rows_by is not None:
            self.rows_by.close()
        self.finish()


@dataclass(slots=True)
class _Reading:
    """One SELECT on its way."""

    driver: MySqlDriver
    result: Rows
    wires: Sequence[Wire]
    mark: str
    done: bool = False

    def batches(self) -> Iterator[Sequence[pa.Array]]:
        driver = self.driver
        owners = [(kind, wire.column) for wire in self.wires for kind in wire.types]

        def fetch(count: int) -> Sequence[Sequence[Any]]:
            return () if self.done else driver._fetch(self.result, count)  # noqa: SLF001 - one unit

        def columns_of(rows: Sequence[Sequence[Any]]) -> Sequence[pa.Array]:
            columns = zip(*rows, strict=True)
            return [_array(values, *owner) for values, owner in zip(columns, owners, strict=True)]

        try:
            yield from fetched(fetch, columns_of)
            if self.done:
                raise incomplete(f"reading from {driver.place}", "the read was stopped")
            self.done = True
            with suppress(Exception):
                self.result.close()
        finally:
            self.close()
        driver.ask(driver.dialect.alive)

    def close(self) -> None:
        if self.done:
            return
        self.done = True
        self.driver.kill(self.mark)
        with suppress(Exception):
            self.result.close()


def _array(values: Sequence[Any], kind: pa.DataType, column: Column) -> pa.Array:
    """Values of one column, from their texts."""
    if pa.types.is_binary(kind):
        return pa.array(values, kind)
    return from_text(pa.array(values, pa.string()), kind, column)
