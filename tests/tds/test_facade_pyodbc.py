"""pyodbc over msodbcsql18: login, types, parameters, errors, transactions."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from decimal import Decimal

import pyodbc
import pytest
from tds_facade.drivers import msodbcsql

TYPES = {
    "bit": (True, True), "tinyint": (255, 255), "smallint": (-32768, -32768),
    "int": (2147483647, 2147483647), "bigint": (-(2**63), -(2**63)), "real": (1.5, 1.5),
    "float": (0.1, 0.1), "decimal(38,10)": ("1234567890123456789012345678.0123456789",
                                           Decimal("1234567890123456789012345678.0123456789")),
    "numeric(5,2)": ("-123.455", Decimal("-123.46")), "money": ("922337203685477.5807",
                                                              Decimal("922337203685477.5807")),
    "smallmoney": ("-214748.3648", Decimal("-214748.3648")), "char(5)": ("ab", "ab   "),
    "varchar(10)": ("née€", "née€"), "varchar(max)": ("x" * 20_000, "x" * 20_000),
    "nchar(3)": ("ü", "ü  "), "nvarchar(10)": ("日本語", "日本語"),
    "nvarchar(max)": ("é" * 100_000, "é" * 100_000), "binary(4)": (b"ab", b"ab\0\0"),
    "varbinary(10)": (b"\0\xff", b"\0\xff"), "varbinary(max)": (b"z" * 100_000, b"z" * 100_000),
    "date": ("9999-12-31", dt.date(9999, 12, 31)),
    "time(7)": ("23:59:59.1234567", dt.time(23, 59, 59, 123456)),
    "time(0)": ("10:00:00.5", dt.time(10, 0, 1)),
    "datetime": ("2024-01-01 10:00:00.005", dt.datetime(2024, 1, 1, 10, 0, 0, 7000)),
    "smalldatetime": ("2024-01-01 10:00:30", dt.datetime(2024, 1, 1, 10, 1)),
    "datetime2(7)": ("9999-12-31 23:59:59.9999999",
                     dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "datetime2(0)": ("0001-01-01 00:00:00", dt.datetime(1, 1, 1)),
    "datetime2(3)": ("2024-01-01 10:00:00.0035", dt.datetime(2024, 1, 1, 10, 0, 0, 4000)),
    "uniqueidentifier": ("6F9619FF-8B86-D011-B42D-00C04FC964FF",
                         "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
}  # fmt: skip


@pytest.mark.parametrize("declared", TYPES)
def test_type_round_trip_and_null(db, cursor, declared):
    stored, expected = TYPES[declared]
    db.create_table("t", {"id": "int", "x": declared}, [(1, stored), (2, None)])
    rows = cursor.execute("SELECT x FROM t ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [expected, None]


def test_datetimeoffset_and_rowversion(db, connect):
    db.create_table("t", {"o": "datetimeoffset(3)", "v": "rowversion"})
    db.insert("t", [("2024-01-01 10:00:00.123 -05:30",), (None,)])
    connection = connect()
    connection.add_output_converter(-155, lambda raw: raw)
    (value, first), (_, second) = connection.execute("SELECT o, v FROM t ORDER BY v").fetchall()
    # year month day hour minute second nanoseconds, then the offset in hours and minutes
    assert value[:12] == bytes.fromhex("e807010001000a0000000000")
    assert int.from_bytes(value[12:16], "little") == 123_000_000
    assert int.from_bytes(value[16:18], "little", signed=True) == -5
    assert int.from_bytes(second, "big") == int.from_bytes(first, "big") + 1
    db.sql("UPDATE t SET o = NULL WHERE v = ?", bytes(first))
    assert connection.execute("SELECT MAX(v) FROM t").fetchval() > second


def test_metadata(db, cursor):
    db.create_table("t", {"Id": "int not null", "Stamp": "datetime2(3)", "amount": "decimal(9,4)"})
    cursor.execute("SELECT Id, MAX(Stamp) AS Latest, COUNT(*), amount * 2 FROM t GROUP BY Id, amount")
    assert [(d[0], d[1], d[4], d[5], d[6]) for d in cursor.description] == [
        ("Id", int, 10, 0, False), ("Latest", dt.datetime, 23, 3, True), ("", int, 10, 0, True),
        ("", Decimal, 20, 4, True),
    ]  # fmt: skip
    cursor.execute("SELECT * FROM t")
    assert [d[0] for d in cursor.description] == ["Id", "Stamp", "amount"]


BOUND = [
    (1, "int", "int"), (2**40, "bigint", "bigint"), (True, "bit", "bit"), (1.5, "float", "float"),
    (Decimal("-1.50"), "numeric(3,2)", "numeric(3,2)"), ("né", "nvarchar(4)", "nvarchar(4)"),
    ("x" * 5000, "nvarchar(max)", "nvarchar(max)"), (b"ab", "varbinary(2)", "varbinary(2)"),
    (b"a" * 9000, "varbinary(max)", "varbinary(max)"), (dt.date(2024, 2, 29), "date", "date"),
    (dt.datetime(2024, 1, 2, 3, 4, 5, 678901), "datetime2(7)", "datetime2(7)"),
    (uuid.UUID(int=5), "uniqueidentifier", "uniqueidentifier"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "declared", "wire"), BOUND, ids=[b[1] for b in BOUND])
def test_what_pyodbc_binds(server, cursor, value, declared, wire):
    back = cursor.execute("SELECT ?", value).fetchval()
    assert back == (str(value).upper() if isinstance(value, uuid.UUID) else value)
    (param,) = server.queries("SELECT @P1")[-1].params
    assert (param.declared, param.wire_type) == (declared, wire)


def test_null_is_described_by_the_server(server, db, cursor):
    db.create_table("t", {"id": "int", "changed": "datetime2(3)"}, [(1, "2024-01-01")])
    assert cursor.execute("SELECT id FROM t WHERE changed > ?", None).fetchall() == []
    assert any(r.proc == "sp_describe_undeclared_parameters" for r in server.requests)
    (param,) = server.queries("changed >")[-1].params
    assert (param.declared, param.value) == ("datetime2(7)", None)


def test_large_parameters(cursor):
    text, raw = "é" * 3_000_000, bytes(range(256)) * 20_000
    assert cursor.execute("SELECT ?", text).fetchval() == text
    assert cursor.execute("SELECT ?", raw).fetchval() == raw


@pytest.mark.parametrize("fast", [False, True])
def test_executemany(db, cursor, fast):
    db.create_table("t", {"a": "int", "b": "datetime2(3)", "c": "nvarchar(max)", "d": "decimal(9,3)"})
    cursor.fast_executemany = fast
    rows = [(i, dt.datetime(2024, 1, 1, 0, 0, i), "y" * i, Decimal(i) / 8) for i in range(50)]
    cursor.executemany("INSERT INTO t (a, b, c, d) VALUES (?, ?, ?, ?)", rows)
    assert [tuple(r) for r in cursor.execute("SELECT * FROM t ORDER BY a").fetchall()] == rows


def test_several_results(db, cursor):
    db.create_table("t", {"a": "int"}, [(1,), (2,)])
    cursor.execute("SET NOCOUNT ON; SELECT 1 AS x; UPDATE t SET a = a + 1; SELECT a FROM t ORDER BY a")
    assert [tuple(r) for r in cursor.fetchall()] == [(1,)]
    assert cursor.nextset()
    assert cursor.rowcount == 2
    assert cursor.nextset()
    assert [r[0] for r in cursor.fetchall()] == [2, 3]
    assert not cursor.nextset()


ERRORS = [
    ("SELECT * FROM nowhere", 208, "Invalid object name 'nowhere'", "42S02"),
    ("SELECT nothing FROM t", 207, "Invalid column name 'nothing'", "42S22"),
    ("SELECT a FROM t WHERE", 102, "Incorrect syntax near", "42000"),
    ("SELEC a FROM t", 102, "Incorrect syntax near", "42000"),
    ("SELECT CAST(300 AS tinyint)", 8115, "Arithmetic overflow", "22003"),
    ("SELECT a + 2147483647 FROM t", 8115, "Arithmetic overflow", "22003"),
    ("SELECT a / 0 FROM t", 8134, "Divide by zero", "22012"),
    ("SELECT a FROM t WHERE a = 'x'", 245, "Conversion failed", "22018"),
    ("SELECT a FROM t WHERE b > '2024-01-01 00:00:00.1234'", 241, "Conversion failed", "22007"),
    ("SELECT @missing", 137, "Must declare the scalar variable", "42000"),
    ("SELECT a FROM t FOR JSON PATH", 40510, "does not support FOR XML / FOR JSON", "42000"),
    ("MERGE t USING t x ON 1 = 1 WHEN MATCHED THEN DELETE;", 40510, "not support", "42000"),
    ("WHILE 1 = 1 SELECT 1", 40510, "does not support WHILE", "42000"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "number", "text", "state"), ERRORS)
def test_errors(server, db, cursor, sql, number, text, state):
    db.create_table("t", {"a": "int", "b": "datetime"}, [(1, "2024-01-01")])
    with pytest.raises(pyodbc.Error) as caught:
        cursor.execute(sql).fetchall()
    assert caught.value.args[0] == state
    assert text in caught.value.args[1]
    assert f"({number})" in caught.value.args[1]
    assert server.requests[-1].error == number
    assert cursor.execute("SELECT 1").fetchval() == 1


def test_wrong_password_and_database(server):
    for options, number in (({"password": "no"}, 18456), ({"user": "nobody"}, 18456),
                            ({"DATABASE": "elsewhere"}, 4060)):  # fmt: skip
        with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
            pyodbc.connect(server.odbc(msodbcsql(), **options))
    assert [r.error for r in server.requests if r.kind == "login"] == [18456, 18456, 4060]


def test_transactions(db, connect):
    db.create_table("t", {"a": "int"})
    one, two = connect(), connect(autocommit=True)
    one.execute("INSERT INTO t VALUES (1)")
    assert two.execute("SELECT COUNT(*) FROM t").fetchval() == 0
    one.rollback()
    one.execute("INSERT INTO t VALUES (2)")
    assert one.execute("SELECT @@TRANCOUNT").fetchval() == 1
    one.commit()
    assert two.execute("SELECT a FROM t").fetchval() == 2
    assert one.execute("SELECT COUNT(*) FROM t").fetchval() == 1
    db.insert("t", [(3,)])
    assert one.execute("SELECT COUNT(*) FROM t").fetchval() == 2  # READ COMMITTED
    db.sql("DELETE FROM t WHERE a = 3")
    two.execute("SET IMPLICIT_TRANSACTIONS ON")
    two.execute("DELETE FROM t")
    two.execute("IF @@TRANCOUNT > 0 ROLLBACK TRAN")
    assert two.execute("SELECT COUNT(*) FROM t").fetchval() == 1


def test_timeout_cancel_and_early_close(server, db, connect):
    db.create_table("t", {"a": "bigint"})
    db.fill("t", "SELECT i FROM range(300000) r(i)")
    slow = "SELECT SUM(x.a * 1.5 * y.a) FROM t x CROSS JOIN t y"
    connection = connect(autocommit=True)
    connection.timeout = 1
    cursor = connection.cursor()
    with pytest.raises(pyodbc.OperationalError, match="HYT00"):
        cursor.execute(slow)
    connection.timeout = 0
    cursor = connection.cursor()
    timer = threading.Timer(0.5, cursor.cancel)
    timer.start()
    with pytest.raises(pyodbc.Error, match="HY008"):
        cursor.execute(slow)
    timer.join()  # the driver crashes when the cursor is used before SQLCancel has returned
    assert cursor.execute("SELECT a FROM t").fetchone()
    cursor.close()  # the rest is never read: the driver sends an attention
    assert connection.execute("SELECT COUNT(*) FROM t").fetchval() == 300_000
    assert [r.kind for r in server.requests].count("attention") == 3


def test_streams_in_bounded_memory(server, db, cursor):
    db.create_table("t", {"a": "bigint", "b": "nvarchar(200)"})
    db.fill("t", "SELECT i, repeat('x', 200) FROM range(200000) r(i)")
    before = server.peak_memory()
    cursor.execute("SELECT a, b FROM t")
    total = 0
    while rows := cursor.fetchmany(5000):
        total += len(rows)
    assert total == 200_000
    assert server.peak_memory() - before < 60  # the answer is about 80 MiB


def test_batch_statements(db, cursor):
    db.create_table("t", {"a": "int", "d": "datetime2(3)"}, [(1, "2024-01-01"), (2, "2024-06-01")])
    cursor.execute("""
        DECLARE @from datetime2(3) = '2024-03-01', @n int
        SELECT @n = COUNT(*) FROM t WHERE d > @from
        IF @n > 0 BEGIN SELECT a, @n AS n FROM t WHERE d > @from END ELSE SELECT 0
    """)
    while cursor.description is None:
        cursor.nextset()
    assert tuple(cursor.fetchone()) == (2, 1)
