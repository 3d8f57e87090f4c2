"""Reads in parts side by side: every row once, in one commit, whatever happens between two parts."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from itertools import pairwise

import duckdb
import psycopg
import pytest
from deltalake import DeltaTable
from traps.proxy import CuttingProxy

import hwm_magics
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.core.decided import ReadParts, ReadRows, Window
from hwm_magics.core.query import prepare
from hwm_magics.core.specs import Partition, ReadSpec, WriteSpec
from hwm_magics.errors import (
    LoadCancelled,
    QueryError,
    SourceConnectionError,
    SourceError,
)
from hwm_magics.jobs.retries import passes
from hwm_magics.sources.base import SourceRequest
from hwm_magics.sources.dialects.tsql import TSql
from hwm_magics.sources.factory import open_source

ROWS = 1000
FILL = (
    "INSERT INTO t SELECT n, timestamptz '2024-06-01' + n * interval '1 s', n % 7"
    f" FROM generate_series(1, {ROWS}) n"
)


class Load:
    """A load with its connections and a lake of its own."""

    def __init__(self, source, folder, *, write=None, **read) -> None:
        self.connections = {"source": source, "lake": {"type": "local", "root": str(folder / "lake")}}
        self.spec = {
            "read": {"connection": "source", "table": "t", "incremental": {"column": "u"}, **read},
            "write": {"connection": "lake", "path": "t", **(write or {})},
        }
        if "query" in read:
            del self.spec["read"]["table"]
        self.target = folder / "lake" / "t"

    def plan(self):
        return hwm_magics.plan(self.spec, connections=self.connections)

    def run(self, **options):
        return hwm_magics.load(self.spec, connections=self.connections, **options)

    def ids(self):
        return sorted(
            DeltaTable(self.target).to_pyarrow_table(columns=["id"]).column(0).to_pylist(),
            key=lambda each: (each is None, each),
        )

    def at_mid_read(self, do):
        """Run it, and do something once its first rows have come."""
        job = hwm_magics.job(self.spec, connections=self.connections)
        # There is no public way to it, and must be none.
        job._loader.failpoint = lambda name: do(job) if name == "mid_read" else None
        return job.run().wait()

    def version(self):
        return DeltaTable(self.target).version()


def parts_of(plan):
    return plan.step(ReadRows).parts


@pytest.fixture
def table(pg_database):
    """A thousand rows in PostgreSQL."""
    with pg_database.connect() as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, u timestamptz, v int)")
        connection.execute(FILL)
    return pg_database


@pytest.fixture
def settings(table):
    return {"type": "postgres", "url": table.url}


def sessions(database, *, still=0):
    """How many sessions of ours the server has, once they are not more than expected."""
    with database.as_superuser().connect() as connection:
        while True:
            (count,) = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hwm_magics' AND datname = %s",
                (database.dbname,),
            ).fetchone()
            if count <= still:
                return count


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("hwm-part")]


@pytest.mark.parametrize("column", ["id", "u", "v"])
def test_postgres_by_any_column_in_one_commit(table, settings, tmp_path, column):
    made = Load(settings, tmp_path, partition={"column": column, "count": 12})
    plan = made.plan()
    parts = parts_of(plan)
    assert (parts.shared, parts.by) == (True, column)
    assert parts.at_once <= 8
    assert any("one snapshot" in note for note in plan.notes)
    result = made.run()
    assert (result.rows_read, result.rows_written) == (ROWS, ROWS)
    assert made.ids() == list(range(1, ROWS + 1))
    assert sessions(table) == 0
    with table.connect() as connection:
        connection.execute("INSERT INTO t VALUES (5000, '2024-07-01', 1), (5001, '2024-07-02', NULL)")
    again = made.run()
    assert (again.decision, again.rows_written) == ("INCREMENTAL", 2)
    assert made.ids() == [*range(1, ROWS + 1), 5000, 5001]
    # The bounds of an increment are those of its own rows.
    assert made.run().status == "nothing_new"
    assert readers() == []


def test_rows_without_a_value_come_once(table, settings, tmp_path):
    with table.connect() as connection:
        connection.execute("ALTER TABLE t DROP CONSTRAINT t_pkey, ALTER id DROP NOT NULL")
        connection.execute("UPDATE t SET id = NULL WHERE id % 10 = 0")
    made = Load(settings, tmp_path, partition={"column": "id", "count": 5})
    assert made.run().rows_written == ROWS
    assert made.ids().count(None) == ROWS // 10


@pytest.fixture
def few_are_many(monkeypatch):
    """Have `auto` think a thousand rows worth it."""
    monkeypatch.setattr("hwm_magics.core.partition.AUTO_ROWS", 100)
    monkeypatch.setattr("hwm_magics.core.partition.AUTO_BYTES", 8192)


def test_auto_reads_a_table_by_its_pages(settings, tmp_path, few_are_many):
    made = Load(settings, tmp_path, partition="auto")
    plan = made.plan()
    parts = parts_of(plan)
    assert (parts.by, parts.shared) == ("the table's pages (ctid)", True)
    assert len(parts.statements) > 2
    assert made.run().rows_written == ROWS
    assert made.ids() == list(range(1, ROWS + 1))


def test_auto_reads_a_small_table_in_one_stream(settings, tmp_path):
    plan = Load(settings, tmp_path, partition="auto").plan()
    assert parts_of(plan) is None
    assert any("too few to gain" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        ("CREATE VIEW other AS SELECT * FROM t", "a view"),
        (
            "CREATE TABLE other (id bigint, u timestamptz, v int) PARTITION BY RANGE (id)",
            "a partitioned table",
        ),
        ("CREATE TABLE other (LIKE t); CREATE TABLE child () INHERITS (other)", "inherit"),
    ],
)
def test_auto_says_why_there_are_no_pages(table, settings, tmp_path, few_are_many, made_by, why):
    with table.connect() as connection:
        connection.execute(made_by)
    plan = Load(settings, tmp_path, table="other", partition="auto").plan()
    assert parts_of(plan) is None
    assert any(why in note for note in plan.notes), plan.notes


def test_auto_falls_back_to_the_primary_key(table, settings, tmp_path, few_are_many):
    with table.connect() as connection:
        connection.execute(
            "CREATE TABLE other (id bigint PRIMARY KEY, u timestamptz, v int) PARTITION BY RANGE (id);"
            "CREATE TABLE low PARTITION OF other FOR VALUES FROM (0) TO (500);"
            "CREATE TABLE high PARTITION OF other FOR VALUES FROM (500) TO (5000);"
            "INSERT INTO other SELECT * FROM t"
        )
    made = Load(settings, tmp_path, table="other", partition="auto")
    assert parts_of(made.plan()).by == "id"
    made.run()
    assert made.ids() == list(range(1, ROWS + 1))


class Held:
    """A read in parts, one at a time, that can be looked at half-way."""

    def __init__(self, database, partition, *, shared) -> None:
        read = ReadSpec("shop", table="t", partition=partition)
        connection = PostgresConnection(name="shop", url=Secret.of_address(database.url))
        self.source = open_source(connection, read)
        query = prepare(read, WriteSpec("lake", path="x"), "postgres")
        self.source.observe(SourceRequest(query, first_run=True, partition=partition))
        cuts = range(100, ROWS, 100)
        if partition.auto:
            ends = [f"CAST('({page},0)' AS tid)" for page in range(1, 5)]
            column = "ctid"
        else:
            ends, column = [str(cut) for cut in cuts], "id"
        conditions = [f"{column} < {ends[0]}"]
        conditions += [f"{column} >= {a} AND {column} < {b}" for a, b in pairwise(ends)]
        conditions += [f"{column} >= {ends[-1]}"]
        whole = query.rows(first_run=True, window=Window())
        statements = tuple(
            query.rows(first_run=True, window=Window(), part=(condition,)) for condition in conditions
        )
        parts = ReadParts(statements, column, at_once=1, shared=shared)
        self.stream = self.source.open_parts(whole, parts)
        # One batch is here, two wait, one is in the reader's hand: later parts have not been read.
        self.rows = next(self.stream.batches).to_pylist()

    def rest(self):
        for batch in self.stream.batches:
            self.rows += batch.to_pylist()
        return sorted(row["id"] for row in self.rows)

    def close(self):
        self.stream.close()
        self.source.close()


@pytest.mark.parametrize(("moved", "naive"), [((1, 2001), "doubled"), ((901, -1), "lost")])
def test_a_row_that_moves_between_two_parts_comes_once(table, moved, naive):
    old, new = moved
    for shared in (True, False):
        with closing(Held(table, Partition("id", 10), shared=shared)) as held:
            with table.connect() as connection:
                connection.execute("UPDATE t SET id = %s WHERE id = %s", (new, old))
            found = held.rest()
            with table.connect() as connection:
                connection.execute("UPDATE t SET id = %s WHERE id = %s", (old, new))
        if shared:
            assert found == list(range(1, ROWS + 1))
        elif naive == "doubled":
            assert len(found) == ROWS + 1, "statements without a common snapshot read the row twice"
        else:
            assert len(found) == ROWS - 1, "statements without a common snapshot lose the row"


def test_a_table_is_not_rewritten_while_its_pages_are_read(table):
    with table.connect() as connection:
        connection.execute("DELETE FROM t WHERE id <= 300")
        held = Held(table, Partition(None, 0), shared=True)
        connection.execute("SET lock_timeout = '100ms'")
        for rewriting in ("VACUUM FULL t", "TRUNCATE t", "ALTER TABLE t ALTER v TYPE bigint"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                connection.execute(rewriting)
        assert held.rest() == list(range(301, ROWS + 1))
        held.close()
        connection.execute("VACUUM FULL t")


def test_closing_half_way_closes_every_connection(table):
    held = Held(table, Partition("id", 10), shared=True)
    assert len(readers()) == 1
    held.stream.close()
    held.stream.close()
    assert readers() == []
    assert sessions(table, still=1) == 1  # the source's own, outside of any transaction
    with table.connect() as connection:
        connection.execute("SET lock_timeout = '5s'")
        connection.execute("TRUNCATE t")
    held.close()


def test_a_reader_that_is_faster_than_the_writer_waits(table):
    with closing(Held(table, Partition("id", 10), shared=True)) as held:
        part = held.stream.batches
        assert len(readers()) == 1
        seen = 1
        for batch in part:
            seen += 1
            assert batch.num_rows <= 101
        assert seen == 10


def test_an_error_in_one_part_is_the_loads_and_nothing_is_committed(table, settings, tmp_path):
    query = "SELECT id, u, 100 / (v - 100) AS x FROM t"
    made = Load(settings, tmp_path, query=query, partition={"column": "id", "count": 4})
    made.run()
    version = made.version()
    with table.connect() as connection:
        connection.execute(FILL.replace("SELECT n,", f"SELECT n + {ROWS},").replace("n % 7", "n % 101"))
        connection.execute("UPDATE t SET u = u + interval '1 day' WHERE id > 1000")
    with pytest.raises(QueryError, match="division by zero"):
        made.run()
    assert (made.version(), readers(), sessions(table)) == (version, [], 0)
    with table.connect() as connection:
        connection.execute("UPDATE t SET v = 1 WHERE v = 100")
    made.run()
    assert made.ids() == list(range(1, 2 * ROWS + 1))


def test_an_error_does_not_wait_for_a_part_that_the_server_is_still_busy_with(table, settings, tmp_path):
    query = (
        "SELECT id, u, CASE WHEN id = 1 THEN CAST(1 / (id - 1) AS text) WHEN id > 500 THEN "
        "CAST(pg_sleep(600) AS text) END AS x FROM t"
    )
    made = Load(settings, tmp_path, query=query, partition={"column": "id", "count": 2})
    with pytest.raises(QueryError, match="division by zero"):
        made.run()
    assert (readers(), sessions(table)) == ([], 0)


@pytest.mark.parametrize("parts", [4, 40], ids=["while all parts read", "before some have begun"])
def test_when_the_connection_that_holds_the_snapshot_ends_the_load_fails(table, settings, tmp_path, parts):
    made = Load(settings, tmp_path, partition={"column": "id", "count": parts})
    made.run()
    version = made.version()
    with table.connect() as connection:
        connection.execute("UPDATE t SET u = u + interval '1 day'")

    def kill(_job):
        with table.as_superuser().connect() as connection:
            # The one that holds the snapshot is idle in its transaction; other databases are other tests'.
            killed = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'hwm_magics' AND query LIKE '%pg_export_snapshot%'"
                " AND datname = current_database()"
            ).fetchall()
            assert killed == [(True,)]

    with pytest.raises(SourceConnectionError) as ended:
        made.at_mid_read(kill)
    assert passes(ended.value)
    assert (made.version(), readers()) == (version, [])
    assert made.run().rows_written == ROWS


def test_a_line_that_is_cut_amid_the_parts_fails_the_load(table, tmp_path):
    with table.connect() as connection:
        connection.execute("ALTER TABLE t ADD w text")
        connection.execute("UPDATE t SET w = repeat(md5(id::text), 50)")
    with CuttingProxy(table.host, table.port, limit=600_000) as proxy:
        settings = {"type": "postgres", "url": table.url.replace(f":{table.port}/", f":{proxy.port}/")}
        made = Load(settings, tmp_path, partition={"column": "id", "count": 6})
        with pytest.raises(SourceError):
            made.run()
        assert proxy.cut.is_set()
        assert readers() == []
        proxy.heal()
        assert made.run().rows_written == ROWS
    assert made.ids() == list(range(1, ROWS + 1))


def test_a_cancel_stops_all_parts(table, settings, tmp_path):
    made = Load(settings, tmp_path, partition={"column": "id", "count": 4})
    made.run()
    version = made.version()
    with table.connect() as connection:
        connection.execute("UPDATE t SET u = u + interval '1 day'")
    with pytest.raises(LoadCancelled):
        made.at_mid_read(lambda job: job.cancel())
    assert (made.version(), readers(), sessions(table)) == (version, [], 0)


def test_a_column_that_the_query_makes_is_refused(settings, tmp_path):
    query = "SELECT CAST(random() * 100 AS int) AS id, u FROM t"
    plan = Load(settings, tmp_path, query=query, partition={"column": "id", "count": 4}).plan()
    assert plan.decision == "BLOCKED"
    assert "makes 'id' itself" in plan.reason


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ({"query": "SELECT * FROM t LIMIT 10"}, "more than choose rows"),
        ({"query": "SELECT a.* FROM t a JOIN t b ON a.id = b.id"}, "more than choose rows"),
        ({"partition": {"column": "nope", "count": 2}}, "no column 'nope'"),
    ],
)
def test_what_can_not_be_split_is_refused_when_asked_for_by_name(settings, tmp_path, read, why):
    plan = Load(settings, tmp_path, **{"partition": {"column": "id", "count": 2}, **read}).plan()
    assert plan.decision == "BLOCKED"
    assert why in plan.reason


def test_a_first_run_query_of_one_table_is_read_in_parts(table, settings, tmp_path):
    made = Load(
        settings,
        tmp_path,
        write={"first_run_query": "SELECT * FROM t"},
        query="SELECT * FROM t WHERE v >= 0",
        partition={"column": "id", "count": 3},
    )
    assert len(parts_of(made.plan()).statements) == 3
    assert made.run().rows_written == ROWS


def test_each_chunk_of_a_first_load_is_read_in_parts(settings, tmp_path):
    chunks = {"first_run": {"chunk": "5m"}}
    made = Load(settings, tmp_path, write=chunks, partition={"column": "id", "count": 3})
    assert len(parts_of(made.plan()).statements) == 3
    made.run()
    assert made.ids() == list(range(1, ROWS + 1))
    assert made.version() >= 4  # created, and a commit a window
    auto = Load(settings, tmp_path / "auto", write=chunks, partition="auto")
    assert any("a window at a time" in note for note in auto.plan().notes)


def test_a_connection_of_the_notebook_is_one(table, tmp_path):
    with psycopg.connect(table.url, autocommit=True) as given:
        asked = Load(given, tmp_path, partition={"column": "id", "count": 2}).plan()
        assert asked.decision == "BLOCKED"
        assert "is one and can't be opened a second time" in asked.reason
        made = Load(given, tmp_path, partition="auto")
        assert any("second time" in note for note in made.plan().notes)
        assert made.run().rows_written == ROWS


def test_postgres_without_a_common_snapshot_takes_its_key_only(table, tmp_path):
    url = table.url.replace("postgresql://", "postgresql+psycopg://")
    settings = {"type": "sql", "url": url}
    made = Load(settings, tmp_path, partition={"column": "id", "count": 3})
    plan = made.plan()
    assert (parts_of(plan).shared, len(parts_of(plan).statements)) == (False, 3)
    assert made.run().rows_written == ROWS
    refused = Load(settings, tmp_path, partition={"column": "v", "count": 3}).plan()
    assert refused.decision == "BLOCKED"


@pytest.fixture
def lite(sqlite_path):
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, u TIMESTAMP, v INT, anything)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)",
            ((n, f"2024-06-01 12:{n // 60:02}:{n % 60:02}", n % 7, n) for n in range(1, ROWS + 1)),
        )
    return {"type": "sqlite", "database": str(sqlite_path)}


def test_sqlite_by_its_key(lite, tmp_path):
    made = Load(lite, tmp_path, partition={"column": "id", "count": 3})
    assert parts_of(made.plan()).shared is False
    assert made.run().rows_written == ROWS
    assert made.ids() == list(range(1, ROWS + 1))


def test_sqlite_types_are_told_once_for_all_parts(lite, tmp_path):
    """Of a column without a type its first values tell: those of the whole, and not of each part."""
    with closing(sqlite3.connect(lite["database"], isolation_level=None)) as connection:
        connection.execute("UPDATE t SET anything = NULL WHERE id <= 500")
    made = Load(lite, tmp_path, partition={"column": "id", "count": 4})
    assert made.run().rows_written == ROWS
    assert DeltaTable(made.target).to_pyarrow_table().column("anything").null_count == 500


def test_sqlite_by_a_column_that_may_change_is_refused_unless_it_is_a_key(lite, tmp_path):
    refused = Load(lite, tmp_path, partition={"column": "v", "count": 3}).plan()
    assert refused.decision == "BLOCKED"
    assert "lost or read twice" in refused.reason
    write = {"keys": ["v", "id"]}
    made = Load(lite, tmp_path, write=write, partition={"column": "v", "count": 3})
    assert made.run().rows_written == ROWS


def test_sqlite_auto_takes_the_primary_key(lite, tmp_path, few_are_many):
    made = Load(lite, tmp_path, partition="auto")
    assert parts_of(made.plan()).by == "id"
    made.run()
    assert made.ids() == list(range(1, ROWS + 1))


def test_duckdb_by_a_key(tmp_path):
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT n AS id, TIMESTAMP '2024-06-01' + n * INTERVAL 1 SECOND AS u, n % 7 AS v"
            f" FROM range(1, {ROWS + 1}) AS r(n)"
        )
    write = {"keys": ["id"]}
    settings = {"type": "duckdb", "database": str(path)}
    made = Load(settings, tmp_path, write=write, partition={"column": "id", "count": 3})
    assert made.run().rows_written == ROWS
    assert made.ids() == list(range(1, ROWS + 1))


def test_duckdb_auto_takes_the_primary_key(tmp_path, few_are_many):
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t (id INT PRIMARY KEY, u TIMESTAMP, v INT UNIQUE)")
        connection.execute(
            "INSERT INTO t SELECT n, TIMESTAMP '2024-06-01' + n * INTERVAL 1 SECOND, -n"
            f" FROM range(1, {ROWS + 1}) AS r(n)"
        )
    settings = {"type": "duckdb", "database": str(path)}
    made = Load(settings, tmp_path, partition="auto")
    assert parts_of(made.plan()).by == "id"
    made.run()
    assert made.ids() == list(range(1, ROWS + 1))
    refused = Load(settings, tmp_path, partition={"column": "v", "count": 2}).plan()
    assert refused.decision == "BLOCKED"


@pytest.fixture
def orders(erp):
    erp.create("dbo.t", "id int NOT NULL PRIMARY KEY", "u datetime2(3) NOT NULL", "v int")
    erp.insert("dbo.t", *((n, f"'2024-06-01 12:00:{n:02d}'", n % 7) for n in range(1, 31)))
    return erp.settings


def test_sql_server_by_its_key(orders, tmp_path):
    made = Load(orders, tmp_path, table="dbo.t", partition={"column": "id", "count": 4})
    assert len(parts_of(made.plan()).statements) == 4
    assert made.run().rows_written == 30
    assert made.ids() == list(range(1, 31))
    refused = Load(orders, tmp_path, table="dbo.t", partition={"column": "v", "count": 4}).plan()
    assert refused.decision == "BLOCKED"


def test_a_listener_that_leads_to_several_servers_fails_the_load(orders, tmp_path, monkeypatch):
    made = Load(orders, tmp_path, table="dbo.t", partition={"column": "id", "count": 4})
    replicas = iter(f"replica {number}" for number in range(100))
    monkeypatch.setattr(TSql, "server", lambda _self, _ask: next(replicas))
    with pytest.raises(SourceConnectionError, match="different servers"):
        made.run()
    assert readers() == []
