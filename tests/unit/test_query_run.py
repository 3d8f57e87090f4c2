"""Statements do what they say: carried out by SQLite, DuckDB and PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.decided import Window
from hwm_magics.core.query import SourceQuery, Way, display, prepare, quote
from hwm_magics.core.specs import CursorSpec, ReadSpec, WriteSpec
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import HwmError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import PgDatabase

TIME = CursorType(CursorKind.TIMESTAMP, 6)
INT = CursorType(CursorKind.INTEGER)
TARGET = WriteSpec("lake", path="raw/orders", register_table="raw.orders")
CURSOR = CursorSpec("updated_at")
ROWS = [
    (1, "EU", "2024-06-01 00:00:00", "2024-05-01 00:00:00"),
    (2, "EU", "2024-06-02 00:00:00", "2024-05-01 00:00:00"),
    (3, "US", "2024-06-02 00:00:00", "2024-05-01 00:00:00"),
    (4, "US", "2024-06-03 00:00:00", "2024-05-01 00:00:00"),
    (5, "EU", None, "2024-06-03 00:00:00"),
    (6, "50%", "2024-06-04 00:00:00", "2024-05-01 00:00:00"),
]
SEED = """\
SELECT * FROM dbo.orders 
WHERE updated_at > (
  SELECT COALESCE(MAX(updated_at), '1900-01-01') 
  FROM raw.orders
)
"""  # noqa: W291 - the seed's own text


def time(text: str) -> CursorValue:
    return TIME.value(text)


class Database:
    """One database with the table ``dbo.orders``."""

    def __init__(self, dialect: str, connection: Any) -> None:
        self.dialect = dialect
        self.connection = connection
        if dialect == "sqlite":
            connection.execute("ATTACH ':memory:' AS dbo")
        else:
            connection.execute("CREATE SCHEMA dbo")
        kind = "TEXT" if dialect == "sqlite" else "TIMESTAMP"
        connection.execute(
            f"CREATE TABLE dbo.orders (id INTEGER, region VARCHAR(9), updated_at {kind}, created_at {kind})"
        )
        for row in ROWS:
            values = ", ".join("NULL" if value is None else f"'{value}'" for value in row)
            connection.execute(f"INSERT INTO dbo.orders VALUES ({values})")

    def prepare(self, write: WriteSpec = TARGET, **given: Any) -> SourceQuery:
        return prepare(ReadSpec("source", **given), write, self.dialect)

    def bound(self, param: Param) -> object:
        value = param.value
        if not isinstance(value, CursorValue):
            return value
        if value.type.kind is CursorKind.INTEGER:
            return int(value.text)
        return value.text if self.dialect == "sqlite" else datetime.fromisoformat(value.text)

    def run(self, statement: Statement) -> Any:
        mark = "%s" if self.dialect == "postgres" else "?"
        texts = [
            mark if isinstance(part, Param) else part.replace("%", "%%") if mark == "%s" else part
            for part in statement.parts
        ]
        return self.connection.execute("".join(texts), [self.bound(param) for param in statement.params])

    def rows(self, query: SourceQuery, *, first_run: bool = False, **options: Any) -> list[tuple[Any, ...]]:
        return sorted(self.run(query.rows(first_run=first_run, **options)).fetchall())

    def ids(self, query: SourceQuery, **options: Any) -> list[int]:
        return [row[0] for row in self.rows(query, **options)]

    def probe(self, query: SourceQuery, *expressions: str, first_run: bool = False, **options: Any) -> Any:
        found = self.run(query.probe(expressions, first_run=first_run, **options)).fetchone()
        return tuple(str(value) if isinstance(value, datetime) else value for value in found)


@pytest.fixture
def on_sqlite() -> Iterator[Database]:
    with closing(sqlite3.connect(":memory:")) as connection:
        yield Database("sqlite", connection)


@pytest.fixture
def on_duckdb() -> Iterator[Database]:
    with duckdb.connect() as connection:
        yield Database("duckdb", connection)


@pytest.fixture
def on_postgres(pg_database: PgDatabase) -> Iterator[Database]:
    with pg_database.connect() as connection:
        yield Database("postgres", connection)


@pytest.fixture(params=["on_sqlite", "on_duckdb", pytest.param("on_postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> Database:
    return request.getfixturevalue(request.param)


def test_windows_around_a_table(database):
    query = database.prepare(table="dbo.orders", cursor=CURSOR)
    low, high = time("2024-06-02"), time("2024-06-03")
    assert database.ids(query, window=Window(low, high)) == [2, 3, 4]
    assert database.ids(query, window=Window(low, high, low_inclusive=False)) == [4]
    assert database.ids(query, window=Window(low, None)) == [2, 3, 4, 6]
    assert database.ids(query, window=Window(None, high)) == [1, 2, 3, 4]
    assert database.ids(query, first_run=True, window=Window(None, high), nulls=True) == [1, 2, 3, 4, 5]
    assert database.ids(query, window=Window(low, high), nulls=True) == [2, 3, 4, 5]
    assert database.ids(query) == [1, 2, 3, 4, 5, 6]


def test_windows_around_a_query(database):
    query = database.prepare(query="SELECT * FROM dbo.orders WHERE region <> 'US'; -- 100 %", cursor=CURSOR)
    assert database.ids(query, window=Window(time("2024-06-02"), time("2024-06-04"))) == [2, 6]
    assert database.ids(query, window=Window(None, time("2024-06-02")), nulls=True) == [1, 2, 5]
    top = database.probe(query, "MAX({cursor})", "COUNT(*)", window=Window(time("2024-06-01"), None))
    assert top == ("2024-06-04 00:00:00", 3)


def test_a_fallback_column(database):
    query = database.prepare(table="dbo.orders", cursor=CursorSpec("updated_at", fallback="created_at"))
    assert database.ids(query, window=Window(time("2024-06-03"), None)) == [4, 5, 6]
    assert database.probe(query, "MIN({cursor})") == ("2024-06-01 00:00:00",)


def test_trap_43_a_trailing_comment_a_percent_sign_and_an_or(database):
    text = (
        "-- first :watermark\n"
        "SELECT * FROM dbo.orders WHERE region = '50%' OR region LIKE 'E%' /* ; */ OR region = ';--' -- end %s ? :x ;"
    )
    query = database.prepare(query=text, where="id = 1 OR id = 6 OR id = 5 -- two", cursor=CURSOR)
    assert database.ids(query) == [1, 5, 6]
    assert database.ids(query, window=Window(time("2024-06-02"), None)) == [6]
    query = database.prepare(table="dbo.orders", where="region = 'EU' OR region = 'US' -- %", cursor=CURSOR)
    assert database.ids(query, window=Window(time("2024-06-03"), None)) == [4]


def test_trap_44_a_quoted_cursor_reads_the_column_of_that_spelling(on_postgres):
    on_postgres.connection.execute('CREATE TABLE t ("UpdatedAt" int, updatedat int)')
    on_postgres.connection.execute("INSERT INTO t VALUES (1, 9), (9, 1)")
    query = on_postgres.prepare(table="t", cursor=CursorSpec("UpdatedAt"))
    assert on_postgres.rows(query, window=Window(INT.value(5), None)) == [(9, 1)]
    inferred = on_postgres.prepare(query="SELECT * FROM t WHERE UpdatedAt > :watermark")
    assert on_postgres.probe(inferred, "MAX({cursor})", window=Window(INT.value(0), None)) == (9,)
    assert inferred.cursor.column == "updatedat"


@pytest.mark.parametrize(
    "name", ['a"b', "]", "a]b[c", "`", "'; DROP TABLE dbo.orders; --", "a.b", "%s", ":x", "?", "Ä ß"]
)
def test_odd_names_of_tables_and_columns(database, name):
    if database.dialect == "postgres" and name == "Ä ß":
        database.connection.execute("SET client_encoding TO 'UTF8'")
    quoted = quote(name, database.dialect)
    text = f"CREATE TABLE dbo.{quoted} ({quoted} INTEGER)"
    database.connection.execute(text)
    database.connection.execute(f"INSERT INTO dbo.{quoted} VALUES (1), (2)")
    query = database.prepare(table=f"dbo.{quoted}", columns=(name,), cursor=CursorSpec(name))
    assert database.rows(query, window=Window(INT.value(2), None)) == [(2,)]
    assert database.probe(query, "MAX({cursor})") == (2,)
    wrapped = database.prepare(query=f"SELECT * FROM dbo.{quoted}", cursor=CursorSpec(name))
    assert database.rows(wrapped, window=Window(INT.value(2), None)) == [(2,)]


@pytest.mark.parametrize(
    "value", ["'; DROP TABLE dbo.orders; --", "EU' OR '1'='1", "\\'", "%s", ":watermark", "{target}"]
)
def test_values_are_bound_and_never_pasted(database, value):
    query = database.prepare(
        query="SELECT * FROM dbo.orders WHERE region = :region", params={"region": value}
    )
    assert database.rows(query) == []
    database.connection.execute("UPDATE dbo.orders SET region = 'x'")
    assert len(database.rows(database.prepare(table="dbo.orders"))) == len(ROWS)
    shown = display(query.rows(first_run=False))
    if database.dialect != "postgres" or "%" not in value:
        assert database.connection.execute(shown).fetchall() == []


def test_the_seed_query(database):
    first = WriteSpec(
        "adls", path="raw/orders", register_table="raw.orders", first_run_query="SELECT * FROM dbo.orders"
    )
    query = database.prepare(first, table="dbo.orders", query=SEED)
    assert query.way is Way.TARGET
    assert database.ids(query, first_run=True) == [1, 2, 3, 4, 5, 6]
    assert database.ids(query, values=(Param("target_1", time("2024-06-02")),)) == [4, 6]
    assert database.ids(query, values=(Param("target_1", None),)) == [1, 2, 3, 4, 6]
    derived = database.prepare(query=SEED)
    assert database.ids(derived, first_run=True, values=derived.first_run_values) == [1, 2, 3, 4, 6]
    high = Window(None, time("2024-06-03"))
    assert database.ids(query, window=high, values=(Param("target_1", time("2024-06-01")),)) == [2, 3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM dbo.orders WHERE updated_at > (SELECT MAX(updated_at) FROM {target})",
        "SELECT * FROM dbo.orders o WHERE o.updated_at > (SELECT MAX(t.updated_at) FROM raw.orders t WHERE t.id > 0)",
        """WITH a AS (SELECT * FROM dbo.orders WHERE updated_at > (SELECT MAX(updated_at) FROM "raw"."orders")),
        b AS (SELECT * FROM a) SELECT b.* FROM b ORDER BY id""",
        """SELECT * FROM dbo.orders WHERE region = 'EU' AND updated_at > ((SELECT MAX(updated_at) FROM {target}))
        UNION ALL SELECT * FROM dbo.orders
        WHERE region <> 'EU' AND updated_at > (SELECT MAX(updated_at) FROM {target})""",
        "SELECT * FROM (SELECT * FROM dbo.orders) x WHERE (SELECT MAX(updated_at) FROM {target}) < updated_at -- x",
    ],
)
def test_the_target_is_read_apart(database, text):
    query = database.prepare(query=text)
    values = (Param("target_1", time("2024-06-02")),)
    assert database.ids(query, values=values) == [4, 6]
    assert database.probe(query, "MAX({cursor})", "COUNT(*)", values=values) == ("2024-06-04 00:00:00", 2)
    assert database.rows(query, limit_zero=True, values=values) == []
    target = duckdb.connect()
    target.execute('CREATE TABLE hwm_target ("id" INTEGER, "updated_at" TIMESTAMP)')
    target.execute("INSERT INTO hwm_target VALUES (1, '2024-06-02'), (2, NULL)")
    assert target.execute(query.target_queries[0]).fetchall() == [(datetime(2024, 6, 2),)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("SELECT * FROM dbo.orders WHERE updated_at > :watermark AND updated_at <= :high", [4]),
        ("SELECT * FROM dbo.orders WHERE updated_at >= :watermark AND updated_at <= :high", [2, 3, 4]),
        ("SELECT * FROM dbo.orders WHERE updated_at BETWEEN :watermark AND :high", [2, 3, 4]),
        ("SELECT * FROM dbo.orders WHERE updated_at > :low /* :high */", [4]),
        ("SELECT * FROM dbo.orders WHERE updated_at > :watermark OR updated_at IS NULL", [4, 5]),
        (
            "WITH n AS (SELECT * FROM dbo.orders WHERE updated_at > :watermark) SELECT * FROM n ORDER BY id DESC;",
            [4],
        ),
    ],
)
def test_parameters(database, text, ids):
    query = database.prepare(query=text)
    low = time("2024-06-02")
    assert database.ids(query, window=Window(low, time("2024-06-03"))) == ids
    top = database.probe(query, "MAX({cursor})", window=Window(low, None))
    assert top == ("2024-06-04 00:00:00",)
    assert 6 in database.ids(query, window=Window(low, None))
    described = query.rows(first_run=False, window=Window(low, None), limit_zero=True)
    assert database.run(described).fetchall() == []


def test_limit_zero_describes_the_columns(database):
    query = database.prepare(
        query='SELECT id, region AS "R" FROM dbo.orders ORDER BY id;', cursor=CursorSpec("id")
    )
    result = database.run(query.rows(first_run=False, limit_zero=True))
    assert [column[0] for column in result.description] == ["id", "R"]
    assert result.fetchall() == []


def test_a_projection_around_a_query_and_a_table(database):
    for reading in ({"table": "dbo.orders"}, {"query": "SELECT * FROM dbo.orders -- all"}):
        query = database.prepare(cursor=CURSOR, **reading)
        statement = {
            "projection": ["CAST(id AS VARCHAR(9)) AS id", "region"],
            "window": Window(time("2024-06-04"), None),
        }
        assert database.rows(query, **statement) == [("6", "50%")]


def test_columns_and_where_on_a_query(database):
    query = database.prepare(
        query="SELECT * FROM dbo.orders", where="region = :r OR id = 4", columns=("id",), params={"r": "EU"}
    )
    assert database.rows(query) == [(1,), (2,), (4,), (5,)]
    assert database.probe(query, "COUNT(*)") == (4,)


@pytest.mark.parametrize("name", ["on_duckdb", pytest.param("on_postgres", marks=pytest.mark.server)])
def test_distinct_on_keeps_the_order_that_chooses_its_rows(request, name):
    database = request.getfixturevalue(name)
    text = "SELECT DISTINCT ON (region) * FROM dbo.orders WHERE id < 5 ORDER BY region, updated_at DESC"
    query = database.prepare(query=text, cursor=CURSOR)
    assert database.ids(query, window=Window(time("2024-06-01"), None)) == [2, 4]


def test_dollar_quotes_json_and_slices(on_postgres):
    text = """SELECT id, $$it's :watermark %s ?$$ AS a, E'\\':x' AS b, (ARRAY[id])[1:2] AS c, '12:00'::time
    /* /* :x */ */ FROM dbo.orders WHERE '{"k": 1}'::jsonb ? 'k'
    AND id % 2 = :odd AND updated_at::date > '2024-06-01' -- :x"""
    query = on_postgres.prepare(query=text, params={"odd": 1})
    assert [(row[0], row[1], row[2]) for row in on_postgres.rows(query)] == [
        (3, "it's :watermark %s ?", "':x")
    ]
    wrapped = on_postgres.prepare(query=text, params={"odd": 1}, cursor=CursorSpec("id"))
    assert on_postgres.ids(wrapped, window=Window(INT.value(2), INT.value(4))) == [3]


def test_duckdb_may_begin_with_from(on_duckdb):
    query = on_duckdb.prepare(query="FROM dbo.orders WHERE id > 1", cursor=CURSOR)
    assert on_duckdb.ids(query, window=Window(time("2024-06-04"), None)) == [6]
    query = on_duckdb.prepare(
        query="SELECT {'a':id} AS s, [1, 2, 3][1:2] AS l, id FROM dbo.orders WHERE id = :i", params={"i": 3}
    )
    assert on_duckdb.rows(query) == [({"a": 3}, [1, 2], 3)]


SOURCES = st.sampled_from(
    [
        "dbo.orders",
        "(SELECT * FROM dbo.orders ORDER BY id) AS s",
        "(WITH w AS (SELECT * FROM dbo.orders) SELECT * FROM w) AS s",
        "dbo.orders AS o -- ) comment\n",
        "dbo.orders /* ( ; :watermark {target} */",
    ]
)
CONDITIONS = st.sampled_from(
    [
        "",
        " WHERE id > 1 OR id = 1",
        " WHERE region <> ':watermark; -- ('",
        " WHERE region LIKE '%' -- %",
        " WHERE id IN (SELECT id FROM dbo.orders WHERE id > 2)",
        " WHERE EXISTS (SELECT 1 FROM dbo.orders AS x WHERE x.region = 'EU')",
        " WHERE region = '50%' OR region = 'it''s {target} ?'",
    ]
)
SELECTS = st.builds(
    lambda source, where: f"SELECT id, region, updated_at FROM {source}{where}", SOURCES, CONDITIONS
)
UNIONS = st.builds(
    lambda one, two, word: f"{one}\n{word} {two}", SELECTS, SELECTS, st.sampled_from(["UNION", "UNION ALL"])
)
CTES = st.builds(
    lambda inner: f"WITH a AS (\n{inner}\n), b AS (SELECT * FROM a) SELECT * FROM b", SELECTS | UNIONS
)
ENDS = st.sampled_from(["", ";", " ;; ", "\n-- end", " /* end */;", "\n;-- ;"])
ORDERS = st.sampled_from(
    ["", "\nORDER BY id", "\norder  by 1 DESC, 2", "\nORDER BY id LIMIT 3", "\nLIMIT 99 OFFSET 0"]
)
TEXTS = st.builds(str.__add__, SELECTS | UNIONS | CTES, ORDERS)
BOUNDS = st.none() | st.sampled_from(["2024-06-01", "2024-06-02", "2024-06-03 00:00:00.000001", "2030-01-01"])


@pytest.fixture(scope="module")
def local_databases() -> Iterator[list[Database]]:
    opened = [Database("sqlite", sqlite3.connect(":memory:")), Database("duckdb", duckdb.connect())]
    yield opened
    for database in opened:
        database.connection.close()


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, end=ENDS, low=BOUNDS, high=BOUNDS, inclusive=st.booleans(), nulls=st.booleans())
def test_a_wrapped_query_gives_the_querys_own_rows_in_the_window(
    local_databases, text, end, low, high, inclusive, nulls
):
    window = Window(time(low) if low else None, time(high) if high else None, inclusive)

    def wanted(row: tuple[Any, ...]) -> bool:
        if low is None and high is None:
            return True
        if row[2] is None:
            return nulls
        at = time(str(row[2]))
        above = low is None or at > window.low or (inclusive and at == window.low)
        return above and (high is None or at <= window.high)

    def key(row: tuple[Any, ...]) -> str:
        return str(row)

    for database in local_databases:
        query = database.prepare(query=text + end, cursor=CURSOR)
        raw = database.connection.execute(text).fetchall()
        expected = sorted(filter(wanted, raw), key=key)
        found = database.run(query.rows(first_run=False, window=window, nulls=nulls)).fetchall()
        assert sorted(found, key=key) == expected
        count = database.run(query.probe(("COUNT(*)",), first_run=False, window=window, nulls=nulls))
        assert count.fetchone() == (len(expected),)


@given(
    text=st.text(st.sampled_from(list("aSELCTFROM 1,*()';:-/\"{}[]?%\n#")), max_size=40)
    | st.builds(
        "SELECT {}".format, st.text(st.sampled_from(list("a1,*()';:-/\"{}[]?%\n# FROM")), max_size=30)
    ),
    dialect=st.sampled_from(["postgres", "sqlite", "tsql", "mysql", "oracle", "duckdb"]),
)
def test_any_text_is_read_or_refused_as_ours(text, dialect):
    with suppress(HwmError):
        query = prepare(ReadSpec("s", query=text, cursor=CursorSpec("u")), TARGET, dialect)
        query.rows(first_run=False, window=Window(time("2024-06-01"), None))
