"""PostgreSQL through ADBC: COPY in binary, streamed as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import pyarrow as pa

from hwm_magics.connections.secrets import scrub_url
from hwm_magics.core.statement import Statement
from hwm_magics.errors import SourceConnectionError, SourceError
from hwm_magics.sources import adbc
from hwm_magics.sources.ahead import Ahead
from hwm_magics.sources.dialects.postgres import Postgres, numeric_name
from hwm_magics.sources.failures import failure, incomplete, not_installed
from hwm_magics.sources.rendering import with_literals
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.wire import Described, Wire

if TYPE_CHECKING:
    from adbc_driver_manager import AdbcConnection, AdbcDatabase

__all__ = ["AdbcPostgres", "connect"]

_BATCH_BYTES = 4 * 2**20
"""Larger batches are no faster, and take memory."""
_CONNECT_SECONDS = 10
_NO_SNAPSHOT = ("22023", "42704", "55000")
"""What PostgreSQL answers who names a snapshot that is not there any more: older versions, newer ones, and any whose
holder ends at that moment."""
# For one transaction only: behind a pooler a session's settings would meet the next user.
_BEGIN = (
    "BEGIN TRANSACTION READ ONLY; SET LOCAL IntervalStyle TO postgres; SET LOCAL bytea_output TO hex; "
    "SET LOCAL client_encoding TO UTF8"
)


def connect(uri: str, timezone: str | None = None) -> AdbcPostgres:
    """Connect to a PostgreSQL.

    Args:
        uri: libpq's URL.
        timezone: The session's zone; None for the server's own.

    Raises:
        LoginError, SourceConnectionError: It can't be reached, or refuses the user.
        EngineNotInstalledError: The driver is missing.
    """
    try:
        import adbc_driver_manager
        import adbc_driver_postgresql
    except ImportError:
        raise not_installed("adbc-driver-postgresql", "postgres") from None
    place = place_of(uri)
    database = None
    try:
        # Its only way to say where the library is.
        driver = adbc_driver_postgresql._driver_path()  # noqa: SLF001
        database = adbc_driver_manager.AdbcDatabase(driver=driver, uri=_with_defaults(uri))
        connection = adbc_driver_manager.AdbcConnection(database)
    except adbc_driver_manager.Error as error:
        if database is not None:
            database.close()
        raise failure(error, doing=f"connecting to {place}") from None
    return AdbcPostgres(connection, database, place, timezone)


def _with_defaults(uri: str) -> str:
    """The URL with a time-out and the encoding that Arrow's texts have."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    options.setdefault("connect_timeout", str(_CONNECT_SECONDS))
    options.setdefault("application_name", "hwm_magics")
    options["client_encoding"] = "UTF8"
    return urlunsplit(parts._replace(query=urlencode(options, quote_via=quote)))


def place_of(uri: str) -> str:
    """A URL's host, port and database, without user or password."""
    parts = urlsplit(scrub_url(uri))
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or options.get("host", "localhost")
    return f"{host}{parts.path or ''}"


@dataclass(slots=True)
class AdbcPostgres:
    """One connection to a PostgreSQL.

    Attributes:
        connection: ADBC's connection, which is closed with the source.
        database: What it belongs to, to be closed as well; None for a database that the user opened.
        place: Its address for people.
        timezone: The session's zone; None for the server's own.
        snapshot: The snapshot that its transactions see; "" for one of their own.
    """

    connection: AdbcConnection
    database: AdbcDatabase | None
    place: str
    timezone: str | None = None
    snapshot: str = ""
    dialect: Postgres = field(
        default_factory=lambda: Postgres("postgres", native_arrays=True, packs_decimals=True)
    )
    _inside: bool = False
    _closed: bool = False

    def _failure(self, error: BaseException, doing: str) -> SourceError:
        told: dict[bytes, bytes] = dict(getattr(error, "details", None) or [])
        hint = told.get(b"PG_DIAG_MESSAGE_HINT", b"").decode("utf-8", "replace")
        state = getattr(error, "sqlstate", None) or ""
        known: tuple[str, ...] = ()
        if state == "42P01":
            known = self._tables()
        return failure(
            error,
            doing=f"{doing} {self.place}",
            sqlstate=state,
            hint=hint,
            known=known,
        )

    def _tables(self) -> tuple[str, ...]:
        """Names to suggest, asked after the failed transaction."""
        try:
            self._end("ROLLBACK")
            return self.dialect.tables(lambda sql: adbc.fetch(self.connection, sql))
        except Exception:  # noqa: BLE001 - a suggestion is no reason to hide the error itself
            return ()

    def _begin(self) -> None:
        zone = f"; SET LOCAL TIME ZONE {self.dialect.literal(self.timezone)}" if self.timezone else ""
        try:
            adbc.execute(self.connection, _BEGIN + self._adopted() + zone)
        except adbc.ERRORS as error:
            if self.snapshot and getattr(error, "sqlstate", None) in _NO_SNAPSHOT:
                raise SourceConnectionError(
                    f"reading from {self.place}: the snapshot of all parts is gone, as its connection was lost",
                    hint="run the load again",
                ) from error
            raise self._failure(error, "reading from") from error
        self._inside = True

    def _adopted(self) -> str:
        if not self.snapshot:
            return ""
        snapshot = self.dialect.literal(self.snapshot)
        return f"; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT {snapshot}"

    def interrupt(self) -> None:
        """Have the server cancel the statement that runs; from any thread, before it is closed."""
        with suppress(*adbc.ERRORS):
            self.connection.cancel()

    def _end(self, how: str) -> None:
        if self._inside:
            self._inside = False
            adbc.execute(self.connection, how)

    @contextmanager
    def reading(self) -> Iterator[None]:
        if self._inside:
            yield
            return
        self._begin()
        try:
            yield
        except BaseException:
            self._quietly_end()
            raise
        self._quietly_end()

    def _quietly_end(self) -> None:
        try:
            self._end("ROLLBACK")
        except Exception:  # noqa: BLE001 - nothing was written, and the next statement tells of a lost connection
            self._inside = False

    def _text(self, statement: Statement) -> str:
        return with_literals(statement, self.dialect.bind, self.dialect.literal)

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        try:
            schema = adbc.schema_of(self.connection, self._text(statement))
        except adbc.ERRORS as error:
            raise self._failure(error, "describing the query on") from error
        return tuple(_described(field) for field in schema)

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        try:
            return adbc.fetch(self.connection, self._text(statement))
        except adbc.ERRORS as error:
            raise self._failure(error, "asking") from error

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        del wires  # the driver's own types are what the dialect counts on
        self._begin()
        options = {"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
        try:
            reader, free = adbc.reader_of(self.connection, self._text(statement), options=options)
        except adbc.ERRORS as error:
            told = self._failure(error, "reading from")
            self._quietly_end()
            raise told from error
        reading = _Reading(self, reader, free, Ahead(adbc.columns_of(reader)))
        return RawStream(reading.batches(), reading.close)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self.connection.close()
            if self.database is not None:
                self.database.close()
        except adbc.ERRORS:  # a connection that is lost needs no closing
            return


@dataclass(slots=True)
class _Reading:
    """One COPY on its way."""

    driver: AdbcPostgres
    reader: pa.RecordBatchReader
    free: Any
    ahead: Ahead[Sequence[pa.Array]]
    done: bool = False

    def batches(self) -> Iterator[Sequence[pa.Array]]:
        try:
            yield from self.ahead
        except adbc.ERRORS as error:
            if self.done:
                raise incomplete(f"reading from {self.driver.place}", "the read was stopped") from None
            told = self.driver._failure(error, "reading from")  # noqa: SLF001 - one unit
            self.close()
            raise told from error
        if self.done:
            raise incomplete(f"reading from {self.driver.place}", "the read was stopped")
        # The server said that the COPY is complete; the same session must still be there to say so.
        try:
            adbc.fetch(self.driver.connection, "SELECT 1\n")
        except adbc.ERRORS as error:
            raise self.driver._failure(error, "reading the last rows from") from None  # noqa: SLF001 - one unit
        self.close()

    def close(self) -> None:
        if self.done:
            return
        self.done = True
        try:
            self.ahead.stop()
            self._drain()
        finally:
            self.free()
            self.driver._quietly_end()  # noqa: SLF001 - one unit

    def _drain(self) -> None:
        """Stop a COPY half-way: until the server has said so, the connection serves nothing else."""
        try:
            self.reader.read_next_batch()
            self.driver.connection.cancel()
            while True:
                self.reader.read_next_batch()
        except (StopIteration, *adbc.ERRORS):
            return


def _described(each: pa.Field) -> Described:
    told = each.metadata or {}
    native = told.get(b"POSTGRESQL:type", told.get(b"ADBC:postgresql:typname", b"")).decode()
    if native == "numeric":
        native = numeric_name(int(told.get(b"POSTGRESQL:typmod", b"-1")))
    arrow = each.type.storage_type if isinstance(each.type, pa.BaseExtensionType) else each.type
    return Described(each.name, native, arrow)
