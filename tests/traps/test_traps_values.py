"""Values that can't be compared, or not where the loader compares them: traps 7 to 10, 16 to 19, 36 to 41."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from traps.naive import Naive, append, rows_of

from hwm_magics.errors import CursorColumnError, HwmError

NOON = "2024-06-01 12:00:00"


def test_trap_07_a_row_without_a_cursor_value_comes_later(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}'), (2, NULL)")
    loaders = pg.loaders(incremental={"column": "u", "nulls": "read"})
    warned = pg.ours(name="warned")
    loaders.load()
    warned.load()
    pg.run("INSERT INTO t VALUES (3, NULL)")
    loaders.load()
    loaders.load()
    result = warned.load()
    assert loaders.lost(loaders.strict) == loaders.lost(loaders.inclusive) == [(3,)]
    loaders.assert_ours_exact()
    # Without `nulls: read` such rows are left out, and every plan counts them.
    assert warned.rows("id") == [(1,), (2,)]
    assert any("u is NULL in 2 rows" in warning for warning in result.warnings), result.warnings
    strict = pg.ours(name="strict", incremental={"column": "u", "nulls": "error"})
    with pytest.raises(CursorColumnError, match="u is NULL in 2 rows"):
        strict.load()
    assert strict.rows() == []


def test_trap_08_one_expression_filters_and_another_is_remembered(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, c timestamp)")
    pg.run(f"INSERT INTO t VALUES (1, '{NOON}', '{NOON}'), (2, NULL, '2024-06-01 13:00:00')")
    naive = FallbackNaive(pg.reading, pg.folder / "naive")
    ours = pg.ours(incremental={"column": "u", "fallback_column": "c"})
    for _ in range(3):
        naive.load()
        ours.load()
    assert rows_of(naive.target, "id") == [(1,), (2,), (2,), (2,)]
    assert ours.rows("id") == [(1,), (2,)]
    pg.run("INSERT INTO t VALUES (3, NULL, '2024-06-01 14:00:00')")
    assert ours.load().rows_written == 1
    assert ours.load().rows_written == 0


class FallbackNaive(Naive):
    def read(self, mark, **_):
        where = "TRUE" if mark is None else "COALESCE(u, c) > %s"
        return self.query(f"SELECT * FROM t WHERE {where}", *([mark] if mark else []))


def test_trap_09_a_mark_cut_to_milliseconds_repeats_its_row(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}.123456')")
    naive, ours = CutNaive(pg.reading, pg.folder / "naive"), pg.ours(incremental={"column": "u", "lag": "0s"})
    for _ in range(3):
        naive.load()
        result = ours.load()
    assert rows_of(naive.target, "id") == [(1,), (1,), (1,)]
    assert ours.rows("id") == [(1,)]
    assert str(result.watermark_before) == f"{NOON}.123456"


class CutNaive(Naive):
    """Its driver knows milliseconds only, and drops the rest."""

    def mark(self):
        mark = Naive.mark(self)
        return mark and mark.replace(microsecond=mark.microsecond // 1000 * 1000)


def test_trap_10_a_mark_rounded_up_steps_over_a_row(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}.123600')")
    naive, ours = (
        RoundedNaive(pg.reading, pg.folder / "naive"),
        pg.ours(incremental={"column": "u", "lag": "0s"}),
    )
    naive.load()
    ours.load()
    pg.run(f"INSERT INTO t VALUES (2, '{NOON}.123900')")
    for _ in range(2):
        naive.load()
        ours.load()
    assert rows_of(naive.target, "id") == [(1,)]
    assert ours.rows("id") == [(1,), (2,)]


class RoundedNaive(Naive):
    """Its driver knows milliseconds only, and rounds."""

    def mark(self):
        mark = Naive.mark(self)
        return mark and mark.replace(microsecond=0) + timedelta(milliseconds=round(mark.microsecond / 1000))


@pytest.mark.parametrize("database", ["pg", "lite"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("9/1/2024", "10/1/2024"),
        ("2024-06-01T10:00:00", "2024-06-01 11:00:00"),
        ("2024-06-01 10:00:00+02:00", "2024-06-01 09:00:00+00:00"),
    ],
    ids=["not ISO", "T and space", "two offsets"],
)
def test_trap_16_text_that_does_not_order_as_time_does(request, database, first, second):
    bench = request.getfixturevalue(database)
    bench.run("CREATE TABLE t (id int, u text)", f"INSERT INTO t VALUES (1, '{first}')")
    naive, ours = bench.naive(), bench.ours()
    naive.load()
    if first == "9/1/2024":
        with pytest.raises(CursorColumnError):
            ours.load()
    else:
        ours.load()
    before = ours.rows()
    bench.run(f"INSERT INTO t VALUES (2, '{second}')")
    naive.load()
    assert rows_of(naive.target, "id") == [(1,)]
    with pytest.raises(CursorColumnError):
        ours.load()
    assert ours.rows() == before


def test_trap_16_a_date_format_makes_text_of_another_form_usable(pg):
    pg.run("CREATE TABLE t (id int, u text)", "INSERT INTO t VALUES (1, '09/01/2024')")
    loaders = pg.loaders(incremental={"column": "u", "date_format": "%d/%m/%Y"})
    loaders.load()
    pg.run("INSERT INTO t VALUES (2, '01/10/2024')")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == loaders.lost(loaders.inclusive) == [(2,)]
    loaders.assert_ours_exact()


def test_trap_17_a_column_of_several_types(lite):
    lite.run("CREATE TABLE t (id int, u)", "INSERT INTO t VALUES (1, 100), (2, '5')")
    ours = lite.ours()
    with pytest.raises(CursorColumnError):
        ours.load()
    (mark,) = lite.reading.execute("SELECT MAX(u) FROM t").fetchone()
    lite.run("INSERT INTO t VALUES (3, 200)")
    assert mark == "5"
    assert lite.reading.execute("SELECT id FROM t WHERE u > ?", (mark,)).fetchall() == []
    assert ours.rows() == []


def test_trap_17_a_column_that_becomes_one_of_several_types(lite):
    lite.run("CREATE TABLE t (id int, u int)", "INSERT INTO t VALUES (1, 100)")
    ours = lite.ours()
    ours.load()
    lite.run("INSERT INTO t VALUES (2, 'n/a')")
    with pytest.raises(CursorColumnError):
        ours.load()
    assert ours.rows("id") == [(1,)]


def test_trap_18_one_row_of_the_far_future(pg):
    pg.run("CREATE TABLE t (id int, u timestamptz)")
    pg.run("INSERT INTO t VALUES (1, now() - interval '1 h'), (2, '2099-01-01')")
    loaders = pg.loaders()
    result = loaders.load()
    assert any("dated after the source's own clock" in warning for warning in result.warnings), (
        result.warnings
    )
    pg.run("INSERT INTO t SELECT n, clock_timestamp() FROM generate_series(3, 7) n")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == [(3,), (4,), (5,), (6,), (7,)]
    # The one row waits until its time has come.
    assert loaders.lost(loaders.ours) == [(2,)]
    assert loaders.doubled(loaders.ours) == []
    refused = pg.ours(name="refused", incremental={"column": "u", "future": "error"})
    with pytest.raises(CursorColumnError, match="dated after"):
        refused.load()


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
def test_trap_19_infinity_is_no_time(pg, kind):
    pg.run(f"CREATE TABLE t (id int, u {kind})", "INSERT INTO t VALUES (1, '2024-06-01'), (2, 'infinity')")
    naive, ours = pg.naive(), pg.ours()
    with pytest.raises(psycopg.DataError, match="too large"):
        naive.load()
    with pytest.raises(CursorColumnError, match="'infinity'"):
        ours.load()
    assert ours.rows() == []
    ours = pg.ours(read={"where": "u < 'infinity'"})
    ours.load()
    pg.run("INSERT INTO t VALUES (3, '2024-06-02')")
    ours.load()
    ours.load()
    assert ours.rows("id") == [(1,), (3,)]


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
def test_trap_19_minus_infinity_is_refused_where_it_is_read(pg, kind):
    pg.run(f"CREATE TABLE t (id int, u {kind})", "INSERT INTO t VALUES (1, '2024-06-01'), (2, '-infinity')")
    ours = pg.ours()
    with pytest.raises(HwmError, match="infinity"):
        ours.load()
    assert ours.rows() == []


@pytest.mark.parametrize("kind", ["double precision", "numeric(9, 3)"])
def test_trap_19_a_nan_poisons_the_mark(pg, kind):
    pg.run(f"CREATE TABLE t (id int, u {kind})", "INSERT INTO t VALUES (1, 1), (2, 'NaN')")
    (mark,) = pg.reading.execute("SELECT MAX(u) FROM t").fetchone()
    assert pg.reading.execute(f"SELECT 99999::{kind} > %s", (mark,)).fetchone() == (False,)
    ours = pg.ours()
    with pytest.raises(CursorColumnError):
        ours.load()
    assert ours.rows() == []


def test_trap_36_file_statistics_cut_times_to_milliseconds(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}.123999')")
    naive = StatisticsNaive(pg.reading, pg.folder / "naive")
    for _ in range(3):
        naive.load()
    assert rows_of(naive.target, "id") == [(1,), (1,), (1,)]
    # Ours takes over a table that somebody else has filled, from its data.
    ours = pg.ours(incremental={"column": "u", "lag": "0s"})
    append(ours.target, [{"id": 1, "u": datetime(2024, 6, 1, 12, 0, 0, 123999)}])
    pg.run(f"INSERT INTO t VALUES (2, '{NOON}.124')")
    plan = ours.plan()
    assert (plan.before.origin, str(plan.before)) == ("data", f"{NOON}.123999")
    ours.load()
    ours.load()
    assert ours.rows("id") == [(1,), (2,)]


class StatisticsNaive(Naive):
    """It takes MAX from the log, which is fast."""

    def mark(self):
        if not DeltaTable.is_deltatable(str(self.target)):
            return None
        actions = pa.table(DeltaTable(self.target).get_add_actions(flatten=True))
        return max(actions["max.u"].to_pylist())


def test_trap_36_file_statistics_round_decimals(pg):
    pg.run("CREATE TABLE t (id int, u numeric(20,0))", f"INSERT INTO t VALUES (1, {2**53 + 1})")
    ours = pg.ours()
    ours.load()
    pg.run(f"INSERT INTO t VALUES (2, {2**53 + 1}), (3, {2**53 + 3})")
    assert ours.load().rows_written == 2
    assert ours.load().rows_written == 0
    pg.run("UPDATE t SET id = id + 10")
    ours.load(backfill=(str(2**53 + 1), str(2**53 + 1)))
    assert ours.rows("id") == [(11,), (12,), (3,)]


def test_trap_37_a_big_number_goes_through_a_float(pg):
    big = 2**53
    pg.run("CREATE TABLE t (id int, u bigint)", f"INSERT INTO t VALUES (1, {big + 3}), (0, NULL)")
    naive, ours = PandasNaive(pg.reading, pg.folder / "naive"), pg.ours(incremental={"column": "u", "lag": 0})
    naive.load()
    ours.load()
    pg.run(f"INSERT INTO t VALUES (2, {big + 4})")
    for _ in range(2):
        naive.load()
        ours.load()
    assert rows_of(naive.target, "id") == [(0,), (1,)]
    assert ours.rows() == [(0, None), (1, big + 3), (2, big + 4)]


class PandasNaive(Naive):
    """Rows pass through a DataFrame, where one NULL makes a column of integers one of floats."""

    def append(self, rows):
        frame = pd.DataFrame(rows)
        return append(self.target, [] if frame.empty else frame.to_dict("records"))

    def mark(self):
        mark = Naive.mark(self)
        return mark if mark is None else int(mark)


@pytest.mark.parametrize("kind", ["uuid", "text"])
def test_trap_38_random_ids_say_nothing_about_newness(pg, kind):
    chance = random.Random(38)
    ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(100)]
    pg.run(f"CREATE TABLE t (id int, u {kind})")
    high, loaded = "", 0
    for n, value in enumerate(ids):
        pg.run(f"INSERT INTO t VALUES ({n}, '{value}')")
        if n % 2:  # a load after every second row
            found = pg.reading.execute("SELECT u::text FROM t WHERE u::text > %s", (high,)).fetchall()
            loaded += len(found)
            high = max([high, *(row[0] for row in found)])
    assert loaded < 20
    ours = pg.ours()
    with pytest.raises(CursorColumnError):
        ours.load()
    assert ours.rows() == []


def test_trap_40_the_source_orders_text_otherwise_than_the_target(pg):
    pg.run('CREATE TABLE t (id int, u text COLLATE "en-US-x-icu")', "INSERT INTO t VALUES (1, 'a'), (2, 'B')")
    naive, ours = pg.naive(), pg.ours()
    for _ in range(3):
        naive.load()
    assert rows_of(naive.target, "id") == [(1,), (2,), (2,), (2,)]
    with pytest.raises(CursorColumnError):
        ours.load()
    assert ours.rows() == []


def test_trap_41_a_real_is_not_the_double_that_it_becomes(pg):
    pg.run("CREATE TABLE t (id int, u real)", "INSERT INTO t VALUES (1, 0.1)")
    naive, ours = pg.naive(), pg.ours()
    for _ in range(3):
        naive.load()
    assert rows_of(naive.target, "id") == [(1,), (1,), (1,)]
    with pytest.raises(CursorColumnError):
        ours.load()
    assert ours.rows() == []
