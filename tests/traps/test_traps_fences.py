"""Transactions that stay open for longer than the lag: traps 2 to 6 with PostgreSQL's fences, and their limits."""

from __future__ import annotations

import secrets
from contextlib import contextmanager

import pytest
from traps.naive import rows_of

from hwm_magics.errors import CursorColumnError

XID = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"


@pytest.fixture
def watcher(pg, pg_database):
    """The loads' user may see the transactions of others, and nothing more than the plain user else."""
    name, password = f"watcher_{secrets.token_hex(4)}", secrets.token_hex(8)
    with pg_database.as_superuser().connect() as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE loader, pg_read_all_stats")
        pg.settings |= {"username": name, "password": password}
        yield pg
        admin.execute(f"DROP ROLE {name}")


@contextmanager
def transaction(pg, *statements):
    """An open transaction of another session."""
    pg.there.execute("BEGIN")
    for statement in statements:
        pg.there.execute(statement)
    yield
    pg.there.execute("COMMIT")


def pass_margin(pg):
    """Wait until the server's clock is past the margin of a fence."""
    pg.here.execute("SELECT pg_sleep(1.1)")


def pass_ids(pg):
    """Wait until every transaction that has an id of the table has ended; other databases of the server count, too."""
    asked = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::numeric > max(x) FROM t"
    while pg.here.execute(asked).fetchone() == (False,):
        pass


def load(pg, name="lake", **incremental):
    return pg.ours(name=name, incremental={"column": "u", "lag": 0, **incremental})


@pytest.fixture
def table(watcher):
    """A row of long ago, loaded before."""
    watcher.run(
        "CREATE TABLE t (id int, u timestamptz DEFAULT now())", "INSERT INTO t VALUES (0, '2024-06-01')"
    )
    return watcher


@pytest.mark.parametrize("clock", ["now()", "clock_timestamp()"])
def test_trap_02_a_transaction_of_any_length_is_waited_for(table, clock):
    fenced, lost = load(table), load(table, "off", fence="off")
    naive = table.naive()
    for each in (fenced, lost, naive):
        each.load()
    with transaction(table, f"INSERT INTO t VALUES (1, {clock})"):
        table.run(f"INSERT INTO t VALUES (2, {clock})")
        pass_margin(table)
        plan = fenced.plan()
        assert any("held back at" in told and "still open" in told for told in plan.warnings), plan.warnings
        assert any(f"pid {table.there.info.backend_pid}" in told for told in plan.warnings)
        for each in (fenced, lost, naive):
            each.load()
        assert fenced.rows("id") == [(0,)]
    for each in (fenced, lost, naive):
        each.load()
    assert rows_of(naive.target, "id") == lost.rows("id") == [(0,), (2,)]
    assert fenced.rows("id") == [(0,), (1,), (2,)]
    assert any("however late that commits" in note for note in fenced.plan().notes)


def test_trap_03_a_transaction_that_has_read_its_clock_and_has_no_id_is_waited_for(table):
    fenced = load(table)
    fenced.load()
    with transaction(table, "SELECT now()"):
        table.run("INSERT INTO t VALUES (2)")
        pass_margin(table)
        fenced.load()
        table.there.execute("INSERT INTO t VALUES (1)")
    fenced.load()
    assert fenced.rows("id") == [(0,), (1,), (2,)]


def test_trap_04_transactions_of_other_users_are_waited_for(table, pg_database):
    fenced = load(table)
    fenced.load()
    with pg_database.as_superuser().connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO t VALUES (1)")
        table.run("INSERT INTO t VALUES (2)")
        pass_margin(table)
        fenced.load()
        other.execute("COMMIT")
    fenced.load()
    assert fenced.rows("id") == [(0,), (1,), (2,)]


def test_trap_04_a_role_that_may_not_see_them_claims_no_fence(pg):
    pg.run("CREATE TABLE t (id int, u timestamptz)", "INSERT INTO t VALUES (1, now())")
    ours = pg.ours()
    plan = ours.plan()
    assert any("no fence" in note and "pg_read_all_stats" in note for note in plan.notes)
    assert not any("fenced" in note for note in plan.notes)
    required = load(pg, fence="require")
    with pytest.raises(CursorColumnError, match="pg_read_all_stats"):
        required.load()


def test_a_session_that_hides_what_it_does_leaves_no_fence(table, pg_database):
    with pg_database.as_superuser().connect() as other:
        other.execute("SET track_activities = off")
        other.execute("SELECT 1")
        notes = load(table).plan().notes
    assert any("track_activities" in note for note in notes), notes


def test_a_transaction_shorter_than_the_lag_holds_nothing_back(table):
    fenced = load(table, lag="10m")
    fenced.load()
    with transaction(table, "INSERT INTO t VALUES (1)"):
        table.run("INSERT INTO t VALUES (2)")
        result = fenced.load()
        assert (result.rows_written, result.warnings) == (1, ())
    result = fenced.load()
    assert (result.rows_written, result.late_rows) == (1, 1)
    assert fenced.rows("id") == [(0,), (1,), (2,)]


def test_the_mark_stays_where_looking_back_finds_the_rows_of_an_old_transaction(table):
    """The lag is short beside the transaction: the mark goes as far as the lag, and no further."""
    fenced = load(table, lag="2s")
    fenced.load()
    with transaction(table, "INSERT INTO t VALUES (1)"):
        for number in (2, 3, 4):
            table.run(f"INSERT INTO t VALUES ({number})")
            fenced.load()
            pass_margin(table)
        assert fenced.rows("id") != [(0,), (2,), (3,), (4,)]
    fenced.load()
    pass_margin(table)
    fenced.load()
    assert fenced.rows("id") == [(0,), (1,), (2,), (3,), (4,)]


def test_a_first_run_stops_below_open_transactions_too(table):
    fenced = load(table)
    with transaction(table, "INSERT INTO t VALUES (1)"):
        table.run("INSERT INTO t VALUES (2)")
        pass_margin(table)
        fenced.load()
        assert fenced.rows("id") == [(0,)]
    fenced.load()
    assert fenced.rows("id") == [(0,), (1,), (2,)]


def test_a_first_run_of_which_all_rows_wait_loads_them_once(table):
    table.run("DELETE FROM t")
    fenced = load(table)
    with transaction(table, "INSERT INTO t VALUES (1)"):
        table.run("INSERT INTO t VALUES (2)")
        pass_margin(table)
        assert fenced.load().rows_written == 0
        assert "wait" in " ".join((*fenced.plan().warnings, fenced.plan().reason))
    fenced.load()
    fenced.load()
    assert fenced.rows("id") == [(1,), (2,)]


def test_a_prepared_transaction_is_waited_for(table):
    fenced = load(table)
    fenced.load()
    table.there.execute("BEGIN")
    table.there.execute("INSERT INTO t VALUES (1, clock_timestamp() + interval '0.5 s')")
    table.there.execute("PREPARE TRANSACTION 'two'")
    try:
        pass_margin(table)
        table.run("INSERT INTO t VALUES (2)")
        pass_margin(table)
        plan = fenced.plan()
        assert any("second phase" in told for told in plan.warnings), plan.warnings
        fenced.load()
        assert fenced.rows("id") == [(0,)]
    finally:
        table.there.execute("COMMIT PREPARED 'two'")
    fenced.load()
    assert fenced.rows("id") == [(0,), (1,), (2,)]


def test_our_own_readers_hold_nobody_back(table, pg_database):
    fenced = load(table)
    fenced.load()
    with pg_database.connect(application_name="hwm_magics") as reader:
        reader.execute("BEGIN READ ONLY")
        reader.execute("SELECT 1")
        table.run("INSERT INTO t VALUES (1)")
        pass_margin(table)
        assert fenced.load().rows_written == 1


def test_a_notebooks_own_old_snapshot_has_no_fence(table, pg_database):
    with pg_database.as_superuser().connect() as given:
        given.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        ours = load(table)
        ours.source = given
        notes = ours.plan().notes
    assert any("repeatable read" in note for note in notes), notes


@pytest.mark.parametrize("kind", ["bigint", "numeric(20)"])
def test_trap_05_transaction_ids_are_fenced_exactly_and_whatever_the_role(pg, kind):
    pg.run(f"CREATE TABLE t (x {kind} DEFAULT {XID}, id int)", "INSERT INTO t (id) VALUES (0)")
    pass_ids(pg)
    incremental = {"column": "x", "fence": "xid"}
    ours, off = pg.ours(incremental=incremental), pg.ours(name="off", incremental={"column": "x", "lag": 0})
    naive = pg.naive(cursor="x")
    with transaction(pg, "INSERT INTO t (id) VALUES (1)"):
        pg.run("INSERT INTO t (id) VALUES (2)")
        plan = ours.plan()
        assert any("oldest that is still open" in told for told in plan.warnings), plan.warnings
        for each in (ours, off, naive):
            each.load()
        assert ours.rows("id") == [(0,)]
    pass_ids(pg)
    for each in (ours, off, naive):
        each.load()
    assert rows_of(naive.target, "id") == off.rows("id") == [(0,), (2,)]
    assert ours.rows("id") == [(0,), (1,), (2,)]
    assert any("no row is lost: a load stops below" in note for note in ours.plan().notes)
    assert ours.load().status == "nothing_new"


def test_trap_05_a_subtransactions_rows_wait_with_their_transaction(pg):
    pg.run(f"CREATE TABLE t (x bigint DEFAULT {XID}, id int)", "INSERT INTO t (id) VALUES (0)")
    pass_ids(pg)
    ours = pg.ours(incremental={"column": "x", "fence": "xid"})
    with transaction(pg, "INSERT INTO t (id) VALUES (1)", "SAVEPOINT a", "INSERT INTO t (id) VALUES (2)"):
        pg.run("INSERT INTO t (id) VALUES (3)")
        ours.load()
        assert ours.rows("id") == [(0,)]
    pass_ids(pg)
    ours.load()
    assert ours.rows("id") == [(0,), (1,), (2,), (3,)]


def test_trap_05_ids_of_a_first_run_that_all_wait_come_once(pg):
    pg.run(f"CREATE TABLE t (x bigint DEFAULT {XID}, id int)")
    ours = pg.ours(incremental={"column": "x", "fence": "xid"})
    with transaction(pg, "INSERT INTO t (id) VALUES (1)"):
        pg.run("INSERT INTO t (id) VALUES (2)")
        assert ours.load().rows_written == 0
    pass_ids(pg)
    ours.load()
    ours.load()
    assert ours.rows("id") == [(1,), (2,)]


def test_trap_06_ids_of_a_sequence_have_no_fence(watcher):
    watcher.run("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, u timestamptz DEFAULT now())")
    required = watcher.ours(incremental={"column": "id", "fence": "require"})
    with pytest.raises(CursorColumnError, match="only times tell"):
        required.load()


def test_xmin_itself_is_refused_with_the_better_way(pg):
    pg.run("CREATE TABLE t (id int)")
    with pytest.raises(CursorColumnError, match="xmin can't be the cursor") as refused:
        pg.ours(incremental={"column": "xmin"}).load()
    assert "fence: xid" in refused.value.hint


def test_sqlite_has_no_fence_to_require(lite):
    lite.run("CREATE TABLE t (id int, u timestamp)", "INSERT INTO t VALUES (1, '2024-06-01 12:00:00')")
    with pytest.raises(CursorColumnError, match="no way to tell"):
        load(lite, fence="require").load()
    with pytest.raises(CursorColumnError, match="transaction ids of PostgreSQL"):
        lite.ours(incremental={"column": "id", "fence": "xid"}).load()
    assert load(lite, "plain").load().rows_written == 1
