"""Cursor columns: which are refused, what the clock caps, what is counted."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from integration.test_source_ways import WRITE, observed, read_all, request, to_postgres, to_sqlite

from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.core.cursor import CursorKind, CursorType, TextForm
from hwm_magics.core.decided import Window
from hwm_magics.core.query import Way, prepare
from hwm_magics.core.specs import CursorSpec, FuturePolicy, ReadSpec, WriteSpec
from hwm_magics.core.statement import Param
from hwm_magics.errors import CursorColumnError, QueryError
from hwm_magics.sources.base import SourceRequest
from hwm_magics.sources.factory import open_source


@pytest.fixture
def pg(pg_database):
    """Runs SQL, and gives a source."""

    @contextlib.contextmanager
    def make(sql: str, read: ReadSpec, *, timezone: str | None = None):
        with pg_database.connect() as db:
            db.execute(sql)
        with to_postgres("adbc", pg_database, timezone) as opens, opens(read) as source:
            yield source

    return make


@pytest.fixture
def lite(sqlite_path):
    """Runs SQL, and gives a source."""

    @contextlib.contextmanager
    def make(sql: str, read: ReadSpec):
        with contextlib.closing(sqlite3.connect(sqlite_path)) as db:
            db.executescript(sql)
        with to_sqlite("adbc", sqlite_path) as opens, opens(read) as source:
            yield source

    return make


def on(column: str, table: str = "t", **more) -> ReadSpec:
    return ReadSpec("shop", table=table, cursor=CursorSpec(column, **more))


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("real", "0.1", "floating point"),
        ("double precision", "0.1", "floating point"),
        ("uuid", "gen_random_uuid()", "random ids"),
        ("time", "'12:00'", "time of day"),
        ("interval", "'1 day'", "duration"),
        ("boolean", "true", "two values"),
        ("json", "'1'", "documents"),
        ("jsonb", "'1'", "documents"),
        ("bytea", "'x'", "bytes"),
        ("integer[]", "'{1}'", "documents and lists"),
        ("inet", "'10.0.0.1'", "order nothing"),
    ],
)
def test_postgres_types_that_are_no_cursors(kind, value, why, pg):
    with (
        pg(f"CREATE TABLE t (c {kind}); INSERT INTO t VALUES ({value})", on("c")) as source,
        pytest.raises(CursorColumnError, match=f"'c' .*can't be the cursor.*{why}"),
    ):
        observed(source, on("c"))


@pytest.mark.parametrize(
    ("kind", "values", "why"),
    [
        ("text", ["'9/1/2024'", "'10/1/2024'"], "not ISO-8601"),
        ("text", ["'2024-06-01 00:00:00'", "'2024-06-01T00:00:01'"], "both"),
        ("text", ["'2024-06-01 00:00:00+01:00'", "'2024-06-01 00:00:01+02:00'"], "both"),
        ("text", ["'2024-06-01 00:00:00'", "'2024-06-01 00:00:01.5'"], "both"),
        (
            "text",
            ["'2024-06-01 00:00:00'", "'2024-06-01 0x:00:00'", "'2024-06-01 10:00:00'"],
            "1 of its values",
        ),
        ("text", ["'2024-06-01'", "'2024-6-01 '", "'2024-06-02'"], "1 of its values|both|ISO"),
        ("timestamp", ["'2024-06-01'", "'infinity'"], "'infinity'"),
        ("date", ["'2024-06-01'", "'infinity'"], "'infinity'"),
        ("numeric(10,2)", ["1", "'NaN'"], "'NaN'"),
    ],
)
def test_values_that_do_not_order(kind, values, why, pg):
    rows = ", ".join(f"({value})" for value in values)
    with (
        pg(f"CREATE TABLE t (c {kind}); INSERT INTO t VALUES {rows}", on("c")) as source,
        pytest.raises(CursorColumnError, match=why),
    ):
        observed(source, on("c"))


def test_a_bad_text_above_the_low_bound_is_found_later_too(pg):
    low = CursorType(CursorKind.TEXT, form=TextForm(" ", 0)).value("2024-06-02 00:00:00")
    sql = (
        "CREATE TABLE t (c text); INSERT INTO t VALUES ('2024-06-01 00:00:00'), ('2024-06-03 00:00:00'), "
        "('2024-06-02T23:00:00'), ('2024-06-03 01:00:00')"
    )
    with (
        pg(sql, on("c")) as source,
        pytest.raises(CursorColumnError, match=r"have not the form"),
    ):
        observed(source, on("c"), first_run=False, low=low)


@pytest.mark.parametrize(
    ("kind", "values", "why"),
    [
        ("integer", "(1), ('5x')", "storage class text"),
        ("integer", "(1), (2.5)", "storage class real"),
        ("timestamp", "('2024-06-01 00:00:00'), (1717200000)", "storage class integer"),
        ("text", "('2024-06-01 00:00:00'), (x'00')", "storage class blob"),
        ("timestamp", "('2024-06-01 00:00:00'), ('2024-06-01T00:00:00')", "both"),
        ("timestamp", "('2024-06-01 00:00:00'), ('yesterday')", "not ISO-8601"),
        ("real", "(1.5)", "floating point"),
        ("boolean", "(1)", "two values"),
        ("blob", "(x'00')", "bytes"),
        ("json", "('{}')", "documents"),
    ],
)
def test_sqlite_cursors_that_are_refused(kind, values, why, lite):
    with (
        lite(f"CREATE TABLE t (c {kind}); INSERT INTO t VALUES {values}", on("c")) as source,
        pytest.raises(CursorColumnError, match=why),
    ):
        observed(source, on("c"))


def test_a_column_that_is_not_there_is_named_with_its_near_miss(pg):
    with (
        pg("CREATE TABLE t (id integer, updated_at timestamp)", on("update_at")) as source,
        pytest.raises(QueryError, match=r"'update_at' is not among.*\n.*did you mean 'updated_at'"),
    ):
        observed(source, on("update_at"))


def test_a_fallback_of_another_kind_is_refused(pg):
    read = on("a", fallback="b")
    with (
        pg("CREATE TABLE t (a timestamp, b timestamptz)", read) as source,
        pytest.raises(CursorColumnError, match=r"'a' is timestamp without.*'b' is timestamp with"),
    ):
        observed(source, read)


@pytest.mark.parametrize(
    ("kind", "value", "cursor", "text"),
    [
        ("smallint", "7", CursorKind.INTEGER, "7"),
        ("bigint", "9007199254740995", CursorKind.INTEGER, "9007199254740995"),
        ("numeric(38,2)", "12345678901234567890.10", CursorKind.DECIMAL, "12345678901234567890.1"),
        ("date", "'2024-06-01'", CursorKind.DATE, "2024-06-01"),
        ("timestamp", "'2024-06-01 00:00:00.000001'", CursorKind.TIMESTAMP, "2024-06-01 00:00:00.000001"),
        ("timestamptz", "'2024-06-01 00:00:00.5+02'", CursorKind.TIMESTAMP_TZ, "2024-05-31 22:00:00.5"),
        ("text", "'2024-06-01T00:00:00Z'", CursorKind.TEXT, "2024-06-01T00:00:00Z"),
        ("varchar(30)", "'2024-06-01 00:00'", CursorKind.TEXT, "2024-06-01 00:00"),
    ],
)
def test_highest_values_are_exact(kind, value, cursor, text, pg):
    with pg(f"CREATE TABLE t (c {kind}); INSERT INTO t VALUES ({value})", on("c")) as source:
        state = observed(source, on("c"))
        table = read_all(source, on("c"), Window(state.high, state.high))
    assert (state.cursor_type.kind, state.high.text, state.top.text) == (cursor, text, text)
    assert table.num_rows == 1
    assert (state.now is not None) == state.cursor_type.is_time
    if state.now is not None:
        assert state.now.comparable(state.high)


def near(value, moment: datetime) -> bool:
    """Whether a clock's text is that of this machine's clock, which the server shares."""
    found = datetime.fromisoformat(value.text[:26].removesuffix("Z"))
    return abs(found - moment.replace(tzinfo=None)) < timedelta(minutes=5)


@pytest.mark.parametrize(("zone", "hours"), [(None, 0), ("UTC", 0), ("Asia/Tokyo", 9)])
def test_the_clock_is_read_in_the_columns_own_zone(zone, hours, pg):
    sql = (
        "CREATE TABLE t (naive timestamp, zoned timestamptz, day date, told text);"
        "INSERT INTO t (told) VALUES ('2024-06-01T00:00:00Z')"
    )
    now = datetime.now(UTC)
    with pg(sql, on("naive"), timezone=zone) as source:
        source.read = on("naive")
        assert near(observed(source, on("naive")).now, now + timedelta(hours=hours))
        assert near(observed(source, on("zoned")).now, now)
        assert near(observed(source, on("told")).now, now)
        assert len(observed(source, on("day")).now.text) == 10


@pytest.mark.parametrize("way", ["adbc", "odbc", "sqlalchemy"])
def test_the_session_has_the_connections_zone(way, pg_database):
    read = ReadSpec("shop", query="SELECT CAST(current_setting('TimeZone') AS text) AS z")
    with to_postgres(way, pg_database, "Asia/Tokyo") as opens, opens(read) as source:
        assert read_all(source, read).to_pylist() == [{"z": "Asia/Tokyo"}]
        assert read_all(source, read).to_pylist() == [{"z": "Asia/Tokyo"}]


@pytest.mark.parametrize("way", ["adbc", "odbc", "sqlalchemy"])
def test_a_zone_that_there_is_not_is_refused(way, pg_database):
    read = ReadSpec("shop", query="SELECT 1 AS one")
    with (
        pytest.raises(QueryError, match="Nowhere/City"),
        to_postgres(way, pg_database, "Nowhere/City") as opens,
        opens(read) as source,
    ):
        observed(source, read)


def test_sqlites_clock_in_a_connections_zone(sqlite_path):
    with contextlib.closing(sqlite3.connect(sqlite_path)) as db:
        db.executescript("CREATE TABLE t (c timestamp); INSERT INTO t VALUES ('2024-06-01 00:00:00')")
    connection = SqliteConnection(name="shop", database=str(sqlite_path), timezone="Asia/Tokyo")
    with open_source(connection, on("c")) as source:
        assert near(observed(source, on("c")).now, datetime.now(UTC) + timedelta(hours=9))


def test_sqlites_clock_reaches_to_the_end_of_its_millisecond(lite):
    sql = "CREATE TABLE t (c timestamp); INSERT INTO t VALUES ('2024-06-01 00:00:00.123456')"
    with lite(sql, on("c")) as source:
        assert observed(source, on("c")).now.text.endswith("999")


FUTURE = """
CREATE TABLE t (id integer PRIMARY KEY, c timestamptz);
INSERT INTO t VALUES (1, now() - interval '2 hours'), (2, now() - interval '1 minute'), (3, now() + interval '1 day'),
  (4, '2999-01-01'), (5, NULL);
"""


@pytest.mark.parametrize("index", ["", "CREATE INDEX ON t (c);"])
def test_rows_dated_after_the_clock_wait(index, pg):
    with pg(FUTURE + index, on("c")) as source:
        state = observed(source, on("c"))
    assert state.future == 2
    assert state.top.text == "2999-01-01 00:00:00"
    assert state.high < state.now < state.top
    assert state.nulls == 1


def test_settle_holds_young_rows_back(pg):
    with pg(FUTURE, on("c", settle=timedelta(hours=1))) as source:
        state = observed(source, on("c", settle=timedelta(hours=1)))
    assert state.now.distance(state.high) > timedelta(hours=1)
    assert state.future == 2


@pytest.mark.parametrize("index", ["", "CREATE INDEX ON t (c);"])
def test_the_lowest_value_is_exact_and_asked_for_only_where_chunks_need_it(index, pg):
    sql = """
    CREATE TABLE t (c timestamptz);
    INSERT INTO t VALUES ('2024-01-01 00:00:00.000001+00'), ('2024-01-01 00:00:00.000002+00'),
      ('2024-06-01 00:00:00.999999+00'), (NULL), ('2999-01-01');
    """

    def exact(text):
        return CursorType(CursorKind.TIMESTAMP_TZ, 6).value(text)

    with pg(sql + index, on("c")) as source:
        query = prepare(on("c"), WRITE, source.dialect)
        assert observed(source, on("c")).lowest is None
        first = source.observe(SourceRequest(query, first_run=True, lowest=True))
        assert (first.lowest.text, first.high.text) == (
            "2024-01-01 00:00:00.000001",
            "2024-06-01 00:00:00.999999",
        )
        begun = source.observe(
            SourceRequest(query, first_run=True, lowest=True, initial_value="2024-01-01 00:00:00.000002")
        )
        assert begun.lowest.text == "2024-01-01 00:00:00.000002"

        def above(text):
            request = SourceRequest(query, first_run=True, low=exact(text), goal=first.high)
            return source.observe(request)

        state = above("2024-01-01 00:00:00.000001")
        assert state.lowest.text == "2024-01-01 00:00:00.000002"
        assert (state.high, state.top, state.nulls, state.columns) == (None, None, None, first.columns)
        assert above("2024-01-01 00:00:00.000002").lowest == first.high
        assert above("2024-06-01 00:00:00.999999").lowest is None


def test_accepted_future_rows_are_no_bound(pg):
    read = on("c", future=FuturePolicy.ACCEPT)
    with pg(FUTURE, read) as source:
        state = observed(source, read)
    assert state.high == state.top
    assert state.future == 2


def test_all_new_rows_in_the_future(pg):
    low = CursorType(CursorKind.TIMESTAMP_TZ, 6).value("2998-01-01 00:00:00+00:00")
    with pg(FUTURE + "CREATE INDEX ON t (c);", on("c")) as source:
        state = observed(source, on("c"), first_run=False, low=low)
    assert (state.high, state.future) == (None, 2)
    assert state.top.text.startswith("2999")


def test_nothing_above_the_low_bound(pg):
    low = CursorType(CursorKind.TIMESTAMP_TZ, 6).value("3000-01-01 00:00:00+00:00")
    with pg(FUTURE + "CREATE INDEX ON t (c);", on("c")) as source:
        state = observed(source, on("c"), first_run=False, low=low)
    assert (state.high, state.top, state.count, state.nulls) == (None, None, 0, 1)
    assert state.below.text == "2999-01-01 00:00:00"


def test_an_empty_table(pg):
    with pg("CREATE TABLE t (c timestamp)", on("c")) as source:
        state = observed(source, on("c"))
    assert (state.high, state.top, state.below, state.nulls, state.future) == (None, None, None, 0, 0)


def test_counting_needs_an_index(pg):
    low = CursorType(CursorKind.INTEGER).value(3)
    sql = (
        "CREATE TABLE t (id integer, n integer); INSERT INTO t SELECT i, i FROM generate_series(1, 10) AS i;"
    )
    with pg(sql + "CREATE INDEX ON t (n)", on("n")) as source:
        assert observed(source, on("n"), first_run=False, low=low).count == 8
        assert observed(source, on("id"), first_run=False, low=low).count is None


def test_a_scan_of_a_large_table_is_warned_of(pg):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hwm_magics.sources.observing._LARGE", 10)
        sql = "CREATE TABLE t (n integer); INSERT INTO t SELECT generate_series(1, 100); ANALYZE t"
        with pg(sql, on("n")) as source:
            assert "no index begins with n" in observed(source, on("n")).warnings[0]


def test_a_fallback_column(pg):
    read = on("a", fallback="b")
    sql = (
        "CREATE TABLE t (a timestamp, b timestamp NOT NULL);"
        "INSERT INTO t VALUES (NULL, '2024-06-02'), ('2024-06-01', '2020-01-01')"
    )
    with pg(sql, read) as source:
        state = observed(source, read)
        table = read_all(source, read, Window(state.high, state.high))
    assert (state.high.text, state.nulls) == ("2024-06-02 00:00:00", 0)
    assert table.num_rows == 1


def test_texts_of_another_form_by_date_format(pg):
    read = on("c", date_format="%d.%m.%Y %H:%M")
    sql = "CREATE TABLE t (c text); INSERT INTO t VALUES ('01.12.2023 10:00'), ('02.01.2024 09:00')"
    with pg(sql, read) as source:
        state = observed(source, read)
        table = read_all(source, read, Window(state.high, state.high))
    assert state.high.text == "2024-01-02 09:00"
    assert state.cursor_type.form == TextForm(" ", 0, "", seconds=False)
    assert table.to_pylist() == [{"c": "02.01.2024 09:00"}]


EVENTS = (
    "CREATE TABLE t (id integer PRIMARY KEY, c timestamp NOT NULL, v text);"
    "INSERT INTO t SELECT i, timestamp '2024-06-01' + i * interval '1 hour', 'x' FROM generate_series(1, 10) AS i"
)


def test_a_query_that_names_its_bounds(pg):
    read = ReadSpec("shop", query="SELECT id, c, v FROM t WHERE c > :watermark AND c <= :high")
    low = CursorType(CursorKind.TIMESTAMP, 6).value("2024-06-01 07:00:00")
    with pg(EVENTS, read) as source:
        query = prepare(read, WRITE, source.dialect)
        assert query.way is Way.PARAMETERS
        state = source.observe(SourceRequest(query, first_run=False, low=low))
        stream = source.open(query.rows(first_run=False, window=Window(low, state.high)))
        assert sum(batch.num_rows for batch in stream.batches) == 3
        late = CursorType(CursorKind.TIMESTAMP, 6).value("2024-07-01")
        nothing = source.observe(SourceRequest(query, first_run=False, low=late))
    assert state.high.text == "2024-06-01 10:00:00"
    assert (nothing.high, nothing.top) == (None, None)
    assert nothing.below.text == "2024-06-01 10:00:00"


def test_a_query_that_reads_the_target(pg):
    read = ReadSpec(
        "shop", query="SELECT * FROM t WHERE c > (SELECT COALESCE(MAX(c), '1900-01-01') FROM {target})"
    )
    value = CursorType(CursorKind.TIMESTAMP, 6, "timestamp[us]").value("2024-06-01 08:00:00")
    with pg(EVENTS, read) as source:
        query = prepare(read, WRITE, source.dialect)
        values = (Param("target_1", value),)
        state = source.observe(SourceRequest(query, first_run=False, target_values=values, keys=("id",)))
        stream = source.open(query.rows(first_run=False, values=values))
        assert sum(batch.num_rows for batch in stream.batches) == 2
        first = source.observe(SourceRequest(query, first_run=True))
    assert [column.name for column in state.columns] == ["id", "c", "v"]
    assert state.unique_keys is True
    assert first.later_columns is None or first.later_columns == first.columns


def test_later_columns_are_told_on_a_first_run(pg):
    read = ReadSpec("shop", query="SELECT id, c, v FROM t", cursor=CursorSpec("c"))
    write = WriteSpec("lake", path="x", first_run_query="SELECT id, c FROM t")
    with pg(EVENTS, read) as source:
        query = prepare(read, write, source.dialect)
        first = source.observe(SourceRequest(query, first_run=True))
        later = source.observe(SourceRequest(query, first_run=False, low=first.high))
    assert [column.name for column in first.columns] == ["id", "c"]
    assert [column.name for column in first.later_columns] == ["id", "c", "v"]
    assert later.later_columns is None


@pytest.mark.parametrize(
    ("made", "keys", "unique"),
    [
        ("id integer PRIMARY KEY, c timestamp", ("id",), True),
        ("id integer PRIMARY KEY, c timestamp", ("id", "c"), False),
        ("id integer NOT NULL, c timestamp NOT NULL, UNIQUE (id)", ("id", "c"), True),
        ("id integer UNIQUE, c timestamp", ("id",), False),
        ("id integer NOT NULL, c timestamp", ("id",), False),
        ("id integer NOT NULL UNIQUE DEFERRABLE, c timestamp", ("id",), False),
    ],
)
def test_unique_keys(made, keys, unique, pg):
    with pg(f"CREATE TABLE t ({made})", on("c")) as source:
        assert source.observe(request(source, on("c"), keys=keys)).unique_keys is unique


@pytest.mark.parametrize(
    ("query", "unique"),
    [
        ("SELECT * FROM t", True),
        ("SELECT id, c FROM t WHERE id > 1", True),
        ("SELECT id % 2 AS id, c FROM t", None),
        ("SELECT t.id AS id, c FROM t", True),
        ("SELECT other AS id, c FROM t", None),
        ("SELECT a.id, a.c FROM t AS a JOIN t AS b ON true", None),
    ],
)
def test_unique_keys_of_queries(query, unique, pg):
    read = ReadSpec("shop", query=query, cursor=CursorSpec("c"))
    with pg("CREATE TABLE t (id integer PRIMARY KEY, c timestamp, other integer)", read) as source:
        assert source.observe(request(source, read, keys=("id",))).unique_keys is unique


def test_a_partial_index_and_a_child_table_prove_nothing(pg):
    sql = (
        "CREATE TABLE t (id integer NOT NULL, c timestamp); CREATE UNIQUE INDEX ON t (id) WHERE id > 5;"
        "CREATE TABLE p (id integer PRIMARY KEY, c timestamp); CREATE TABLE child () INHERITS (p)"
    )
    with pg(sql, on("c")) as source:
        assert source.observe(request(source, on("c"), keys=("id",))).unique_keys is False
        assert source.observe(request(source, on("c", "p"), keys=("id",))).unique_keys is False


@pytest.mark.parametrize(
    ("values", "form", "low", "ids"),
    [
        (("2024-06-01 10:00:00", "2024-06-01 11:00:00"), TextForm(" ", 0), "2024-06-01 10:00:00.7", [1, 2]),
        (("2024-06-01T10:00:00", "2024-06-01T11:00:00"), TextForm("T", 0), "2024-06-01 10:30:00", [2]),
        (
            ("2024-06-01 10:00:00.000", "2024-06-01 11:00:00.500"),
            TextForm(" ", 3),
            "2024-06-01 10:00:00",
            [1, 2],
        ),
        (("2024-06-01", "2024-06-02"), TextForm("", 0), "2024-06-02 05:00:00", [2]),
    ],
)
def test_bounds_are_written_as_the_column_stores_its_times(values, form, low, ids, lite):
    low = CursorType(CursorKind.TIMESTAMP, 6).value(low)
    sql = "CREATE TABLE t (id integer, c timestamp);" + "".join(
        f"INSERT INTO t VALUES ({n}, '{value}');" for n, value in enumerate(values, 1)
    )
    with lite(sql, on("c")) as source:
        state = observed(source, on("c"), first_run=False, low=low)
        table = read_all(source, on("c"), Window(low, state.high), first_run=False)
    assert state.cursor_type.form == form
    assert table.column("id").to_pylist() == ids


def test_a_value_of_the_target_is_written_in_the_columns_form(lite):
    read = ReadSpec("shop", query="SELECT * FROM t WHERE c > (SELECT MAX(c) FROM {target})")
    sql = (
        "CREATE TABLE t (id integer, c timestamp);"
        "INSERT INTO t VALUES (1, '2024-06-01T10:00:00.000'), (2, '2024-06-01T11:00:00.000')"
    )
    value = CursorType(CursorKind.TIMESTAMP, 6).value("2024-06-01 10:00:00")
    with lite(sql, read) as source:
        query = prepare(read, WRITE, source.dialect)
        values = (Param("target_1", value),)
        source.observe(SourceRequest(query, first_run=False, target_values=values))
        rows = [
            row["id"]
            for batch in source.open(query.rows(first_run=False, values=values)).batches
            for row in batch.to_pylist()
        ]
    assert rows == [2]
