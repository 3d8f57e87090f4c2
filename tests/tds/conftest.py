"""The test server as a client sees it: one process for these tests, emptied for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyodbc
import pytest
from servers import require_odbc_driver
from tds_facade import Database, ServerProcess
from tds_facade.drivers import msodbcsql

pyodbc.pooling = False


@pytest.fixture(scope="session")
def _process() -> Iterator[ServerProcess]:
    require_odbc_driver()
    with ServerProcess() as server:
        yield server


@pytest.fixture
def server(_process: ServerProcess) -> Iterator[ServerProcess]:
    """The server, with no tables, no faults and nothing recorded."""
    _process.disconnect_all()
    _process.clear()
    _process.database.clear()
    return _process


@pytest.fixture
def db(server: ServerProcess) -> Database:
    """Its database, to seed."""
    return server.database


@pytest.fixture
def dsn(server: ServerProcess) -> str:
    """An ODBC connection string for it."""
    return server.odbc(msodbcsql())


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[..., pyodbc.Connection]]:
    """Open pyodbc connections that are closed at the end of the test."""
    opened: list[pyodbc.Connection] = []

    def make(text: str = dsn, **options: Any) -> pyodbc.Connection:
        opened.append(pyodbc.connect(text, timeout=10, **options))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def cursor(connect: Callable[..., pyodbc.Connection]) -> pyodbc.Cursor:
    """A pyodbc cursor in autocommit."""
    return connect(autocommit=True).cursor()
