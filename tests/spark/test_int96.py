"""Times that Spark keeps as INT96: delta-rs reads those outside of the years 1678 to 2261 as others."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable

import hwm_magics
from hwm_magics.errors import UnsupportedByEngineError

pytestmark = pytest.mark.usefixtures("spark")

FAR = "9999-12-31 10:00:00.123456"


@pytest.fixture
def folder(tmp_path, monkeypatch, spark):
    """A project with a SQLite source; Spark writes INT96, as it does by default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwm.yaml").write_text(
        "connections:\n  shop: {type: sqlite, database: ./shop.db}\n  lake: {type: local, root: ./lake}\n"
        "  landing: {type: local, root: ./landing}\n"
    )
    with closing(sqlite3.connect("shop.db")) as shop, shop:
        shop.execute("CREATE TABLE o (id INTEGER PRIMARY KEY, name TEXT)")
        shop.execute("INSERT INTO o VALUES (1, 'new'), (2, 'new')")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    yield tmp_path
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")


def target(spark, folder, moment=FAR, name="o", where="lake"):
    """A table of Spark's with two rows in one file."""
    place = folder / where / name
    frame = spark.sql(f"SELECT EXPLODE(ARRAY(1L, 5L)) AS id, 'old' AS name, TIMESTAMP'{moment}Z' AS at")
    frame.coalesce(1).write.format("delta").mode("append").save(str(place))
    return place


def rows(spark, place):
    found = spark.sql(f"SELECT id, name, CAST(at AS STRING) AS at FROM delta.`{place}` ORDER BY id")
    return [tuple(row) for row in found.collect()]


def text(mode="mode: upsert, keys: [id]"):
    return f"engine: pandas\nread: {{connection: shop, table: o}}\nwrite: {{connection: lake, path: o, {mode}}}\n"


def test_rows_beside_such_times_are_not_written_anew_by_delta_rs(spark, folder):
    place = target(spark, folder)
    with pytest.raises(UnsupportedByEngineError, match=r"INT96.*delta-rs reads them wrong") as caught:
        hwm_magics.load(text())
    assert "engine: spark" in caught.value.hint
    with pytest.raises(UnsupportedByEngineError, match="INT96"):
        hwm_magics.maintain(text(), compact=True).run()
    assert DeltaTable(place).version() == 0
    assert hwm_magics.load(text().replace("pandas", "spark")).rows_written == 2
    assert rows(spark, place) == [(1, "new", None), (2, "new", None), (5, "old", FAR)]


@pytest.mark.parametrize("moment", ["2024-06-01 10:00:00.123456", "2261-12-31 23:59:59.999999"])
def test_times_within_the_range_are_no_hindrance(spark, folder, moment):
    place = target(spark, folder, moment)
    assert hwm_magics.load(text()).rows_written == 2
    assert rows(spark, place) == [(1, "new", None), (2, "new", None), (5, "old", moment)]


def test_where_statistics_are_missing_the_files_are_asked(spark, folder):
    place = target(spark, folder, "2024-06-01 10:00:00")
    log = place / "_delta_log/00000000000000000000.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"].pop("stats")
    log.write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(UnsupportedByEngineError, match="INT96"):
        hwm_magics.load(text())


def test_a_source_of_such_times_is_read_exactly(spark, folder):
    place = target(spark, folder, name="t", where="landing")
    moved = "read: {connection: landing, format: delta, path: t}\nwrite: {connection: lake, path: copy}\n"
    assert hwm_magics.load(moved, engine="pandas").rows_written == 2
    target(spark, folder, "0001-01-01 00:00:00", name="t", where="landing")
    assert hwm_magics.load(moved, engine="pandas").rows_written == 2
    assert hwm_magics.load(moved, engine="pandas", force_first_run=True).rows_written == 4
    found = pa.table(DeltaTable(folder / "lake/copy").scan()).to_pylist()
    assert sorted({row["at"] for row in found}) == [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 10, 0, 0, 123456, tzinfo=UTC),
    ]
    assert DeltaTable(place).version() == 1


def test_parquet_files_of_spark_are_read_exactly(spark, folder):
    frame = spark.sql(f"SELECT 1L AS id, TIMESTAMP'{FAR}Z' AS at")
    frame.write.parquet(str(folder / "landing/p"))
    read = "{connection: landing, format: parquet, path: p, options: {settle: 0s}}"
    hwm_magics.load(f"read: {read}\nwrite: {{connection: lake, path: p}}\n", engine="pandas")
    (row,) = pa.table(DeltaTable(folder / "lake/p").scan()).to_pylist()
    assert str(row["at"]) == FAR
