"""Reading from a real standby, which follows its primary late at times: trap 28, and what fences there are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from servers import PgDatabase, PostgresServer, ServerRoom
from traps.loaders import Ours

from hwm_magics.errors import CursorColumnError, QueryError, WatermarkAheadError

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

NOON = "2024-06-01 12:00:00"
XID = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"


@dataclass(frozen=True, slots=True)
class Pair:
    """A database on a primary and on the standby that follows it.

    Attributes:
        primary, standby: The database there, as `loader` sees it.
        here: A connection to the primary in autocommit mode.
        replay: A superuser's connection to the standby.
        folder: Where the lakes go.
    """

    primary: PgDatabase
    standby: PgDatabase
    here: psycopg.Connection[Any]
    replay: psycopg.Connection[Any]
    folder: Path

    def run(self, *statements: str) -> None:
        """Run statements on the primary, and wait until the standby has seen them."""
        for statement in statements:
            self.here.execute(statement)
        self.follow()

    def follow(self) -> None:
        """Wait until the standby has seen what the primary has done so far."""
        (place,) = self.here.execute("SELECT pg_current_wal_lsn()").fetchone()
        wait_for(self.replay, "SELECT pg_last_wal_replay_lsn() >= CAST(%s AS pg_lsn)", place)

    @contextmanager
    def late(self) -> Iterator[None]:
        """Have the standby see nothing new meanwhile."""
        self.replay.execute("SELECT pg_wal_replay_pause()")
        wait_for(self.replay, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
        yield
        self.replay.execute("SELECT pg_wal_replay_resume()")
        self.follow()

    def load(self, database: PgDatabase | None = None, **settings: Any) -> Ours:
        """A load of ours from the standby, or from a database that is named."""
        return Ours((database or self.standby).settings, self.folder / "lake", **settings)


def wait_for(connection: psycopg.Connection[Any], question: str, *values: object) -> None:
    """Ask until the answer is yes."""
    end = time.monotonic() + 60
    while connection.execute(question, values or None).fetchone() != (True,):
        assert time.monotonic() < end, f"waited in vain for {question}"
        time.sleep(0.02)


@contextmanager
def servers_in_a_room() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its standby, apart from the run's server: nobody else's work is to be followed."""
    with closing(ServerRoom.open()) as room:
        primary = room.postgres()
        with primary.database("postgres").as_superuser().connect() as admin:
            # What it cleans up the standby must follow, and that ends reads at any moment.
            admin.execute("ALTER SYSTEM SET autovacuum = off")
            admin.execute("SELECT pg_reload_conf()")
        yield primary, room.standby()


@contextmanager
def database_on(servers: tuple[PostgresServer, PostgresServer], folder: Path) -> Iterator[Pair]:
    """A fresh database on both."""
    primary, standby = servers
    with ExitStack() as stack:
        made = stack.enter_context(primary.new_database())
        replay = stack.enter_context(standby.database("postgres").as_superuser().connect())
        # The test servers commit before anything is written, and what is not written nobody can wait for.
        here = stack.enter_context(made.connect(options="-c synchronous_commit=on"))
        pair = Pair(made, standby.database(made.dbname), here, replay, folder)
        pair.follow()
        yield pair


@pytest.fixture(scope="module")
def _servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with servers_in_a_room() as pair:
        yield pair


@pytest.fixture
def pair(_servers, tmp_path) -> Iterator[Pair]:
    """A fresh database on a primary and its standby."""
    with database_on(_servers, tmp_path) as made:
        yield made


def test_trap_28_rows_that_a_standby_has_not_seen_yet_come_later(pair):
    pair.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    ours = pair.load()
    ours.load()
    with pair.standby.connect() as reading:
        with pair.late():
            pair.here.execute(f"INSERT INTO t VALUES (2, timestamp '{NOON}' + interval '1 hour')")
            (mark,) = pair.here.execute("SELECT MAX(u) FROM t").fetchone()
            naive = reading.execute("SELECT id FROM t WHERE u <= %s", [mark]).fetchall()
            assert ours.load().status == "nothing_new"
        naive += reading.execute("SELECT id FROM t WHERE u > %s", [mark]).fetchall()
    ours.load()
    assert naive == [(1,)]
    assert ours.rows("id") == [(1,), (2,)]
    assert ours.load().status == "nothing_new"


def test_trap_28_a_mark_of_the_primary_holds_on_a_standby_that_is_behind_it(pair):
    pair.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    primary, standby = pair.load(pair.primary), pair.load()
    with pair.late():
        pair.here.execute(f"INSERT INTO t VALUES (2, timestamp '{NOON}' + interval '1 hour')")
        assert primary.load().rows_written == 2
        with pytest.raises(WatermarkAheadError, match="a standby that is behind"):
            standby.load()
        pair.here.execute(f"INSERT INTO t VALUES (3, timestamp '{NOON}' + interval '2 hours')")
    assert standby.load().rows_written == 1
    assert standby.rows("id") == [(1,), (2,), (3,)]


def test_trap_05_times_have_no_fence_on_a_standby_and_the_plan_says_so(pair):
    pair.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
    notes = pair.load().plan().notes
    assert any("a standby does not know of the transactions" in note for note in notes), notes
    with pytest.raises(CursorColumnError, match="a standby does not know"):
        pair.load(incremental={"column": "u", "fence": "require"}).load()


def test_trap_05_transaction_ids_are_fenced_exactly_on_a_standby_too(pair):
    pair.run(f"CREATE TABLE t (x bigint DEFAULT {XID}, id int)", "INSERT INTO t (id) VALUES (0)")
    ours = pair.load(incremental={"column": "x", "fence": "xid"})
    ours.load()
    with pair.primary.connect() as open_one, open_one.transaction():
        open_one.execute("INSERT INTO t (id) VALUES (1)")
        pair.run("INSERT INTO t (id) VALUES (2)")
        ours.load()
        assert ours.rows("id") == [(0,)]
    pair.run("INSERT INTO t (id) VALUES (3)")
    ours.load()
    with pair.late():
        pair.here.execute("INSERT INTO t (id) VALUES (4)")
        ours.load()
    pair.run("SELECT pg_current_xact_id()")
    ours.load()
    assert ours.rows("id") == [(0,), (1,), (2,), (3,), (4,)]


def test_a_read_in_parts_sees_one_moment_of_a_standby(pair):
    pair.run(
        "CREATE TABLE t (id int PRIMARY KEY, u timestamp)",
        f"INSERT INTO t SELECT n, timestamp '{NOON}' + n * interval '1 second' FROM generate_series(1, 5000) n",
    )
    seen = []

    def write_meanwhile(place: str) -> None:
        if place == "after_clock":
            seen.append(place)
            pair.run("DELETE FROM t WHERE id <= 100")

    ours = pair.load(read={"partition": {"column": "id", "count": 3}})
    assert any("one snapshot" in note for note in ours.plan().notes)
    assert ours.load(failpoint=write_meanwhile).rows_written in (4900, 5000)
    assert seen


def test_a_read_that_is_in_the_way_of_the_standby_fails_and_writes_nothing(pair):
    pair.run(
        "CREATE TABLE t (id int, v text)",
        "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n",
    )
    # The last rows take ten seconds: the standby is sure to get the change while they are read.
    slow = "SELECT * FROM t WHERE id <= 18000 OR CAST(pg_sleep(0.005) AS text) IS NOT NULL"
    whole = {"incremental": {}, "write": {"mode": "overwrite"}}
    changed = []

    def change_the_table(place: str) -> None:
        if place == "mid_read" and not changed:
            changed.append(place)
            pair.here.execute("ALTER TABLE t ADD COLUMN w text")

    ours = pair.load(read={"query": slow}, **whole)
    with pytest.raises(QueryError, match="due to conflict with recovery") as refused:
        ours.load(failpoint=change_the_table)
    assert "max_standby_streaming_delay" in refused.value.hint
    assert ours.rows("id") == []
    pair.follow()
    assert pair.load(**whole).load().rows_written == 20_000


@pytest.mark.timeout(120)
def test_trap_29_a_standby_that_took_over_is_the_same_database_with_another_history(tmp_path):
    with servers_in_a_room() as servers, database_on(servers, tmp_path) as pair:
        pair.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}')")
        ours = pair.load()
        ours.load()
        pair.replay.execute("SELECT pg_promote()")
        # It tells the timeline, and the server itself takes minutes over it.
        pair.replay.execute("CHECKPOINT")
        with pair.standby.connect() as promoted:
            promoted.execute(f"INSERT INTO t VALUES (2, timestamp '{NOON}' + interval '1 hour')")
        warnings = ours.plan().warnings
        assert any("failed over since the last load (timeline 1 → timeline 2)" in told for told in warnings)
        ours.load()
        assert ours.rows("id") == [(1,), (2,)]
