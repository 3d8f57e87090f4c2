"""Rows that tie with the mark, or commit after a load has passed them: traps 1 to 6, 13 to 15, 20, 25, 45."""

from __future__ import annotations

from datetime import timedelta

import pytest
from traps.naive import Naive, rows_of

NOON = "2024-06-01 12:00:00"


def test_trap_01_ties_at_the_boundary(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    loaders = pg.loaders()
    loaders.load()
    pg.run(f"INSERT INTO t VALUES (2, '{NOON}')")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == [(2,)]
    assert loaders.doubled(loaders.inclusive) == [(1,), (1,), (2,)]
    loaders.assert_ours_exact()


def test_trap_01_three_identical_rows_stay_three(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    loaders = pg.loaders()
    loaders.load()
    pg.run(f"INSERT INTO t VALUES (1, '{NOON}'), (1, '{NOON}')")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == [(1,), (1,)]
    assert len(loaders.doubled(loaders.inclusive)) == 4
    loaders.assert_ours_exact()


@pytest.mark.parametrize("clock", ["now()", "clock_timestamp()"])
def test_trap_02_a_transaction_commits_after_a_later_row_was_loaded(pg, clock):
    pg.run("CREATE TABLE t (id int, u timestamptz)")
    loaders = pg.loaders()
    pg.there.execute("BEGIN")
    pg.there.execute(f"INSERT INTO t VALUES (1, {clock})")
    pg.run(f"INSERT INTO t VALUES (2, {clock})")
    loaders.load()
    pg.there.execute("COMMIT")
    result = loaders.load()
    assert loaders.lost(loaders.strict) == loaders.lost(loaders.inclusive) == [(1,)]
    assert (result.rows_written, result.late_rows) == (1, 1)
    loaders.load()
    loaders.assert_ours_exact()


def test_trap_03_a_transaction_id_fence_does_not_fence_a_column_of_start_times(pg):
    """We set no such fence on times: the lag covers what one would, and what it would not."""
    pg.run("CREATE TABLE t (id int, u timestamptz DEFAULT now())")
    fenced, ours = pg.naive(name="fenced"), pg.ours()

    def load() -> None:
        # The oldest transaction of this database that has an id, else the next id that will be given.
        (fence,) = pg.reading.execute(
            "SELECT coalesce(min(backend_xid::text::bigint), pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"
            " FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
        fenced.append(fenced.read(fenced.mark(), where=f"xmin::text::bigint < {fence}"))
        ours.load()

    pg.there.execute("BEGIN")
    pg.there.execute("SELECT now()")  # its clock is read, and it has no transaction id yet
    pg.run("INSERT INTO t VALUES (2)")
    load()
    pg.there.execute("INSERT INTO t VALUES (1)")
    pg.there.execute("COMMIT")
    load()
    load()
    assert rows_of(fenced.target, "id") == [(2,)]
    assert ours.rows("id") == [(1,), (2,)]


def test_trap_04_a_fence_from_pg_stat_activity_sees_nothing_of_other_users(pg, pg_database):
    """We claim no fence of start times where the loader may not see them: the lag it is then."""
    pg.run("CREATE TABLE t (id int, u timestamptz DEFAULT now())")
    fenced, ours = pg.naive(name="fenced"), pg.ours()
    fence = (
        "(SELECT least(clock_timestamp(), min(xact_start)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL (%s))"
    )
    own = [pg.here.info.backend_pid, pg.there.info.backend_pid]

    def load() -> None:
        (until,) = pg.reading.execute(f"SELECT {fence}", (own,)).fetchone()
        fenced.append(fenced.read(fenced.mark(), where=f"u < '{until}'"))
        ours.load()

    with pg_database.as_superuser().connect() as other, pg_database.as_superuser().connect() as watcher:
        other.execute("BEGIN")
        other.execute("INSERT INTO t VALUES (1)")
        pg.run("INSERT INTO t VALUES (2)")
        assert watcher.execute(
            f"SELECT {fence} <= u FROM t WHERE id = 2", ([*own, pg.reading.info.backend_pid],)
        ).fetchone() == (True,), "a superuser's fence would have held the row back"
        load()
        other.execute("COMMIT")
    load()
    load()
    assert rows_of(fenced.target, "id") == [(2,)]
    assert ours.rows("id") == [(1,), (2,)]


def test_trap_05_an_identity_value_commits_late(pg):
    pg.run("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, v text)")
    loaders = pg.loaders(cursor="id")
    pg.there.execute("BEGIN")
    pg.there.execute("INSERT INTO t (v) VALUES ('late')")
    pg.run("INSERT INTO t (v) VALUES ('early')")
    loaders.load()
    pg.there.execute("COMMIT")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == loaders.lost(loaders.inclusive) == [(1,)]
    loaders.assert_ours_exact()


def test_trap_06_a_sequence_with_a_cache_hands_out_ids_out_of_order(pg):
    pg.run(
        "CREATE SEQUENCE ids CACHE 10",
        "CREATE TABLE t (id bigint DEFAULT nextval('ids') PRIMARY KEY, v text)",
    )
    loaders = pg.loaders(cursor="id")
    pg.run("INSERT INTO t (v) VALUES ('first')")
    pg.there.execute("INSERT INTO t (v) VALUES ('from the other session')")
    loaders.load()
    pg.run("INSERT INTO t (v) VALUES ('second')")
    loaders.load()
    loaders.load()
    assert loaders.source().keys() == {(1,), (2,), (11,)}
    assert loaders.lost(loaders.strict) == [(2,)]
    loaders.assert_ours_exact()


def test_trap_13_a_column_of_whole_seconds_rounds_times_together(pg):
    pg.run("CREATE TABLE t (id int, u timestamp(0))", "INSERT INTO t VALUES (1, '2024-06-01 12:00:00.6')")
    loaders = pg.loaders()
    loaders.load()
    pg.run("INSERT INTO t VALUES (2, '2024-06-01 12:00:01.2')")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == [(2,)]
    assert loaders.doubled(loaders.inclusive) == [(1,), (1,), (2,)]
    loaders.assert_ours_exact()


def test_trap_14_sessions_in_two_zones_write_times_without_a_zone(pg):
    pg.run("CREATE TABLE t (id int, u timestamp DEFAULT now())", "SET TIME ZONE 'Europe/Berlin'")
    pg.there.execute("SET TIME ZONE 'America/New_York'")
    loaders = pg.loaders(incremental={"column": "u", "lag": "8h"})
    pg.settings["timezone"] = "Europe/Berlin"
    pg.run("INSERT INTO t VALUES (1)")
    loaders.load()
    pg.there.execute("INSERT INTO t VALUES (2)")
    loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == loaders.lost(loaders.inclusive) == [(2,)]
    loaders.assert_ours_exact()


def test_trap_14_rows_of_a_zone_ahead_of_the_declared_one_wait_and_the_plan_says_why(pg):
    pg.run("CREATE TABLE t (id int, u timestamp DEFAULT now())", "SET TIME ZONE 'Asia/Tokyo'")
    pg.settings["timezone"] = "UTC"
    pg.run("INSERT INTO t VALUES (1)")
    ours = pg.ours()
    plan = ours.plan()
    assert any("timezone" in warning for warning in plan.warnings), plan.warnings
    ours.load()
    assert ours.rows() == []
    pg.settings["timezone"] = "Asia/Tokyo"
    ours.load()
    ours.load()
    assert ours.rows("id") == [(1,)]


@pytest.mark.parametrize(
    ("kind", "first", "second", "lag"),
    [
        ("timestamp", "2024-10-27 02:30:00", "2024-10-27 02:10:00", "90m"),
        ("timestamptz", "2024-10-27 02:30:00+02", "2024-10-27 02:10:00+01", None),
    ],
)
def test_trap_15_the_clocks_go_back(pg, kind, first, second, lag):
    pg.run("SET TIME ZONE 'Europe/Berlin'", f"CREATE TABLE t (id int, u {kind})")
    pg.run(f"INSERT INTO t VALUES (1, '{first}')")
    loaders = pg.loaders(incremental={"column": "u", **({"lag": lag} if lag else {})})
    loaders.load()
    pg.run(f"INSERT INTO t VALUES (2, '{second}')")
    loaders.load()
    loaders.load()
    # Times with a zone are the remedy, for everybody.
    assert loaders.lost(loaders.strict) == ([(2,)] if kind == "timestamp" else [])
    loaders.assert_ours_exact()


def test_trap_20_a_writer_whose_clock_is_slow(pg):
    pg.run("CREATE TABLE t (id int, u timestamptz)", "INSERT INTO t VALUES (1, clock_timestamp())")
    loaders = pg.loaders()
    loaders.load()
    pg.run("INSERT INTO t VALUES (2, clock_timestamp() - interval '5 s')")
    result = loaders.load()
    loaders.load()
    assert loaders.lost(loaders.strict) == loaders.lost(loaders.inclusive) == [(2,)]
    assert result.late_rows == 1
    assert timedelta(seconds=4) < result.lateness <= timedelta(seconds=5)
    loaders.assert_ours_exact()


def test_trap_25_pages_cut_through_rows_of_one_time(pg):
    pg.run(
        "CREATE TABLE t (id int, u timestamptz)",
        "INSERT INTO t SELECT n, now() FROM generate_series(1, 10) n",
    )
    naive, ours = pg.naive(), pg.ours()
    while naive.append(naive.read(naive.mark(), tail="ORDER BY u LIMIT 4")):
        pass
    ours.load()
    ours.load()
    assert len(rows_of(naive.target)) == 4
    assert ours.rows("id") == sorted(((n,) for n in range(1, 11)), key=repr)


def test_trap_45_an_overlap_that_is_appended_doubles(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)")
    pg.run(
        "INSERT INTO t SELECT n, timestamp '2024-06-01' + n * interval '1 min' FROM generate_series(1, 5) n"
    )
    naive, ours = OverlappingNaive(pg.reading, pg.folder / "naive"), pg.ours()
    for _ in range(3):
        naive.load()
        ours.load()
    assert len(rows_of(naive.target)) == 15
    assert ours.rows("id") == [(1,), (2,), (3,), (4,), (5,)]


class OverlappingNaive(Naive):
    """It looks ten minutes below the mark, and appends what it finds."""

    def mark(self):
        mark = Naive.mark(self)
        return mark and mark - timedelta(minutes=10)
