"""A connection that drops between two rows: trap 49. The line is cut for real, by a proxy on the way."""

from __future__ import annotations

import pytest
from servers import POSTGRES_DRIVER, require_odbc_driver
from traps.loaders import Ours
from traps.naive import append, rows_of
from traps.proxy import CuttingProxy

from hwm_magics.errors import SourceError

ROWS = 60_000
LIMIT = 2_000_000
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


def adbc(database, port):
    return {
        "type": "postgres",
        "host": "127.0.0.1",
        "port": port,
        "database": database.dbname,
        "username": database.user,
        "password": database.password,
    }


@pytest.fixture
def table(pg_database):
    """A table whose newest rows are sent first."""
    with pg_database.connect() as connection:
        connection.execute("CREATE TABLE t (id int NOT NULL, u timestamp, v text)")
        connection.execute(FILL)
    return pg_database


def test_trap_49_a_loader_that_keeps_what_came_before_the_cut_steps_over_the_rest(table, tmp_path):
    """psqlodbc raises in the end. Microsoft's driver does not, and then every loader keeps what it has."""
    import arrow_odbc

    with CuttingProxy(table.host, table.port, limit=LIMIT, reset=True) as proxy:
        reader = arrow_odbc.connect(odbc(table, proxy.port)).read_arrow_batches(
            "SELECT id, u FROM t", batch_size=1000
        )
        with pytest.raises(arrow_odbc.Error):
            for batch in reader:
                append(tmp_path / "naive", batch.to_pylist())
        assert proxy.cut.is_set()
    held = rows_of(tmp_path / "naive", "id")
    assert 0 < len(held) < ROWS
    # It begins above the highest of them from now on, and these came first.
    assert max(held) == (ROWS,)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "orderly end"])
@pytest.mark.parametrize("way", ["odbc", "adbc"])
@pytest.mark.parametrize("run", ["first run", "increment"])
def test_trap_49_ours_writes_nothing_of_a_reading_that_was_cut(table, tmp_path, way, reset, run):
    with CuttingProxy(table.host, table.port, limit=None, reset=reset) as proxy:
        settings = (
            adbc(table, proxy.port)
            if way == "adbc"
            else {"type": "odbc", "connection_string": odbc(table, proxy.port)}
        )
        ours = Ours(settings, tmp_path / "lake")
        if run == "increment":
            with table.connect() as connection:
                connection.execute("TRUNCATE t")
                connection.execute("INSERT INTO t VALUES (0, '2024-05-01', 'first')")
                ours.load()
                connection.execute(FILL)
        before = ours.rows("id")
        proxy.limit_from_now(LIMIT)
        with pytest.raises(SourceError):
            ours.load()
        assert proxy.cut.is_set()
        assert ours.rows("id") == before
        proxy.heal()
        assert ours.load().rows_written == ROWS
        assert len(set(ours.rows("id"))) == ROWS + (run == "increment")
