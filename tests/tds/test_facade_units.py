"""Parts without a driver: rounding, wire values, splitting, translation."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal

import pytest
from tds_facade import Database, SqlError
from tds_facade.batch import If, Statement, parse_parameters, split
from tds_facade.types import encoder, parse_type, read_typed, to_storage, to_text, type_info

VALUES = [
    ("bit", True), ("tinyint", 7), ("bigint", -(2**63)), ("real", 1.5), ("float", -0.1),
    ("decimal(38,4)", Decimal("-9999999999999999999999999999999999.9999")),
    ("money", Decimal("-0.0001")), ("smallmoney", Decimal("1.5")), ("date", dt.date(1, 1, 1)),
    ("varchar(10)", "é"), ("nvarchar(max)", ""), ("varbinary(max)", b"x" * 99),
    ("binary(3)", b"abc"), ("time(4)", "10:00:00.1234"), ("datetime", "1753-01-01 00:00:00.997"),
    ("smalldatetime", "2079-06-06 23:59:00"), ("datetime2(7)", "9999-12-31 23:59:59.9999999"),
    ("datetime2(2)", "0001-01-01 00:00:00.01"),
    ("datetimeoffset(7)", "2024-01-01 00:00:00.1234567 -14:00"),
    ("uniqueidentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "value"), VALUES)
def test_wire_round_trip(declared, value):
    kind = parse_type(declared)
    stored = to_storage(value, kind)
    for item in (stored, None):
        wire = type_info(kind) + encoder(kind)([item])[0]
        assert read_typed(wire, 0) == (kind, item, len(wire))


@pytest.mark.parametrize(("text", "shown", "units"), [
    ("00:00:00.000", "00:00:00.000", 0), ("00:00:00.001", "00:00:00.000", 0),
    ("00:00:00.002", "00:00:00.003", 1), ("00:00:00.004", "00:00:00.003", 1),
    ("00:00:00.005", "00:00:00.007", 2), ("00:00:00.008", "00:00:00.007", 2),
    ("00:00:00.009", "00:00:00.010", 3), ("23:59:59.998", "23:59:59.997", 25_919_999),
])  # fmt: skip
def test_datetime_ticks(text, shown, units):
    kind = parse_type("datetime")
    stored = to_storage(f"2024-01-01 {text}", kind)
    assert to_text(stored, kind) == f"2024-01-01 {shown}"
    assert struct.unpack("<BiI", encoder(kind)([stored])[0])[2] == units
    if units % 3:  # held as 1/300 s expanded to seven digits
        assert to_text(stored, parse_type("datetime2(7)"))[-4:] in ("3333", "6667")


def test_splitting():
    assert split("SET NOCOUNT ON SELECT 1; WITH x AS (SELECT 1 a) SELECT a FROM x") == [
        Statement("SET NOCOUNT ON"), Statement("SELECT 1"),
        Statement("WITH x AS (SELECT 1 a) SELECT a FROM x"),
    ]  # fmt: skip
    text = "IF @@TRANCOUNT > 0 COMMIT TRAN ELSE BEGIN SELECT 1 SELECT 'a;b' END"
    otherwise = [Statement("SELECT 1"), Statement("SELECT 'a;b'")]
    assert split(text) == [If("@@TRANCOUNT > 0", [Statement("COMMIT TRAN")], otherwise)]
    for whole in (
        "INSERT INTO t (a) SELECT 1 UNION ALL SELECT 2",
        "UPDATE t SET a = 1 WHERE b = 2",
        "SELECT CASE WHEN a = 1 THEN 2 ELSE 3 END FROM t",
        "DROP TABLE IF EXISTS t",
    ):
        assert split(whole) == [Statement(whole)]


def test_parameter_declarations():
    declared = parse_parameters("@P1 datetime2,@P2 decimal(9,2) OUTPUT, @n nvarchar(max)")
    assert {k: str(v) for k, v in declared.items()} == {
        "@p1": "datetime2(7)", "@p2": "decimal(9,2)", "@n": "nvarchar(max)",
    }  # fmt: skip


@pytest.fixture(scope="module")
def unit_db():
    db = Database()
    db.create_table("s.t", {"id": "int", "d": "datetime", "d2": "datetime2(7)", "n": "nvarchar(9)"})
    db.insert("s.t", [(1, "2024-01-31 10:00:00.003", "2024-01-31 10:00:00.0000001", "a"), {"id": 2}])
    yield db
    db.close()


@pytest.mark.parametrize(("sql", "expected"), [
    ("SELECT COUNT(*), COUNT(d), SUM(id), AVG(id) FROM s.t", (2, 1, 3, 1)),
    ("SELECT 7 / 2, 7 % 2, 1 + 1.50", (3, 1, Decimal("2.50"))),
    ("SELECT n + 'b' + N'c' FROM s.t WHERE id = 1", ("abc",)),
    ("SELECT ISNULL(n, 'none'), IIF(id = 2, 'two', 'x') FROM s.t WHERE id = 2", ("none", "two")),
    ("SELECT CONVERT(varchar(30), d, 121), CONVERT(char(8), d, 112) FROM s.t WHERE id = 1",
     ("2024-01-31 10:00:00.003", "20240131")),
    ("SELECT CAST(d AS date), DATEDIFF(day, '2024-01-01', d) FROM s.t WHERE id = 1",
     (dt.date(2024, 1, 31), 30)),
    ("SELECT CONVERT(varchar(30), DATEADD(month, 1, d2), 121) FROM s.t WHERE id = 1",
     ("2024-02-29 10:00:00.0000001",)),
    ("SELECT x.m FROM (SELECT MAX(id) AS m FROM s.t) x", (2,)),
    ("WITH c AS (SELECT id, d FROM s.t) SELECT COUNT(*) FROM c WHERE d IS NULL", (1,)),
    ("SELECT TOP 1 id FROM [testdb].[s].[T] WITH (NOLOCK) ORDER BY id DESC", (2,)),
    ("SELECT id FROM s.t ORDER BY id OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY", (2,)),
    ("SELECT OBJECT_ID('s.nope'), DB_NAME(), SCHEMA_NAME()", (None, "testdb", "dbo")),
    ("SELECT DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS WHERE COLUMN_NAME = 'd2'", ("datetime2",)),
])  # fmt: skip
def test_sql(unit_db, sql, expected):
    assert unit_db.sql(sql) == [expected]


@pytest.mark.parametrize(("rows", "number"), [
    ([("x", None, None, None)], 8114), ([(2**31, None, None, None)], 8115),
    ([(1, "1752-12-31", None, None)], 242), ([(1, "nonsense", None, None)], 241),
    ([(1, None, None, "0123456789")], 8152),
])  # fmt: skip
def test_seeding_checks_values(unit_db, rows, number):
    with pytest.raises(SqlError) as caught:
        unit_db.insert("s.t", rows)
    assert caught.value.number == number
