"""Wide rows come in batches of a bounded size, whichever way leads to them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import ColumnProperties, WriterProperties, write_deltalake
from integration.test_source_ways import each, observed, to_postgres, to_sqlite
from pyarrow import parquet

from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.sql import DuckDbConnection
from hwm_magics.core.query import prepare
from hwm_magics.core.specs import ReadSpec, WriteSpec
from hwm_magics.sources.factory import open_source
from hwm_magics.sources.files_arrow import open_files
from hwm_magics.sources.files_delta import open_delta

ROWS = 9_000
WIDTH = 6_000
"""Characters a row: 54 MB together."""
PLAIN = WriterProperties(column_properties={"v": ColumnProperties(dictionary_enabled=False)})
"""Such a file tells how wide its rows are, though all are alike."""
WIDE = f"SELECT n AS id, {{text}} AS v FROM {{numbers}} WHERE n <= {ROWS}"
MOST_BYTES = 9 * 2**20
MOST_OF_ODBC = 36 * 2**20


def sizes_of(source, read):
    query = prepare(read, WriteSpec("lake", path="x"), source.dialect)
    state = observed(source, read)
    stream = source.open(query.rows(first_run=True, projection=state.projection))
    ids, sizes = [], []
    for batch in stream.batches:
        ids += batch.column("id").to_pylist()
        assert set(pc.utf8_length(batch.column("v")).to_pylist()) == {WIDTH}
        sizes.append(batch.nbytes)
    assert sorted(ids) == list(range(1, ROWS + 1))
    return sizes


def check(source, read, most=MOST_BYTES):
    sizes = sizes_of(source, read)
    assert len(sizes) > 1
    assert max(sizes) <= most


@pytest.mark.parametrize("way", each(["adbc", "sqlalchemy", "odbc", "psycopg", "pyodbc object"]))
def test_postgresql_gives_wide_rows_in_small_batches(way, pg_database):
    numbers = f"generate_series(1, {ROWS}) AS n"
    query = WIDE.format(text=f"repeat('x', {WIDTH})", numbers=numbers)
    read = ReadSpec("shop", query=query)
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        check(source, read, MOST_OF_ODBC if way == "odbc" else MOST_BYTES)


@pytest.mark.parametrize("way", each(["adbc", "sqlalchemy", "sqlite3"]))
def test_sqlite_gives_wide_rows_in_small_batches(way, tmp_path):
    path = tmp_path / "wide.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE w (n INTEGER PRIMARY KEY, v TEXT)")
        rows = ((number, "x" * WIDTH) for number in range(1, ROWS + 1))
        connection.executemany("INSERT INTO w VALUES (?, ?)", rows)
    connection.close()
    read = ReadSpec("shop", query=WIDE.format(text="v", numbers="w"))
    with to_sqlite(way, path) as opens, opens(read) as source:
        check(source, read)


def test_duckdb_gives_wide_rows_in_small_batches():
    numbers = f"range(1, {ROWS + 1}) AS t(n)"
    read = ReadSpec("shop", query=WIDE.format(text=f"repeat('x', {WIDTH})", numbers=numbers))
    with open_source(DuckDbConnection(name="shop", database=":memory:"), read) as source:
        check(source, read)


@pytest.mark.parametrize("groups", [ROWS, 1_000])
def test_parquet_files_give_wide_rows_in_small_batches(tmp_path, groups):
    table = pa.table({"id": pa.array(range(1, ROWS + 1)), "v": ["x" * WIDTH] * ROWS})
    parquet.write_table(table, tmp_path / "wide.parquet", row_group_size=groups, use_dictionary=False)
    read = ReadSpec("lake", path="*.parquet", format="parquet", options={"settle": timedelta(0)})
    with open_files(LocalConnection(name="lake", root=str(tmp_path)), read) as source:
        check(source, read)


def test_a_delta_table_gives_wide_rows_in_small_batches(tmp_path):
    table = pa.table({"id": pa.array(range(1, ROWS + 1)), "v": ["x" * WIDTH] * ROWS})
    narrow = pa.table({"id": pa.array([], pa.int64()), "v": pa.array([], pa.string())})
    write_deltalake(tmp_path / "t", narrow)
    write_deltalake(tmp_path / "t", table, mode="append", writer_properties=PLAIN)
    read = ReadSpec("lake", path="t", format="delta")
    with open_delta(LocalConnection(name="lake", root=str(tmp_path)), read) as source:
        check(source, read)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_text_files_give_wide_rows_in_small_batches(form, tmp_path):
    text = "x" * WIDTH
    if form == "csv":
        lines = ["id,v", *(f"{number},{text}" for number in range(1, ROWS + 1))]
    else:
        lines = [json.dumps({"id": number, "v": text}) for number in range(1, ROWS + 1)]
    (tmp_path / f"rows.{form}").write_text("\n".join(lines) + "\n")
    read = ReadSpec("lake", path=f"*.{form}", format=form, options={"settle": timedelta(0)})
    with open_files(LocalConnection(name="lake", root=str(tmp_path)), read) as source:
        check(source, read)


LOAD = """
import contextlib, json, os, re, sys
import hwm_magics
spec, connections = json.loads(sys.stdin.read())
allowed = os.sched_getaffinity(0)
result = hwm_magics.load(spec, connections=connections)
"""
TOLD = """
restricted = []
for thread in os.listdir("/proc/self/task"):
    with contextlib.suppress(ProcessLookupError):
        if os.sched_getaffinity(int(thread)) != allowed:
            restricted.append(thread)
with open("/proc/self/status") as status:  # what getrusage tells begins with the peak of who started this
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1]) // 1024
print(json.dumps({
    "rows": result.rows_written,
    "peak": peak,
    "restricted": restricted,
}))
"""
PLANNED = """
from deltalake import QueryBuilder
query = QueryBuilder({"datafusion.catalog.information_schema": "true"})
found = query.execute("SHOW datafusion.execution.target_partitions").read_all()
print(json.dumps(found["value"].to_pylist()))
"""


def loaded(spec, connections, told=TOLD):
    """What a process of its own tells that loads something."""
    made = subprocess.run(
        [sys.executable, "-c", LOAD + told],
        input=json.dumps([spec, connections]),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(made.stdout)


@pytest.mark.slow
def test_rows_of_a_hundred_kilobytes_take_no_more_memory_than_narrow_ones(pg_database, tmp_path):
    """delta-rs left to itself would hold 8,192 rows for each processor, and take 1.9 GB."""
    query = "SELECT n AS id, repeat('x', 100000) AS v FROM generate_series(1, 12000) AS n"
    spec = {
        "read": {"connection": "shop", "query": query},
        "write": {"connection": "lake", "path": "wide", "mode": "overwrite"},
    }
    connections = {"shop": pg_database.settings, "lake": {"type": "local", "root": str(tmp_path)}}
    told = loaded(spec, connections)
    assert (told["rows"], told["restricted"]) == (12_000, [])
    assert told["peak"] < 450  # of 1,200 MB of rows


@pytest.mark.slow
def test_an_increment_of_such_rows_takes_no_more_memory_either(pg_database, tmp_path):
    """It looks at the target's last rows first, and delta-rs plans all that follows as it planned that."""
    spec = {
        "read": {"connection": "shop", "table": "wide", "incremental": {"column": "updated_at"}},
        "write": {"connection": "lake", "path": "wide", "mode": "append"},
    }
    connections = {"shop": pg_database.settings, "lake": {"type": "local", "root": str(tmp_path)}}
    rows = "SELECT n AS id, repeat('x', 100000) AS v, TIMESTAMP '2024-01-01' + n * INTERVAL '1 second' AS updated_at"
    with pg_database.connect(autocommit=True) as shop:
        shop.execute(f"CREATE TABLE wide AS {rows} FROM generate_series(1, 10) AS n")
        assert loaded(spec, connections)["rows"] == 10
        shop.execute(f"INSERT INTO wide {rows} FROM generate_series(11, 8000) AS n")
    told = loaded(spec, connections)
    assert (told["rows"], told["restricted"]) == (7_990, [])
    assert told["peak"] < 450  # of 800 MB of rows


@pytest.mark.slow
def test_a_delta_table_of_such_rows_is_read_and_written_in_bounded_memory(tmp_path):
    """The whole of it would be held where delta-rs planned its reading as it likes: 1.8 GB."""

    def batches():
        for first in range(0, 10_000, 50):
            texts = [os.urandom(12_500).hex() + "y" * 75_000 for _ in range(50)]
            yield pa.record_batch({"id": pa.array(range(first, first + 50)), "v": texts})

    schema = pa.schema({"id": pa.int64(), "v": pa.string()})
    properties = WriterProperties(max_row_group_size=320)
    rows = pa.RecordBatchReader.from_batches(schema, batches())
    write_deltalake(tmp_path / "from", rows, writer_properties=properties)
    spec = {
        "read": {"connection": "lake", "path": "from", "format": "delta"},
        "write": {"connection": "lake", "path": "to", "mode": "overwrite"},
    }
    told = loaded(spec, {"lake": {"type": "local", "root": str(tmp_path)}})
    assert (told["rows"], told["restricted"]) == (10_000, [])
    assert told["peak"] < 1_100  # of 1,000 MB of rows


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_narrow_rows_leave_the_processors_to_later_merges(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db, db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT)")
        db.execute("INSERT INTO orders VALUES (1, 'a')")
    spec = {
        "read": {"connection": "shop", "table": "orders"},
        "write": {"connection": "lake", "path": "narrow", "mode": "overwrite"},
    }
    connections = {
        "shop": {"type": "sqlite", "database": str(tmp_path / "shop.db")},
        "lake": {"type": "local", "root": str(tmp_path)},
    }
    assert loaded(spec, connections, PLANNED) == [str(len(os.sched_getaffinity(0)))]
