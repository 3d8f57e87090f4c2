"""What the test server says of itself and refuses, as SQL Server would."""

from __future__ import annotations

import pyodbc
import pytest

DESCRIBE = (
    "SELECT name, system_type_name, is_nullable, error_number "
    "FROM sys.dm_exec_describe_first_result_set(?, NULL, 0)"
)


@pytest.fixture
def every(db):
    db.create_table(
        "t",
        {
            "id": "int not null",
            "d": "date",
            "t": "time(3)",
            "o": "datetimeoffset(7)",
            "r": "real",
            "v": "rowversion",
        },
        [(1, "2024-01-02", "10:00:00.123", "2024-01-02 10:00:00.1234567 +05:30", 0.5)],
    )


def test_a_query_is_described_without_being_run(every, cursor, server):
    text = "SELECT id, d, CAST(1.5 AS decimal(9,2)) AS n, v FROM t; SELECT 1"
    rows = cursor.execute(DESCRIBE.replace("?", f"N'{text}'")).fetchall()
    assert [tuple(row) for row in rows] == [
        ("id", "int", False, None),
        ("d", "date", True, None),
        ("n", "numeric(9,2)", True, None),
        ("v", "timestamp", False, None),
    ]
    (row,) = cursor.execute(DESCRIBE.replace("?", "N'SELECT * FROM nowhere'")).fetchall()
    assert tuple(row) == (None, None, None, 208)


def test_times_as_text_have_their_own_part_alone(every, cursor):
    asked = (
        "CONVERT(varchar(27), d, 121), CONVERT(varchar(27), t, 121), CONVERT(varchar(34), o, 121), "
        "CONVERT(varchar(34), SWITCHOFFSET(o, '+00:00'), 121), CONVERT(varchar(34), SWITCHOFFSET(o, -90), 121)"
    )
    assert tuple(cursor.execute(f"SELECT {asked} FROM t").fetchone()) == (
        "2024-01-02",
        "10:00:00.123",
        "2024-01-02 10:00:00.1234567 +05:30",
        "2024-01-02 04:30:00.1234567 +00:00",
        "2024-01-02 03:00:00.1234567 -01:30",
    )


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("SELECT * FROM (SELECT * FROM t ORDER BY id) AS x", 1033),
        ("WITH x AS (SELECT * FROM t ORDER BY id) SELECT * FROM x", 1033),
        ("SELECT * FROM (WITH x AS (SELECT 1 AS a) SELECT * FROM x) AS y", 156),
    ],
)
def test_what_sql_server_refuses_inside_of_a_query(every, cursor, query, number):
    with pytest.raises(pyodbc.ProgrammingError, match=f"\\({number}\\)"):
        cursor.execute(query)


def test_row_versions_of_open_transactions_are_fenced(every, cursor, connect):
    def fence():
        return cursor.execute("SELECT MIN_ACTIVE_ROWVERSION()").fetchval()

    before = fence()
    other = connect()
    other.execute("INSERT INTO t (id) VALUES (2)")
    cursor.execute("INSERT INTO t (id) VALUES (3)")
    assert fence() == before
    assert cursor.execute("SELECT @@DBTS").fetchval() > before
    other.rollback()
    assert fence() > before


def test_real_is_not_float(cursor):
    cursor.execute("CREATE TABLE f (a real, b float, c float(24))")
    asked = DESCRIBE.replace("?", "N'SELECT * FROM f'")
    assert [row[1] for row in cursor.execute(asked).fetchall()] == ["real", "float", "real"]


def test_rows_that_are_sent_again_are_the_same(db, server, connect):
    db.create_table("big", {"id": "int not null"})
    db.fill("big", "SELECT * FROM range(20000)")
    server.replay()
    cursor = connect(autocommit=True).cursor()
    first = cursor.execute("SELECT id FROM big; SELECT ROWCOUNT_BIG()").fetchall()
    again = cursor.execute("SELECT id FROM big; SELECT ROWCOUNT_BIG()").fetchall()
    assert again == first
    cursor.nextset()
    assert cursor.fetchval() == 20000
