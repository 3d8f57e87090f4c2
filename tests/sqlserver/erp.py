"""A SQL Server to load from: the one that HWM_TEST_SQLSERVER_URL names, else the test server beside these tests.

Everything that a test puts into it goes through Microsoft's driver as T-SQL, so that one suite serves both.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pyodbc
import pytest
from tds_facade import ServerProcess

from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql_server import SqlServerConnection
from hwm_magics.sources.odbc_drivers import sql_server_driver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pyodbc.pooling = False  # a connection that was closed is to be gone

REAL = os.environ.get("HWM_TEST_SQLSERVER_URL", "")
"""``mssql://user:password@host:port/database?Keyword=value``, the keywords of the driver's connection string."""
PASSWORD = "pA55-w0rd-0f-the-l0ader"
"""Of the test server's user; odd enough to be found wherever it should not be."""


@dataclass(slots=True)
class Erp:
    """A database, and a connection to change it by.

    Attributes:
        settings: The connection as hwm_magics is told of it.
        here: A connection in autocommit mode.
        server: The test server; None where a real one is.
    """

    settings: dict[str, Any]
    here: pyodbc.Connection
    server: ServerProcess | None = None
    _made: list[str] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        """For the driver, password and all."""
        return connection_string(self.settings)

    def connect(self, **options: Any) -> pyodbc.Connection:
        """One more connection; close it."""
        return pyodbc.connect(self.connection_string, timeout=10, **{"autocommit": True, **options})

    def run(self, *statements: str) -> None:
        """Run T-SQL."""
        for statement in statements:
            self.here.execute(statement).close()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        cursor = self.here.execute(sql)
        try:
            return [tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def create(self, table: str, *columns: str) -> None:
        """Create a table that is dropped after the test."""
        self.run(f"DROP TABLE IF EXISTS {table}", f"CREATE TABLE {table} ({', '.join(columns)})")
        self._made.append(table)

    def insert(self, table: str, *rows: Sequence[str], columns: str = "") -> None:
        """Insert rows of T-SQL literals."""
        listed = f" ({columns})" if columns else ""
        values = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
        self.run(f"INSERT INTO {table}{listed} VALUES {values}")

    def close(self) -> None:
        """Drop what was made."""
        try:
            for table in self._made:
                self.run(f"DROP TABLE IF EXISTS {table}")
        finally:
            self.here.close()


def connection_string(settings: dict[str, Any]) -> str:
    """What hwm_magics would say to the driver."""
    told = {key: value for key, value in settings.items() if key != "type"}
    if "password" in told:
        told["password"] = Secret(told["password"])
    return SqlServerConnection(name="erp", **told).odbc(sql_server_driver()).reveal()


def real_settings(url: str) -> dict[str, Any]:
    """The settings of a real server."""
    parts = urlsplit(url)
    return {
        "type": "sql_server",
        "host": parts.hostname,
        "port": parts.port or 1433,
        "database": parts.path.lstrip("/"),
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "options": dict(parse_qsl(parts.query)),
    }


def facade_settings(server: ServerProcess) -> dict[str, Any]:
    """The settings of the test server."""
    return {
        "type": "sql_server",
        "host": "127.0.0.1",
        "port": server.port,
        "database": "testdb",
        "username": "loader",
        "password": PASSWORD,
        "encrypt": "no",
    }


def start(encryption: str = "none") -> ServerProcess:
    """A test server that knows the user `loader`."""
    server = ServerProcess(encryption=encryption)
    server.database.users = {"loader": PASSWORD}
    return server


@contextmanager
def opened(server: ServerProcess | None) -> Iterator[Erp]:
    """The database, with nothing of other tests in it."""
    if server is not None:
        server.disconnect_all()
        server.clear()
        server.database.clear()
        for name, value in {"clock": None, "group_id": None, "read_only": False, "tokens": set()}.items():
            setattr(server.database, name, value)
    settings = facade_settings(server) if server is not None else real_settings(REAL)
    here = pyodbc.connect(connection_string(settings), timeout=10, autocommit=True)
    erp = Erp(settings, here, server)
    try:
        yield erp
    finally:
        erp.close()


def only_the_facade(why: str) -> None:
    """Skip a test that a real server can't be asked for."""
    if REAL:
        pytest.skip(f"a real server can't be told to: {why}")


def unique(name: str) -> str:
    """A table's name that nobody else uses."""
    return f"{name}_{uuid.uuid4().hex[:8]}"
