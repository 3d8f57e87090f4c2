"""A Delta table of Spark's as a source without a cursor column, read by both engines."""

from __future__ import annotations

import shutil
from datetime import date

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from files.versions import Table

import hwm_magics
from hwm_magics.errors import BlockedError, UnsupportedByEngineError


def rows_of(place):
    """The rows of a table, read by delta-rs: pyarrow has no room for the year 9999 where Spark wrote it."""
    return pa.table(DeltaTable(place).scan()).to_pylist()


def test_a_table_whose_columns_were_renamed_is_read_by_their_old_names(landing, spark):
    spark.sql(
        f"CREATE TABLE delta.`{landing.root / 'landing/t'}` (id BIGINT, name STRING, day DATE) USING delta "
        "PARTITIONED BY (day) TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"
    )
    place = f"delta.`{landing.root / 'landing/t'}`"
    spark.sql(f"INSERT INTO {place} VALUES (1, 'a', DATE'2024-01-01')")
    text = Table(landing, "").text()
    hwm_magics.load(text, engine="spark")
    spark.sql(f"INSERT INTO {place} VALUES (2, 'b', NULL)")
    spark.sql(f"ALTER TABLE {place} RENAME COLUMN name TO title")
    spark.sql(f"ALTER TABLE {place} RENAME COLUMN day TO date")
    spark.sql(f"INSERT INTO {place} VALUES (3, 'c', DATE'2024-01-03')")
    for engine in ("pandas", "spark"):
        shutil.rmtree(landing.root / "lake/raw/again", ignore_errors=True)
        again = text.replace("raw/orders", "raw/again").replace("append", "append, schema: evolve")
        hwm_magics.load(again, engine=engine)
        spark.sql(f"INSERT INTO {place} VALUES (4, 'd', DATE'2024-01-04')")
        assert hwm_magics.load(again, engine=engine).rows_written == 1
        found = DeltaTable(landing.root / "lake/raw/again").to_pyarrow_table().to_pylist()
        assert {"id": 4, "title": "d", "date": date(2024, 1, 4)} in found
        assert {"id": 2, "title": "b", "date": None} in found


def test_old_times_of_spark_are_moments_to_both_engines(landing, spark):
    place = landing.root / "landing/t"
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    try:
        for number, year in ((1, "2024"), (2, "9999")):
            frame = spark.sql(f"SELECT {number}L AS id, TIMESTAMP'{year}-12-31 10:00:00.123456Z' AS at")
            frame.write.format("delta").mode("append").save(str(place))
            for engine in ("pandas", "spark"):
                text = Table(landing, "").text().replace("raw/orders", f"raw/{engine}")
                assert hwm_magics.load(text, engine=engine).rows_written == 1
    finally:
        spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    for engine in ("pandas", "spark"):
        found = spark.sql(
            f"SELECT id, CAST(at AS STRING) FROM delta.`{landing.root}/lake/raw/{engine}` ORDER BY id"
        )
        assert [tuple(row) for row in found.collect()] == [
            (1, "2024-12-31 10:00:00.123456"),
            (2, "9999-12-31 10:00:00.123456"),
        ]


def test_the_version_is_for_both_engines(landing, spark):
    tables = [Table(landing, engine) for engine in ("pandas", "spark", "pandas")]
    for number, each in enumerate(tables, 1):
        each.put(number)
        assert each.load().rows_written == 1
    assert sorted(row["id"] for row in rows_of(landing.root / "lake/raw/orders")) == [1, 2, 3]


def test_a_version_that_was_named_for_good_is_no_source_of_new_rows(landing, spark):
    table = Table(landing, "spark")
    table.put(1)
    table.put(2)
    named = ", options: {versionAsOf: 0}"
    with pytest.raises(BlockedError, match="names a version for good"):
        table.load(read=named)
    assert table.load("mode: overwrite", named).rows_written == 1
    with pytest.raises(UnsupportedByEngineError, match="with a cursor column"):
        table.load(read=", incremental: {column: id}, options: {changed: ignore}")


def test_a_table_beyond_delta_rs_is_for_spark(landing, spark):
    place = f"delta.`{landing.root / 'landing/t'}`"
    spark.sql(
        f"CREATE TABLE {place} (id INT) USING delta TBLPROPERTIES ('delta.enableTypeWidening' = 'true')"
    )
    spark.sql(f"INSERT INTO {place} VALUES (1)")
    text = Table(landing, "").text()
    with pytest.raises(UnsupportedByEngineError, match="TypeWidening") as caught:
        hwm_magics.load(text, engine="pandas")
    assert caught.value.hint == "write engine: spark"
    assert hwm_magics.load(text, engine="spark").rows_written == 1
    spark.sql(f"ALTER TABLE {place} ALTER COLUMN id TYPE BIGINT")
    spark.sql(f"INSERT INTO {place} VALUES (3000000000)")
    again = text.replace("raw/orders", "raw/again")
    assert hwm_magics.load(again, engine="spark").rows_written == 2
