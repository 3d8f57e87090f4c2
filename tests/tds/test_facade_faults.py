"""Injected faults as pyodbc sees them."""

from __future__ import annotations

import time

import pyodbc
import pytest


@pytest.fixture
def table(db):
    db.create_table("t", {"a": "bigint", "b": "nvarchar(50)"})
    db.fill("t", "SELECT i, 'row ' || i FROM range(20000) r(i)")


def read(cursor):
    rows = []
    try:
        for row in cursor.execute("SELECT a, b FROM t ORDER BY a"):
            rows.append(row)  # noqa: PERF402 - what came before the error counts
    except pyodbc.Error as error:
        return len(rows), error.args[0]
    return len(rows), None


def test_drop_after_rows(server, table, connect):
    server.faults.drop_after_rows(5000)
    cursor = connect().cursor()
    count, state = read(cursor)
    assert 4990 < count <= 5000
    assert state == "08S01"
    assert server.queries("FROM t")[-1].rows == 5000
    assert read(connect().cursor()) == (20_000, None)


def test_drop_with_reset(server, table, connect):
    server.faults.drop_after_rows(5000, reset=True)
    count, state = read(connect().cursor())
    assert count <= 5000
    assert state == "08S01"


def test_drop_waits_for_a_long_enough_result(server, table, connect):
    server.faults.drop_after_rows(5000)
    connection = connect()
    assert connection.execute("SELECT COUNT(*) FROM t").fetchval() == 20_000
    assert read(connection.cursor())[1] == "08S01"


def test_refused_logins(server, table, connect):
    server.faults.refuse_logins(2)
    server.faults.refuse_logins(1, None)
    for _ in range(2):
        with pytest.raises(pyodbc.Error, match=r"\(40613\)"):
            connect()
    with pytest.raises(pyodbc.Error, match="08S01"):
        connect()
    assert read(connect().cursor()) == (20_000, None)


def test_deadlock_victim_loses_its_transaction(server, db, connect):
    db.create_table("t", {"a": "int"})
    connection = connect()
    connection.execute("INSERT INTO t VALUES (1)")
    server.faults.fail_queries(1205, match="select")
    with pytest.raises(pyodbc.Error, match=r"40001.*\(1205\)"):
        connection.execute("SELECT a FROM t")
    assert tuple(connection.execute("SELECT COUNT(*), @@TRANCOUNT FROM t").fetchone()) == (0, 1)


def test_error_between_rows(server, table, cursor):
    server.faults.fail_queries(40613, after_rows=100)
    assert read(cursor) == (100, "42000")
    assert server.queries("FROM t")[-1].error == 40613
    assert read(cursor) == (20_000, None)


def test_repeated_and_custom_error(server, table, cursor):
    server.faults.fail_queries(50001, "out of coffee", times=2)
    for _ in range(2):
        with pytest.raises(pyodbc.Error, match=r"out of coffee \(50001\)"):
            cursor.execute("SELECT 1")
    assert cursor.execute("SELECT 1").fetchval() == 1


def test_slow_packets(server, table, cursor):
    server.faults.delay_packets(0.02)
    started = time.monotonic()
    assert len(cursor.execute("SELECT TOP 3000 a, b FROM t").fetchall()) == 3000
    assert time.monotonic() - started > 0.3


def test_restart(server, table, connect):
    connection = connect()
    assert connection.execute("SELECT 1").fetchval() == 1
    server.disconnect_all()
    with pytest.raises(pyodbc.Error, match="08S01"):
        connection.execute("SELECT 1")
