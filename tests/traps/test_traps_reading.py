"""Reading while others write, and saying what is to be read: traps 21, 26, 27, 42 to 44."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from traps.naive import Naive, rows_of

from hwm_magics.errors import HwmError, SchemaMismatchError

NOON = "2024-06-01 12:00:00"


def test_trap_21_the_loaders_own_clock_as_the_high_bound(pg):
    pg.run("CREATE TABLE t (id int, u timestamptz)", "INSERT INTO t VALUES (1, clock_timestamp())")
    naive, ours = ClockNaive(pg.reading, pg.folder / "naive"), pg.ours()
    naive.load()
    ours.load()
    pg.run("INSERT INTO t VALUES (2, clock_timestamp())", "INSERT INTO t VALUES (3, clock_timestamp())")
    for _ in range(2):
        naive.load()
        ours.load()
    assert rows_of(naive.target, "id") == [(1,)]
    assert ours.rows("id") == [(1,), (2,), (3,)]


class ClockNaive(Naive):
    """It remembers the time of its last run, by a clock that is five seconds fast."""

    __slots__ = ("state",)

    def mark(self):
        return getattr(self, "state", None)

    def load(self):
        (now,) = self.connection.execute("SELECT clock_timestamp()").fetchone()
        high = now + timedelta(seconds=5)
        loaded = self.append(self.read(self.mark(), where=f"u <= '{high}'"))
        self.state = high
        return loaded


def test_trap_26_a_delete_between_two_pages(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)")
    pg.run(f"INSERT INTO t SELECT n, '{NOON}' FROM generate_series(1, 10) n")
    naive, ours = pg.naive(), pg.ours()
    for offset in (0, 4, 8):
        naive.append(naive.read(None, tail=f"ORDER BY id LIMIT 4 OFFSET {offset}"))
        if offset == 0:
            pg.run("DELETE FROM t WHERE id = 1")
    assert rows_of(naive.target, "id") == [(n,) for n in (1, 10, 2, 3, 4, 6, 7, 8, 9)]

    def delete(place: str) -> None:
        if place == "mid_read":
            pg.there.execute("DELETE FROM t WHERE id = 2")

    ours.load(failpoint=delete)
    ours.load()
    # The reading sees the table as it was when it began.
    assert ours.rows("id") == [(n,) for n in (10, 2, 3, 4, 5, 6, 7, 8, 9)]


def test_trap_27_the_mark_is_taken_after_the_rows(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    naive, ours = pg.naive(), pg.ours(incremental={"column": "u", "lag": "0s"})
    rows = naive.read(None)

    def insert(place: str) -> None:
        later = {"after_clock": (2, 1), "mid_read": (3, 2), "after_read": (4, 3)}
        if place in later:
            number, minute = later[place]
            pg.there.execute(f"INSERT INTO t VALUES ({number}, '2024-06-01 12:0{minute}:00')")

    ours.load(failpoint=insert)
    (mark,) = pg.reading.execute("SELECT MAX(u) FROM t").fetchone()
    naive.append(rows)
    naive.append(naive.read(mark))
    ours.load()
    ours.load()
    assert rows_of(naive.target, "id") == [(1,)]
    assert ours.rows("id") == [(1,), (2,), (3,), (4,)]


def test_trap_28_the_mark_and_the_rows_come_over_one_connection(pg):
    """Whatever stands behind one connection is one server; test_traps_standby.py reads from one that is late."""
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    own = [each.info.backend_pid for each in (pg.here, pg.there, pg.reading)]
    seen = {}

    def look(place: str) -> None:
        if place in ("after_clock", "mid_read"):
            seen[place] = pg.reading.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND backend_type = 'client backend' AND pid <> ALL (%s)",
                (own,),
            ).fetchall()

    pg.ours().load(failpoint=look)
    assert len(seen["after_clock"]) == 1
    assert seen["after_clock"] == seen["mid_read"]


def test_trap_42_the_first_runs_columns_are_not_those_of_later_runs(pg):
    pg.run(
        "CREATE TABLE t (id int, u timestamp, amount numeric(5, 1))",
        f"INSERT INTO t VALUES (1, '{NOON}', 1.9)",
    )
    target = pg.folder / "naive"
    write_deltalake(target, pa.table({"id": [1], "amount": [1]}), mode="append")
    write_deltalake(target, pa.table({"id": [2], "amount": [1.9]}), mode="append")
    assert rows_of(target) == [(1, 1), (2, 1)], "1.9 became 1 without a word"
    ours = pg.ours(write={"first_run_query": "SELECT id, u, amount::int AS amount FROM t"})
    with pytest.raises(SchemaMismatchError, match="amount is integer in first_run_query"):
        ours.load()
    assert ours.rows() == []


def test_trap_42_a_column_that_changes_its_type_later(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, amount int)", f"INSERT INTO t VALUES (1, '{NOON}', 1)")
    ours = pg.ours()
    ours.load()
    pg.run("ALTER TABLE t ALTER amount TYPE numeric(5, 1)", "INSERT INTO t VALUES (2, '2024-06-02', 1.9)")
    with pytest.raises(SchemaMismatchError, match="amount"):
        ours.load()
    assert ours.rows("id", "amount") == [(1, 1)]


QUERIES = {
    "a semicolon": "SELECT * FROM t;",
    "a comment at the end": "SELECT * FROM t -- everything",
    "a per cent sign": "SELECT * FROM t WHERE v LIKE '%row%'",
    "a modulo": "SELECT id % 100 AS id, u, v FROM t",
    "an order": "SELECT * FROM t ORDER BY id DESC;",
    "a WITH": "WITH x AS (SELECT * FROM t) SELECT * FROM x",
    "an OR": "SELECT * FROM t WHERE v = 'a row' OR v = 'another row'",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_trap_43_a_query_with_something_at_its_end_or_inside(pg, query):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)")
    pg.run(f"INSERT INTO t VALUES (1, '{NOON}', 'a row'), (2, '2024-06-02', 'another row')")
    ours = pg.ours(read={"query": query})
    ours.load()
    pg.run("INSERT INTO t VALUES (3, '2024-06-03', 'another row')")
    assert ours.load().rows_written == 1
    assert ours.load().rows_written == 0
    assert ours.rows("id", "v") == [(1, "a row"), (2, "another row"), (3, "another row")]


def test_trap_43_what_wrapping_and_appending_do_to_such_queries(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)")
    pg.run(f"INSERT INTO t VALUES (1, '{NOON}', 'a row'), (2, '2024-06-02', 'another row')")
    values = ("2024-06-02",)
    for name in ("a semicolon", "a comment at the end", "a per cent sign"):
        with pytest.raises(psycopg.Error):
            pg.reading.execute(f"SELECT * FROM ({QUERIES[name]}) q WHERE u > %s", values)
    appended = pg.reading.execute(f"{QUERIES['an OR']} AND u > %s", values).fetchall()
    assert [row[0] for row in appended] == [1], "the mark does not bind the first half of the OR"


def test_trap_44_an_unquoted_name_is_another_column(pg):
    pg.run('CREATE TABLE "Orders" (id int, "UpdatedAt" timestamp, updatedat timestamp)')
    pg.run(f"INSERT INTO \"Orders\" VALUES (1, '{NOON}', '2030-01-01')")
    naive = pg.naive(table='"Orders"', cursor="UpdatedAt")
    ours = pg.ours(
        table='"Orders"', incremental={"column": "UpdatedAt"}, read={"columns": ["id", "UpdatedAt"]}
    )
    naive.append([{"id": 1, "UpdatedAt": naive.query('SELECT "UpdatedAt" AS u FROM "Orders"')[0]["u"]}])
    ours.load()
    pg.run("INSERT INTO \"Orders\" VALUES (2, '2024-06-02', NULL)")
    assert naive.read(naive.mark()) != []
    assert [row["id"] for row in naive.read(naive.mark())] == [1], "it read updatedat"
    ours.load()
    ours.load()
    assert ours.rows("id") == [(1,), (2,)]


def test_trap_44_two_columns_that_differ_in_case_only_are_refused_before_anything_is_written(pg):
    pg.run('CREATE TABLE t (id int, "ID" int, u timestamp)', f"INSERT INTO t VALUES (1, 2, '{NOON}')")
    ours = pg.ours()
    with pytest.raises(HwmError, match=r"(?i)case"):
        ours.load()
    assert not ours.target.exists()


def test_decimals_keep_their_declared_scale_from_run_to_run(pg):
    pg.run(
        "CREATE TABLE t (id int, u timestamp, amount numeric(9, 3))",
        f"INSERT INTO t VALUES (1, '{NOON}', 1.9)",
    )
    ours = pg.ours()
    ours.load()
    pg.run("INSERT INTO t VALUES (2, '2024-06-02', 2)")
    ours.load()
    assert ours.rows("id", "amount") == [(1, Decimal("1.900")), (2, Decimal("2.000"))]
