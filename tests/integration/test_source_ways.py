"""The ways to a database, and that each gives the same rows in the same types.

The other tests of sources take :func:`ways_to_postgres` and :func:`ways_to_sqlite` from here.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import psycopg
import pyarrow as pa
import pyodbc
import pytest
import sqlalchemy
from servers import POSTGRES_DRIVER, require_odbc_driver

from hwm_magics.connections.objects import recognise
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import SqlConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import SourceState
from hwm_magics.core.query import prepare
from hwm_magics.core.specs import CursorSpec, ReadSpec, WriteSpec
from hwm_magics.core.statement import Statement
from hwm_magics.sources.base import Source, SourceRequest
from hwm_magics.sources.factory import open_source

WRITE = WriteSpec("lake", path="x")
POSTGRES_WAYS = ["adbc", "url", "sqlalchemy", "odbc", "engine", "psycopg", "adbc object", "pyodbc object"]
SQLITE_WAYS = ["adbc", "sqlalchemy", "odbc", "engine", "sqlite3", "adbc object", "pyodbc object"]

QUICK = frozenset({"adbc", "odbc", "sqlalchemy"})


def each(ways: list[str]) -> list:
    """The ways as parameters, the rarer ones left out of `make quick`."""
    return [way if way in QUICK else pytest.param(way, marks=pytest.mark.slow) for way in ways]


@contextmanager
def to_postgres(way: str, database, timezone: str | None = None) -> Iterator[Callable[[ReadSpec], Source]]:
    """A function that opens a source on a PostgreSQL database in one of the ways."""
    url = database.url
    alchemy = url.replace("postgresql://", "postgresql+psycopg://")
    with contextlib.ExitStack() as cleaning:
        given: object
        if way == "adbc":
            given = PostgresConnection(name="shop", url=Secret.of_address(url), timezone=timezone)
        elif way == "url":
            given = SqlConnection(name="shop", url=Secret.of_address(url), timezone=timezone)
        elif way == "sqlalchemy":
            given = SqlConnection(name="shop", url=Secret.of_address(alchemy), timezone=timezone)
        elif way == "odbc":
            given = OdbcConnection(
                name="shop", connection_string=Secret.of_address(database.odbc), timezone=timezone
            )
        else:
            if way == "engine":
                made = sqlalchemy.create_engine(alchemy)
                cleaning.callback(made.dispose)
            elif way == "psycopg":
                made = cleaning.enter_context(contextlib.closing(psycopg.connect(url)))
            elif way == "adbc object":
                made = cleaning.enter_context(contextlib.closing(adbc_driver_postgresql.dbapi.connect(url)))
            else:
                require_odbc_driver(POSTGRES_DRIVER)
                made = cleaning.enter_context(contextlib.closing(pyodbc.connect(database.odbc)))
            given = recognise("shop", made)
        yield lambda read: open_source(given, read)


@contextmanager
def to_sqlite(way: str, path, odbc: str = "") -> Iterator[Callable[[ReadSpec], Source]]:
    """A function that opens a source on a SQLite file in one of the ways."""
    with contextlib.ExitStack() as cleaning:
        given: object
        if way == "adbc":
            given = SqliteConnection(name="shop", database=str(path))
        elif way == "sqlalchemy":
            given = SqlConnection(name="shop", url=Secret.of_address(f"sqlite:///{path}"))
        elif way == "odbc":
            given = OdbcConnection(name="shop", connection_string=Secret.of_address(odbc))
        else:
            if way == "engine":
                made = sqlalchemy.create_engine(f"sqlite:///{path}")
                cleaning.callback(made.dispose)
            elif way == "sqlite3":
                made = cleaning.enter_context(contextlib.closing(sqlite3.connect(path)))
            elif way == "adbc object":
                made = cleaning.enter_context(contextlib.closing(adbc_driver_sqlite.dbapi.connect(str(path))))
            else:
                made = cleaning.enter_context(contextlib.closing(pyodbc.connect(odbc)))
            given = recognise("shop", made)
        yield lambda read: open_source(given, read)


def request(source: Source, read: ReadSpec, *, first_run: bool = True, **more) -> SourceRequest:
    return SourceRequest(prepare(read, WRITE, source.dialect), first_run, **more)


def observed(source: Source, read: ReadSpec, *, first_run: bool = True, **more) -> SourceState:
    return source.observe(request(source, read, first_run=first_run, **more))


def read_all(
    source: Source, read: ReadSpec, window: Window | None = None, *, first_run: bool = True
) -> pa.Table:
    """The rows that a plan would read, in the way that it does."""
    query = prepare(read, WRITE, source.dialect)
    state = source.observe(SourceRequest(query, first_run, low=window.low if window else None))
    stream = source.open(query.rows(first_run=first_run, window=window, projection=state.projection))
    table = pa.Table.from_batches(stream.batches, stream.schema)
    assert [(column.name, column.type) for column in state.columns] == types_of(stream.schema)
    return table


def types_of(schema: pa.Schema) -> list[tuple[str, str]]:
    from hwm_magics.arrow import columns_of

    return [(column.name, column.type) for column in columns_of(schema)]


@pytest.fixture(params=each(POSTGRES_WAYS))
def pg_way(request, pg_database):
    with to_postgres(request.param, pg_database) as opens:
        yield opens


@pytest.fixture(params=each(SQLITE_WAYS))
def sqlite_way(request, sqlite_path, odbc_sqlite):
    sqlite3.connect(sqlite_path).close()
    with to_sqlite(request.param, sqlite_path, odbc_sqlite) as opens:
        yield opens


ORDERS = """
CREATE TABLE "Orders" (id integer PRIMARY KEY, amount numeric(12,2), note text, updated_at timestamp NOT NULL);
INSERT INTO "Orders" VALUES
  (1, 12.34, '50% off; it''s "new" \\ é', '2024-06-01 12:00:00.000001'),
  (2, NULL, NULL, '2024-06-01 12:00:00.000002'),
  (3, -0.05, '', '2024-06-02 00:00:00.500000'),
  (4, 9999999999.99, 'x', '2999-01-01 00:00:00.000000');
"""
READ = ReadSpec("shop", table="Orders", cursor=CursorSpec("updated_at"))


def test_every_way_to_postgres_gives_the_same(pg_way, pg_database):
    with pg_database.connect() as db:
        db.execute(ORDERS)
        db.execute('CREATE INDEX ON "Orders" (updated_at)')
    with pg_way(READ) as source:
        state = observed(source, READ, keys=("id",))
        low = state.high.minus(timedelta(hours=12, microseconds=499_999))
        later = observed(source, READ, first_run=False, low=low)
        table = read_all(source, READ, Window(low, state.high), first_run=False)
        count = source.scalar(Statement(('SELECT COUNT(*) FROM "Orders"',)))
    assert [(c.name, c.type) for c in state.columns] == [
        ("id", "integer"),
        ("amount", "decimal(12,2)"),
        ("note", "string"),
        ("updated_at", "timestamp_ntz"),
    ]
    assert (state.high.text, state.top.text) == ("2024-06-02 00:00:00.5", "2999-01-01 00:00:00")
    assert (state.nulls, state.future, state.count, state.below, state.unique_keys) == (
        0,
        1,
        None,
        None,
        True,
    )
    assert state.identity.strong.startswith("postgres/")
    assert low.text == "2024-06-01 12:00:00.000001"
    assert (later.count, later.nulls, later.future) == (3, 0, 1)
    assert [row["id"] for row in table.to_pylist()] == [1, 2, 3]
    assert table.to_pylist()[0]["note"] == '50% off; it\'s "new" \\ é'
    assert count == 4


def test_every_way_to_sqlite_gives_the_same(sqlite_way, sqlite_path):
    with contextlib.closing(sqlite3.connect(sqlite_path)) as db:
        db.executescript(ORDERS + 'CREATE INDEX newest ON "Orders" (updated_at);')
    with sqlite_way(READ) as source:
        state = observed(source, READ, keys=("id",))
        low = state.high.minus(timedelta(hours=12, microseconds=499_999))
        later = observed(source, READ, first_run=False, low=low)
        table = read_all(source, READ, Window(low, state.high), first_run=False)
        count = source.scalar(Statement(('SELECT COUNT(*) FROM "Orders"',)))
    assert [(c.name, c.type) for c in state.columns] == [
        ("id", "long"),
        ("amount", "decimal(12,2)"),
        ("note", "string"),
        ("updated_at", "timestamp_ntz"),
    ]
    assert (state.high.text, state.top.text) == ("2024-06-02 00:00:00.5", "2999-01-01 00:00:00")
    assert (state.nulls, state.future, state.count, state.below, state.unique_keys) == (
        0,
        1,
        None,
        None,
        True,
    )
    assert state.identity.strong == ""
    assert (later.count, later.nulls, later.future) == (3, 0, 1)
    assert [row["id"] for row in table.to_pylist()] == [1, 2, 3]
    assert table.to_pylist()[0]["note"] == '50% off; it\'s "new" \\ é'
    assert count == 4


def test_a_percent_sign_needs_no_care(pg_way, pg_database):
    with pg_database.connect() as db:
        db.execute(ORDERS)
    read = ReadSpec(
        "shop",
        query="SELECT id, id % 2 AS odd, note LIKE '50%' AS cheap, updated_at FROM \"Orders\" "
        "WHERE id <> :skip -- 100%",
        params={"skip": 2},
        cursor=CursorSpec("updated_at"),
    )
    with pg_way(read) as source:
        table = read_all(source, read)
    assert table.select(["id", "odd", "cheap"]).to_pylist() == [
        {"id": 1, "odd": 1, "cheap": True},
        {"id": 3, "odd": 1, "cheap": False},
        {"id": 4, "odd": 0, "cheap": False},
    ]


def test_what_the_notebook_made_stays_open(pg_database, sqlite_path):
    with pg_database.connect() as db:
        db.execute(ORDERS)
        given = recognise("db", db)
        with open_source(given, READ) as source:
            read_all(source, READ)
        assert db.execute("SELECT 1").fetchone() == (1,)
    made = sqlite3.connect(sqlite_path)
    made.executescript(ORDERS)
    with open_source(recognise("made", made), READ) as source:
        assert read_all(source, READ).num_rows == 4
    assert made.execute("SELECT 1").fetchone() == (1,)
    assert made.execute("SELECT COUNT(*) FROM sqlite_temp_master").fetchone() == (0,)
    made.close()


def test_no_transaction_stays_open_on_the_users_connection(pg_database):
    with pg_database.connect(autocommit=False) as db:
        db.execute(ORDERS)
        db.commit()
        with open_source(recognise("db", db), READ) as source:
            read_all(source, READ)
        assert db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_the_users_own_transaction_is_left_alone(pg_database):
    with pg_database.connect(autocommit=False) as db:
        db.execute(ORDERS)
        with open_source(recognise("db", db), READ) as source:
            assert read_all(source, READ).num_rows == 4
        assert db.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        db.rollback()
