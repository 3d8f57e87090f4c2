"""What decides an incremental load: how a watermark is bound, and what it is then compared as."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyodbc
import pytest

STAMP = dt.datetime(2024, 1, 1, 10, 0, 0, 3000)  # read back from a datetime of .0033333


@pytest.fixture
def rows(db):
    columns = {"id": "int", "old": "datetime", "ms": "datetime2(3)", "ticks": "datetime2(7)"}
    db.create_table("t", columns, [(1, *["2024-01-01 10:00:00.003"] * 3)])
    db.insert("t", [{"id": 2, "ticks": "2024-01-01 10:00:00.0030005"}])


def ids(cursor, condition, *values):
    sql = f"SELECT id FROM t WHERE {condition} ORDER BY id"
    return [row[0] for row in cursor.execute(sql, *values).fetchall()]


def test_datetime_against_datetime2_finds_the_row_again(rows, cursor):
    assert cursor.execute("SELECT MAX(old) FROM t").fetchval() == STAMP
    assert ids(cursor, "old > ?", STAMP) == [1]  # .0033333 > .0030000
    assert ids(cursor, "old = ?", STAMP) == []
    assert ids(cursor, "old >= ?", STAMP) == [1]


@pytest.mark.parametrize("condition", ["old > CAST(? AS datetime)", "old > CONVERT(datetime, ?)"])
def test_a_cast_to_datetime_compares_as_datetime(rows, cursor, condition):
    assert ids(cursor, condition, STAMP) == []
    assert ids(cursor, condition.replace(">", "="), STAMP) == [1]


def test_a_string_becomes_the_type_of_the_column(rows, server, cursor):
    assert ids(cursor, "old > ?", "2024-01-01 10:00:00.003") == []
    assert server.queries("old >")[-1].params[0].declared == "nvarchar(46)"
    with pytest.raises(pyodbc.DataError, match="241"):  # datetime takes three digits at most
        ids(cursor, "old > ?", "2024-01-01 10:00:00.003000")
    assert ids(cursor, "ticks > ?", "2024-01-01 10:00:00.0030004") == [2]


def test_python_datetimes_lose_the_seventh_digit(rows, cursor):
    read = cursor.execute("SELECT MAX(ticks) FROM t").fetchval()
    assert read == STAMP  # .0030005 cut to .003000
    assert ids(cursor, "ticks > ?", read) == [2]  # found again, for ever


def test_inputsizes_choose_the_scale(rows, server, cursor):
    cursor.setinputsizes([(pyodbc.SQL_TYPE_TIMESTAMP, 23, 3)])
    assert ids(cursor, "ms > ?", STAMP) == []
    param = server.queries("ms >")[-1].params[0]
    assert (param.declared, param.wire_type, param.value) == (
        "datetime2(7)", "datetime2(3)", "2024-01-01 10:00:00.003",
    )  # fmt: skip
    assert ids(cursor, "old > ?", STAMP) == [1]  # no help against a datetime


def test_time_zone_is_dropped(server, cursor):
    zoned = STAMP.replace(tzinfo=dt.timezone(dt.timedelta(hours=5)))
    cursor.execute("SELECT ?", zoned)
    param = server.queries("SELECT @P1")[-1].params[0]
    assert (param.wire_type, param.value) == ("datetime2(7)", "2024-01-01 10:00:00.0030000")


def test_time_loses_its_fraction(server, cursor):
    cursor.execute("SELECT ?", dt.time(1, 2, 3, 456789))
    param = server.queries("SELECT @P1")[-1].params[0]
    assert (param.wire_type, param.value) == ("time(0)", "01:02:03")


def test_decimal_scale_follows_the_value(server, db, cursor):
    db.create_table("t", {"id": "int", "amount": "decimal(12,4)"}, [(1, "10.0001")])
    for value, declared in ((Decimal(10), "numeric(2,0)"), (Decimal("10.00005"), "numeric(7,5)")):
        assert ids(cursor, "amount > ?", value) == [1]
        assert server.queries("amount >")[-1].params[0].declared == declared


def test_rowversion_watermark(db, server, cursor):
    db.create_table("t", {"id": "int", "v": "rowversion"}, [(1,), (2,)])
    mark = cursor.execute("SELECT MAX(v) FROM t").fetchval()
    assert ids(cursor, "v > ?", mark) == []
    db.sql("UPDATE t SET id = 7 WHERE id = 1")
    assert ids(cursor, "v > ?", mark) == [7]
    assert server.queries("v >")[-1].params[0].wire_type == "varbinary(8)"
    assert ids(cursor, "v > CAST(? AS bigint)", int.from_bytes(mark, "big")) == [7]
    assert ids(cursor, "v < MIN_ACTIVE_ROWVERSION()") == [2, 7]


def test_clock(db, server, cursor):
    db.clock = dt.datetime(2024, 6, 1, 12, 0, 0, 5000)
    row = cursor.execute("SELECT GETDATE(), SYSUTCDATETIME(), DATEADD(minute, -5, GETDATE())").fetchone()
    assert row[0] == dt.datetime(2024, 6, 1, 12, 0, 0, 7000)  # 1/300 s
    assert row[1] == dt.datetime(2024, 6, 1, 12, 0, 0, 5000)
    assert row[2] == dt.datetime(2024, 6, 1, 11, 55, 0, 7000)
    db.clock = None


def test_extremes(db, cursor):
    db.create_table("t", {"id": "int", "d": "datetime2(7)"})
    db.insert("t", [(1, "0001-01-01"), (2, "9999-12-31 23:59:59.9999999")])
    assert ids(cursor, "d > ?", dt.datetime(1, 1, 1)) == [2]
    assert ids(cursor, "d < ?", dt.datetime.max) == [1]
    assert ids(cursor, "d >= '1753-01-01'") == [2]
