"""SQLite: declared types are held to, whatever the first rows are; mixtures are refused by name."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integration.test_source_ways import SQLITE_WAYS, each, observed, read_all, to_sqlite

from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.core.decided import Window
from hwm_magics.core.specs import CursorSpec, ReadSpec
from hwm_magics.errors import QueryError, SourceConnectionError
from hwm_magics.sources.dialects.sqlite import declared_kind
from hwm_magics.sources.factory import open_source
from hwm_magics.sources.wire import UnmappedError

# Declared type, a value as SQL, Delta's type, the value that arrives.
MAPPING = [
    ("INTEGER", "9223372036854775807", "long", 2**63 - 1),
    ("bigint", "-1", "long", -1),
    ("TINYINT", "5", "long", 5),
    ("BOOLEAN", "1", "boolean", True),
    ("REAL", "0.1", "double", 0.1),
    ("DOUBLE PRECISION", "5", "double", 5.0),
    ("TEXT", "'é 🙂 ''\\'", "string", "é 🙂 '\\"),
    ("VARCHAR(10)", "12", "string", "12"),
    ("BLOB", "x'00ff'", "binary", b"\x00\xff"),
    ("DECIMAL(10,2)", "12.34", "decimal(10,2)", Decimal("12.34")),
    ("NUMERIC(10, 2)", "5", "decimal(10,2)", Decimal("5.00")),
    ("DECIMAL(5)", "123", "decimal(5,0)", Decimal(123)),
    ("DECIMAL(18,0)", "999999999999999999", "decimal(18,0)", Decimal(999999999999999999)),
    ("DATE", "'2024-02-29'", "date", date(2024, 2, 29)),
    ("DATETIME", "'2024-02-29T23:59:59.999999'", "timestamp_ntz", datetime(2024, 2, 29, 23, 59, 59, 999999)),
    ("TIMESTAMP", "'2024-02-29 23:59'", "timestamp_ntz", datetime(2024, 2, 29, 23, 59)),
    ("TIMESTAMP", "'2024-02-29'", "timestamp_ntz", datetime(2024, 2, 29)),
    (
        "TIMESTAMPTZ",
        "'2024-02-29 23:59:59+02:00'",
        "timestamp",
        datetime(2024, 2, 29, 21, 59, 59, tzinfo=UTC),
    ),
    ("TIME", "'23:59'", "string", "23:59"),
    ("JSON", "'{\"a\": 1}'", "string", '{"a": 1}'),
    ("JSON", "5", "string", "5"),
    ("UUID", "'x'", "string", "x"),
    ("", "'free'", "string", "free"),
    ("", "x'01'", "binary", b"\x01"),
]
TABLE = ReadSpec("shop", table="kinds")


def make(path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(sql)


@pytest.fixture
def lite(sqlite_path):
    @contextlib.contextmanager
    def opened(sql: str, read: ReadSpec, way: str = "adbc"):
        make(sqlite_path, sql)
        with to_sqlite(way, sqlite_path) as opens, opens(read) as source:
            yield source

    return opened


@pytest.mark.parametrize("way", each(SQLITE_WAYS))
def test_every_declaration_is_mapped_and_exact(way, sqlite_path, odbc_sqlite):
    columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(MAPPING))
    values = ", ".join(value for _, value, *_ in MAPPING)
    # NULL comes first, since drivers that guess by the first row would guess wrong.
    make(
        sqlite_path,
        f"CREATE TABLE kinds (id INTEGER PRIMARY KEY, {columns}); INSERT INTO kinds (id) VALUES (1);"
        f"INSERT INTO kinds VALUES (2, {values}); INSERT INTO kinds (id) VALUES (3)",
    )
    with to_sqlite(way, sqlite_path, odbc_sqlite) as opens, opens(TABLE) as source:
        state = observed(source, TABLE)
        first, second, third = read_all(source, TABLE).to_pylist()
    assert {column.name: column.type for column in state.columns} == {
        "id": "long",
        **{f"c{n}": kind for n, (_, _, kind, _) in enumerate(MAPPING)},
    }
    wrong = {
        MAPPING[n][0]: second[f"c{n}"]
        for n in range(len(MAPPING))
        if second[f"c{n}"] != MAPPING[n][3] or type(second[f"c{n}"]) is not type(MAPPING[n][3])
    }
    assert wrong == {}
    assert set(first.values()) == {1, None}
    assert set(third.values()) == {3, None}


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("INTEGER", "'five'", "text"),
        ("INTEGER", "1.5", "floating point"),
        ("BOOLEAN", "2", "neither 0 nor 1|'2'"),
        ("REAL", "'five'", "text"),
        ("TEXT", "x'41'", "bytes"),
        ("JSON", "1.5", "floating point"),
        ("BLOB", "x'00'), (3, 'text'", "text"),
        ("DECIMAL(10,2)", "12.345", "12.345"),
        ("DECIMAL(10,2)", "'twelve'", "'twelve'"),
        ("DECIMAL(4,2)", "123", "more than 2 digits"),
        ("DECIMAL(4,2)", "123.5", "123.5"),
        # Sixteen digits: two decimals can't be told apart by their doubles.
        ("DECIMAL(20,2)", "12345678901234.56", "12345678901234.56"),
        ("DATE", "'2024-02-30'", "'2024-02-30'"),
        ("DATE", "20240229", "'20240229'"),
        ("TIMESTAMP", "'yesterday'", "'yesterday'"),
        ("TIMESTAMP", "'2024-02-29 00:00:00Z'", "'2024-02-29 00:00:00Z'"),
        ("TIMESTAMP", "'2024-02-29 00:00:00.1234567'", "1234567"),
        ("TIMESTAMP", "1709164800", "'1709164800'"),
        ("TIMESTAMPTZ", "'2024-02-29 00:00:00'", "'2024-02-29 00:00:00'"),
    ],
)
@pytest.mark.parametrize("way", ["adbc", "sqlite3", "odbc"])
def test_what_does_not_fit_its_declaration_is_named(kind, value, why, way, sqlite_path, odbc_sqlite):
    make(
        sqlite_path, f"CREATE TABLE t (id INTEGER, odd {kind}); INSERT INTO t VALUES (1, NULL), (2, {value})"
    )
    read = ReadSpec("shop", table="t")
    with (
        to_sqlite(way, sqlite_path, odbc_sqlite) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=r"column 'odd'") as refused,
    ):
        read_all(source, read)
    if way == "adbc":
        assert any(word in str(refused.value) for word in why.split("|"))


def test_the_way_out_that_messages_name(lite):
    read = ReadSpec("shop", query="SELECT id, CAST(odd AS TEXT) AS odd FROM t")
    with lite(
        "CREATE TABLE t (id INTEGER, odd TIMESTAMP); INSERT INTO t VALUES (1, 'yesterday'), (2, 5)", read
    ) as source:
        assert read_all(source, read).column("odd").to_pylist() == ["yesterday", "5"]


@pytest.mark.parametrize("name", ["NUMERIC", "DECIMAL", "NUMBER"])
def test_decimals_need_a_precision(name, lite):
    read = ReadSpec("shop", table="t")
    with (
        lite(f"CREATE TABLE t (a {name}, b {name})", read) as source,
        pytest.raises(QueryError, match=r"2 of the query's columns[\s\S]*CAST\(\"b\" AS DECIMAL\(18, 4\)\)"),
    ):
        observed(source, read)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("unsigned big int", "long"),
        ("NATIVE CHARACTER(70)", "string"),
        ("FLOAT", "double"),
        ("nvarchar(100)", "string"),
        ("decimal (12 , 3)", "decimal(12,3)"),
        ("Timestamp(6)", "timestamp_ntz"),
        ("POINT", "long"),
        ("MONEY", ""),
    ],
)
def test_declarations(declared, kind):
    # SQLite finds INT in POINT as well.
    assert declared_kind(declared) == kind


def test_wide_decimals_are_refused():
    with pytest.raises(UnmappedError, match=r"38 digits"):
        declared_kind("DECIMAL(40,2)")


def test_expressions_take_the_type_of_a_cast_or_of_their_values(lite):
    query = (
        "SELECT id, COUNT(*) OVER () AS n, upper(name) AS big, amount * 2 AS twice, "
        "CAST(amount AS DECIMAL(12,3)) AS exact, "
        "CASE WHEN id = 1 THEN NULL ELSE id END AS later FROM t WHERE name <> :nobody -- a comment"
    )
    read = ReadSpec("shop", query=query, params={"nobody": "x"})
    sql = (
        "CREATE TABLE t (id INTEGER, name TEXT, amount DECIMAL(10,2));"
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2.5)"
    )
    with lite(sql, read) as source:
        state = observed(source, read)
        table = read_all(source, read)
    assert [column.type for column in state.columns] == [
        "long",
        "long",
        "string",
        "double",
        "decimal(12,3)",
        "long",
    ]
    assert table.to_pylist()[0] == {
        "id": 1,
        "n": 2,
        "big": "A",
        "twice": 2.0,
        "exact": Decimal("1.000"),
        "later": None,
    }


def test_an_expression_without_values_needs_a_cast(lite):
    read = ReadSpec("shop", query="SELECT id, id + 1 AS next FROM t")
    with (
        lite("CREATE TABLE t (id INTEGER)", read) as source,
        pytest.raises(QueryError, match=r'CAST\("next" AS INTEGER\)'),
    ):
        observed(source, read)


def test_a_later_window_without_rows_keeps_the_types(lite):
    read = ReadSpec("shop", query="SELECT id, id + 1 AS next FROM t", cursor=CursorSpec("id"))
    with lite("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2)", read) as source:
        state = observed(source, read)
        above = state.high.minus(-100)
        assert read_all(source, read, Window(above, above), first_run=False).num_rows == 0


@pytest.mark.parametrize("query", ["SELECT 1 AS a, 2 AS a", 'SELECT 1 AS "a", 2 AS "A"'])
def test_doubled_names_are_refused(query, lite):
    read = ReadSpec("shop", query=query)
    with lite("SELECT 1", read) as source, pytest.raises(QueryError, match=r"more than one column called a"):
        observed(source, read)


def test_text_that_is_not_utf8_is_refused(lite):
    read = ReadSpec("shop", table="t")
    with (
        lite("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'ff41' AS TEXT))", read) as source,
        pytest.raises(QueryError, match=r"'a'.*not UTF-8"),
    ):
        read_all(source, read)


def test_attached_files_are_schemas(sqlite_path, tmp_path):
    other = tmp_path / "erp's.db"
    make(sqlite_path, "CREATE TABLE t (id INTEGER)")
    make(
        other,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, c TIMESTAMP);"
        "INSERT INTO orders VALUES (1, '2024-06-01 00:00:00')",
    )
    connection = SqliteConnection(name="shop", database=str(sqlite_path), attach={"dbo": str(other)})
    read = ReadSpec("shop", table="dbo.orders", cursor=CursorSpec("c"))
    with open_source(connection, read) as source:
        state = observed(source, read, keys=("id",))
        assert read_all(source, read).num_rows == 1
    assert state.unique_keys is True
    with pytest.raises(SourceConnectionError, match=r"is not there"):
        open_source(
            SqliteConnection(name="s", database=str(sqlite_path), attach={"dbo": str(other) + "x"}), read
        )


def test_the_file_is_only_read(sqlite_path):
    make(sqlite_path, "CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)")
    before = sqlite_path.read_bytes()
    read = ReadSpec("shop", table="t", cursor=CursorSpec("id"))
    with open_source(SqliteConnection(name="shop", database=str(sqlite_path)), read) as source:
        observed(source, read)
        read_all(source, read)
        with pytest.raises(QueryError, match=r"readonly"):
            source.driver.run("INSERT INTO t VALUES (2)")
    assert sqlite_path.read_bytes() == before
    assert sorted(path.name for path in sqlite_path.parent.iterdir()) == [sqlite_path.name]


def test_a_memory_database_of_the_notebook(lite):
    from hwm_magics.connections.objects import recognise

    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE t (id INTEGER, d DECIMAL(5,2)); INSERT INTO t VALUES (1, 1.25)")
    read = ReadSpec("db", table="t")
    with open_source(recognise("db", db), read) as source:
        assert read_all(source, read).to_pylist() == [{"id": 1, "d": Decimal("1.25")}]
    db.close()


VALUES = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "r": st.none() | st.floats(allow_nan=False),
        "t": st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
        "b": st.none() | st.binary(max_size=20),
        "n": st.none() | st.decimals(-(10**10), 10**10, places=4),
        "ts": st.none() | st.datetimes(),
    }
)
COLUMNS = ("i", "r", "t", "b", "n", "ts")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["adbc", "sqlite3"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(VALUES, min_size=1, max_size=8))
def test_values_are_those_that_were_written(way, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "v.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE v (i INTEGER, r REAL, t TEXT, b BLOB, n DECIMAL(15,4), ts TIMESTAMP)")
        for row in rows:
            stored = [row[name] for name in COLUMNS]
            stored[4] = None if stored[4] is None else str(stored[4])
            stored[5] = None if stored[5] is None else stored[5].isoformat(sep=" ")
            db.execute("INSERT INTO v VALUES (?, ?, ?, ?, ?, ?)", stored)
        db.commit()
    read = ReadSpec("shop", table="v")
    with to_sqlite(way, path) as opens, opens(read) as source:
        found = [tuple(row.values()) for row in read_all(source, read).to_pylist()]
    wanted = [tuple(row[name] for name in COLUMNS) for row in rows]
    for mine, theirs in zip(found, wanted, strict=True):
        for value, expected in zip(mine, theirs, strict=True):
            assert value == expected or (
                isinstance(value, float) and math.isclose(value, expected, rel_tol=0, abs_tol=0)
            )


def test_batches_beyond_the_first_are_checked_too(lite):
    read = ReadSpec("shop", table="t")
    sql = (
        "CREATE TABLE t (id INTEGER, odd INTEGER); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 100000) INSERT INTO t SELECT i, CASE i WHEN 99999 THEN 'x' ELSE i END FROM n"
    )
    with lite(sql, read) as source, pytest.raises(QueryError, match=r"'odd'.*text"):
        read_all(source, read)
