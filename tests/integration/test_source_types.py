"""Types of PostgreSQL and what becomes of them: exactly, by every way."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integration.test_source_ways import POSTGRES_WAYS, WRITE, each, observed, read_all, to_postgres

from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.core.query import prepare
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import QueryError
from hwm_magics.sources.factory import open_source

# Declared type, a value as SQL, Delta's type, the value that arrives.
MAPPING = [
    ("smallint", "-32768", "short", -32768),
    ("integer", "2147483647", "integer", 2147483647),
    ("bigint", "9007199254740995", "long", 9007199254740995),
    ("numeric(12,2)", "1234567890.50", "decimal(12,2)", Decimal("1234567890.50")),
    ("numeric(38,10)", "1234567890123456789012345678.0123456789", "decimal(38,10)",
     Decimal("1234567890123456789012345678.0123456789")),
    ("numeric(5,-2)", "1234567", "decimal(7,0)", Decimal(1234600)),
    ("numeric(3,5)", "0.00123", "decimal(5,5)", Decimal("0.00123")),
    ("real", "0.1", "float", 0.10000000149011612),
    ("double precision", "0.1", "double", 0.1),
    ("boolean", "true", "boolean", True),
    ("text", "E'a\\nb \\\\ é 🙂'", "string", "a\nb \\ é 🙂"),
    ("varchar(5)", "'abc'", "string", "abc"),
    ("char(5)", "'abc'", "string", "abc  "),
    ("name", "'n'", "string", "n"),
    ('"char"', "'c'", "string", "c"),
    ("bytea", "'\\x00ff'", "binary", b"\x00\xff"),
    ("date", "'2024-02-29'", "date", date(2024, 2, 29)),
    ("timestamp", "'2024-02-29 23:59:59.999999'", "timestamp_ntz", datetime(2024, 2, 29, 23, 59, 59, 999999)),
    ("timestamptz", "'2024-02-29 23:59:59.999999+02'", "timestamp",
     datetime(2024, 2, 29, 21, 59, 59, 999999, tzinfo=UTC)),
    ("time", "'23:59:59.5'", "string", "23:59:59.5"),
    ("timetz", "'23:59:59+02'", "string", "23:59:59+02"),
    ("interval", "'1 month 2 days 3.5 seconds'", "string", "1 mon 2 days 00:00:03.5"),
    ("uuid", "'AAAAAAAA-2222-3333-4444-555555555555'", "string", "aaaaaaaa-2222-3333-4444-555555555555"),
    ("json", "'{\"a\":  1}'", "string", '{"a":  1}'),
    ("jsonb", "'{\"a\":  1.10}'", "string", '{"a": 1.10}'),
    ("xml", "'<a/>'", "string", "<a/>"),
    ("inet", "'10.0.0.1/8'", "string", "10.0.0.1/8"),
    ("cidr", "'10.0.0.0/8'", "string", "10.0.0.0/8"),
    ("macaddr", "'08:00:2b:01:02:03'", "string", "08:00:2b:01:02:03"),
    ("bit(3)", "B'101'", "string", "101"),
    ("bit varying", "B'10'", "string", "10"),
    ("int4range", "'[1,5)'", "string", "[1,5)"),
    ("point", "'(1,2.5)'", "string", "(1,2.5)"),
    ("tsvector", "'a b'", "string", "'a' 'b'"),
    ("oid", "4294967295", "long", 4294967295),
    ("money", "'1234.5'", "decimal(19,2)", Decimal("1234.50")),
    ("mood", "'sad'", "string", "sad"),
    ("positive", "7", "integer", 7),
    ("price", "7.5", "decimal(9,3)", Decimal("7.500")),
    ("pair", "ROW(1, 'x')", "string", "(1,x)"),
    ("integer[]", "'{1,NULL,3}'", "array<integer>", [1, None, 3]),
    ("text[]", "'{a,NULL,\"b,c\"}'", "array<string>", ["a", None, "b,c"]),
    ("float8[]", "'{0.1,NaN,Infinity}'", "array<double>", [0.1, math.nan, math.inf]),
    ("boolean[]", "'{t,f}'", "array<boolean>", [True, False]),
    ("numeric(5,2)[]", "'{1.50,NULL}'", "string", "[1.50, null]"),
    ("uuid[]", "'{aaaaaaaa-2222-3333-4444-555555555555}'", "string", '["aaaaaaaa-2222-3333-4444-555555555555"]'),
    ("timestamp[]", "'{2024-01-01}'", "string", '["2024-01-01T00:00:00"]'),
    ("mood[]", "'{sad}'", "string", '["sad"]'),
    ("regclass", "'pg_catalog.pg_class'", "string", "pg_class"),
]  # fmt: skip
MADE = """
CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN positive AS integer CHECK (value > 0); CREATE DOMAIN price AS numeric(9,3);
"""
TABLE = ReadSpec("shop", table="kinds")


def same(value, wanted) -> bool:
    if isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(same, value, wanted))
    if isinstance(wanted, float):
        return value == wanted or (math.isnan(value) and math.isnan(wanted))
    return type(value) is type(wanted) and value == wanted


@pytest.fixture
def kinds(pg_database):
    columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(MAPPING))
    values = ", ".join(value for _, value, *_ in MAPPING)
    with pg_database.connect() as db:
        db.execute(MADE)
        db.execute(f"CREATE TABLE kinds (id integer PRIMARY KEY, {columns})")
        # NULL comes first, since drivers that guess by the first row would guess wrong.
        db.execute("INSERT INTO kinds (id) VALUES (1)")
        db.execute(f"INSERT INTO kinds VALUES (2, {values})")
        db.execute("INSERT INTO kinds (id) VALUES (3)")
    return pg_database


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_every_type_is_mapped_and_exact(way, kinds):
    with to_postgres(way, kinds) as opens, opens(TABLE) as source:
        state = observed(source, TABLE)
        first, second, third = read_all(source, TABLE).to_pylist()
    assert {column.name: column.type for column in state.columns} == {
        "id": "integer",
        **{f"c{n}": kind for n, (_, _, kind, _) in enumerate(MAPPING)},
    }
    wrong = {
        MAPPING[n][0]: second[f"c{n}"]
        for n in range(len(MAPPING))
        if not same(second[f"c{n}"], MAPPING[n][3])
    }
    assert wrong == {}
    assert set(first.values()) == {1, None}
    assert set(third.values()) == {3, None}


def test_what_changes_a_meaning_stands_in_the_projection(kinds):
    read = ReadSpec("shop", query="SELECT id, c3 AS amount, c22 AS code FROM kinds")
    with to_postgres("adbc", kinds) as opens, opens(read) as source:
        state = observed(source, read)
    assert state.projection == ('"id"', '"amount"', 'CAST("code" AS text) AS "code"')


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_rows_arrive_alike_without_the_projection(way, kinds):
    read = ReadSpec("shop", query="SELECT c22 AS code, c3 AS amount, c36 AS mood FROM kinds WHERE id = 2")
    with to_postgres(way, kinds) as opens, opens(read) as source:
        stream = source.open(prepare(read, WRITE, source.dialect).rows(first_run=True))
        rows = [row for batch in stream.batches for row in batch.to_pylist()]
    assert rows == [
        {"code": "aaaaaaaa-2222-3333-4444-555555555555", "amount": Decimal("1234567890.50"), "mood": "sad"}
    ]


# A pyodbc connection of the user's own calls a numeric without precision one of 28 digits; its values tell.
@pytest.mark.parametrize("way", each([way for way in POSTGRES_WAYS if way != "pyodbc object"]))
def test_columns_without_a_type_are_all_named_with_their_casts(way, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE t (id integer, a numeric, b numeric(50,10), c text)")
    read = ReadSpec("shop", table="t")
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        with pytest.raises(QueryError) as refused:
            observed(source, read)
        told = str(refused.value)
    assert "2 of the query's columns" in told
    assert 'a (numeric): it has no precision; write CAST("a" AS numeric(38,9)) AS "a"' in told
    assert "b (numeric(50,10))" in told
    assert "CAST" in told


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT 1 AS a, 2 AS a", "called a;"),
        ('SELECT 1 AS "a", 2 AS "A"', "called a and A"),
    ],
)
@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_names_that_delta_cannot_tell_apart_are_refused(query, named, way, pg_database):
    read = ReadSpec("shop", query=query)
    with (
        to_postgres(way, pg_database) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=named),
    ):
        observed(source, read)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamp", "'infinity'"),
        ("timestamptz", "'-infinity'"),
        ("date", "'infinity'"),
        ("timestamp", "'0044-03-15 BC'"),
        ("date", "'10000-01-01'"),
    ],
)
def test_dates_beyond_the_calendar_are_refused_and_named(kind, value, pg_database):
    with pg_database.connect() as db:
        db.execute(f"CREATE TABLE t (id integer, until {kind})")
        db.execute(f"INSERT INTO t VALUES (1, '2024-01-01'), (2, {value})")
    read = ReadSpec("shop", table="t")
    with (
        to_postgres("adbc", pg_database) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=r"'until'.*infinite"),
    ):
        read_all(source, read)


@pytest.mark.parametrize("way", ["adbc", "psycopg"])
def test_arrays_of_more_dimensions_are_refused(way, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE t (a integer[])")
        db.execute("INSERT INTO t VALUES ('{1}'), ('{{1,2},{3,4}}')")
    read = ReadSpec("shop", table="t")
    with (
        to_postgres(way, pg_database) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=r"more than one dimension"),
    ):
        read_all(source, read)


@pytest.mark.parametrize("way", ["adbc", "sqlalchemy", "odbc"])
def test_not_a_number_is_no_decimal(way, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE t (a numeric(5,2))")
        db.execute("INSERT INTO t VALUES (1.5), ('NaN')")
    read = ReadSpec("shop", table="t")
    with (
        to_postgres(way, pg_database) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=r"column 'a' holds 'NaN'"),
    ):
        read_all(source, read)


def test_a_database_in_another_encoding(postgres):
    admin = postgres.database("postgres").as_superuser()
    with admin.connect() as db:
        db.execute("DROP DATABASE IF EXISTS latin")
        db.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 OWNER loader")
    try:
        database = postgres.database("latin")
        with database.connect() as db:
            db.execute("CREATE TABLE t (a text)")
            db.execute("INSERT INTO t VALUES ('é')")
        read = ReadSpec("shop", table="t")
        with to_postgres("adbc", database) as opens, opens(read) as source:
            assert read_all(source, read).to_pylist() == [{"a": "é"}]
    finally:
        with admin.connect() as db:
            db.execute("DROP DATABASE latin WITH (FORCE)")


COLUMNS = ("i", "n", "f", "t", "b", "d", "ts", "tz", "o", "u", "a")
VALUES = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "n": st.none() | st.decimals(-(10**20), 10**20, places=9),
        "f": st.none() | st.floats(),
        "t": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
        "b": st.none() | st.binary(max_size=30),
        "d": st.none() | st.dates(),
        "ts": st.none() | st.datetimes(),
        "tz": st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
        "o": st.none() | st.booleans(),
        "u": st.none() | st.uuids(),
        "a": st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=4),
    }
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=1, max_size=8))
def test_values_are_those_that_psycopg_reads(pg_database, rows):
    read = ReadSpec("shop", table="v")
    with pg_database.connect() as db:
        db.execute("SET TIME ZONE 'UTC'")
        db.execute("DROP TABLE IF EXISTS v")
        db.execute(
            "CREATE TABLE v (i bigint, n numeric(38,9), f float8, t text, b bytea, d date, ts timestamp, "
            "tz timestamptz, o boolean, u uuid, a integer[])"
        )
        marks = ", ".join(f"%({name})s" for name in COLUMNS)
        for row in rows:
            db.execute(f"INSERT INTO v VALUES ({marks})", row)
        wanted = db.execute("SELECT i, n, f, t, b, d, ts, tz, o, CAST(u AS text), a FROM v").fetchall()
    connection = PostgresConnection(name="shop", url=Secret.of_address(pg_database.url))
    with open_source(connection, read) as source:
        found = [tuple(row.values()) for row in read_all(source, read).to_pylist()]
    assert [repr(row) for row in map(plain, found)] == [repr(row) for row in map(plain, wanted)]


def plain(row):
    """A row whose zones are all the same object, as their names differ by library."""
    return tuple(
        value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not None else value
        for value in row
    )


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_many_decimals_of_many_scales_keep_their_columns_and_nulls(way, pg_database):
    with pg_database.connect() as db:
        db.execute(
            "CREATE TABLE many (id integer, a numeric(15,2), b numeric(9,3), c numeric(15,2), d numeric(10,0), "
            'e numeric(10,0), f numeric(30,3), "g ""h" numeric(3,3))'
        )
        db.execute(
            "INSERT INTO many SELECT n, CASE WHEN n % 7 > 0 THEN -n / 100.0 END, n / 1000.0, n * 1.01, n, "
            "CASE WHEN n % 5 > 0 THEN n - 1500 END, n * 1e20, n % 10 / 1000.0 FROM generate_series(1, 3000) n"
        )
        names = [c.name for c in db.execute("SELECT * FROM many").description]
        wanted = [dict(zip(names, row, strict=True)) for row in db.execute("SELECT * FROM many ORDER BY id")]
    read = ReadSpec("shop", table="many")
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        observed(source, read)
        found = read_all(source, read).sort_by("id")
    assert found.to_pylist() == wanted
    assert [str(field.type) for field in found.schema if pa.types.is_decimal(field.type)] == [
        "decimal128(15, 2)", "decimal128(9, 3)", "decimal128(15, 2)", "decimal128(10, 0)", "decimal128(10, 0)",
        "decimal128(30, 3)", "decimal128(3, 3)",
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [2, 3000])
def test_a_decimal_that_is_no_number_is_named_among_others(rows, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE odd (id integer, good numeric(9,2), bad numeric(9,2))")
        db.execute(
            "INSERT INTO odd SELECT n, n, CASE WHEN n = 2 THEN 'NaN' ELSE n::numeric END "
            f"FROM generate_series(1, {rows}) n"
        )
    read = ReadSpec("shop", table="odd")
    with to_postgres("adbc", pg_database) as opens, opens(read) as source:
        observed(source, read)
        with pytest.raises(QueryError, match=r"'bad' holds 'NaN', which is no value of decimal\(9,2\)"):
            read_all(source, read)
