"""A connection that drops between two rows: trap 49. The line is cut for real, by a proxy on the way."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from servers import POSTGRES_DRIVER, require_odbc_driver
from traps.loaders import Ours
from traps.naive import append, rows_of
from traps.proxy import CuttingProxy

from hwm_magics.errors import SourceError

ROWS = 20_000
LIMIT = 700_000
FILL = (
    "INSERT INTO t SELECT n, timestamp '2024-06-01' + n * interval '1 s', md5(n::text) || md5((-n)::text)"
    f" FROM generate_series({ROWS}, 1, -1) n"
)


def odbc(database, port):
    """A connection string by way of the proxy; rows are fetched from a cursor, some at a time."""
    require_odbc_driver(POSTGRES_DRIVER)
    return (
        f"DRIVER={{{POSTGRES_DRIVER}}};SERVER=127.0.0.1;PORT={port};DATABASE={database.dbname};"
        f"UID={database.user};PWD={database.password};UseDeclareFetch=1;Fetch=1000;"
    )


def settings(way, database, port):
    """The connection by way of the proxy."""
    if way == "odbc":
        return {"type": "odbc", "connection_string": odbc(database, port)}
    return database.settings | {"port": port}


@pytest.fixture
def table(pg_database):
    """A table whose newest rows are sent first."""
    with pg_database.connect() as connection:
        connection.execute("CREATE TABLE t (id int NOT NULL, u timestamp, v text)")
        connection.execute(FILL)
    return pg_database


def prepare(ours, database, run):
    """Before an increment, there is a row and a load of it; what the target holds."""
    if run == "increment":
        with database.connect() as connection:
            connection.execute("TRUNCATE t")
            connection.execute("INSERT INTO t VALUES (0, '2024-05-01', 'first')")
            ours.load()
            connection.execute(FILL)
    return ours.rows("id")


def assert_made_good(ours, before):
    """The next load has every row once."""
    assert ours.load().rows_written == ROWS
    ids = ours.rows("id")
    assert len(ids) == len(set(ids)) == ROWS + len(before)


def test_trap_49_a_loader_that_keeps_what_came_before_the_cut_steps_over_the_rest(table, tmp_path):
    """psqlodbc raises in the end. Microsoft's driver does not, and then every loader keeps what it has."""
    import arrow_odbc

    with CuttingProxy(table.host, table.port, limit=LIMIT, between=True) as proxy:
        reader = arrow_odbc.connect(odbc(table, proxy.port)).read_arrow_batches(
            "SELECT id, u FROM t", batch_size=1000
        )

        def load():
            for batch in reader:
                append(tmp_path / "naive", batch.to_pylist())

        with pytest.raises(arrow_odbc.Error):
            load()
        assert proxy.cut.is_set()
    held = rows_of(tmp_path / "naive", "id")
    assert 0 < len(held) < ROWS
    # It begins above the highest of them from now on, and these came first.
    assert (ROWS,) in held


@pytest.mark.parametrize("run", ["first run", "increment"])
@pytest.mark.parametrize(
    ("way", "between", "reset"),
    [("odbc", True, True), ("odbc", True, False), ("adbc", False, True), ("adbc", False, False)],
    ids=["odbc, reset", "odbc, orderly end", "adbc, reset", "adbc, orderly end"],
)
def test_trap_49_ours_writes_nothing_of_a_reading_that_was_cut(table, tmp_path, way, between, reset, run):
    with CuttingProxy(table.host, table.port, limit=None, reset=reset, between=between) as proxy:
        ours = Ours(settings(way, table, proxy.port), tmp_path / "lake")
        before = prepare(ours, table, run)
        proxy.limit_from_now(LIMIT)
        with pytest.raises(SourceError):
            ours.load()
        assert proxy.cut.is_set()
        assert ours.rows("id") == before
        proxy.heal()
        assert_made_good(ours, before)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["first run", "increment"])
def test_trap_49_a_driver_that_dies_of_the_cut_takes_nothing_along(table, tmp_path, run):
    """psqlodbc 13 ends the whole process when the line is cut amid an answer."""
    script = (
        "import json, sys, hwm_magics\n"
        "spec, connections = json.loads(sys.argv[1])\n"
        "hwm_magics.load(spec, connections=connections)"
    )
    with CuttingProxy(table.host, table.port, limit=None) as proxy:
        ours = Ours(settings("odbc", table, proxy.port), tmp_path / "lake")
        before = prepare(ours, table, run)
        proxy.limit_from_now(LIMIT)
        load = [sys.executable, "-c", script, json.dumps([ours.spec(), ours.connections])]
        with pytest.raises((subprocess.CalledProcessError, subprocess.TimeoutExpired)):
            # Now and then it hangs instead.
            subprocess.run(load, check=True, capture_output=True, timeout=20)
        assert proxy.cut.is_set()
        assert ours.rows("id") == before
        proxy.heal()
        assert_made_good(ours, before)
