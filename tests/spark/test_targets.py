"""Where Spark's tables lie and what they are called: paths, catalog names, views, and what is neither."""

from __future__ import annotations

import shutil

import pytest

import hwm_magics
from hwm_magics.core.decided import Decision
from hwm_magics.errors import BlockedError, TargetUnknownError

ITEMS = """
read: {connection: items, table: items, incremental: {column: id, lag: 0}}
write: {connection: lake, %s}
engine: spark
"""


@pytest.fixture
def items(project, monkeypatch):
    """A little SQLite table `items`, as the connection `items`: Spark has no way to it but through us."""
    import sqlite3

    with sqlite3.connect(project / "items.db") as db:
        db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO items VALUES (?, ?)", [(n, f"item {n}") for n in range(1, 6)])
    with (project / "hwm.yaml").open("a") as file:
        file.write("  items: {type: sqlite, database: items.db}\n")
    return project


def load(where: str, **how):
    return hwm_magics.load(ITEMS % where, **how)


def test_a_path_and_a_name_are_one_table(items, spark):
    load("path: raw/items, register_table: shop.items")
    assert spark.table("shop.items").count() == 5
    assert load("path: raw/items, register_table: shop.items").status == "nothing_new"


def test_a_name_that_stands_for_another_table_is_refused_before_anything_is_written(items, spark):
    spark.sql("CREATE SCHEMA shop").collect()
    spark.sql(f"CREATE TABLE shop.items (id INT) USING delta LOCATION '{items}/elsewhere'").collect()
    with pytest.raises(BlockedError, match="registered already"):
        load("path: raw/items, register_table: shop.items")
    assert not (items / "lake/raw/items").exists()


def test_a_partitioned_and_a_clustered_table_are_what_was_asked_for(items, spark):
    load("path: p, options: {partition_by: [name], delta.appendOnly: true}")
    load("path: c, options: {cluster_by: id}")
    partitioned = spark.sql(f"DESCRIBE DETAIL delta.`{items}/lake/p`").collect()[0]
    clustered = spark.sql(f"DESCRIBE DETAIL delta.`{items}/lake/c`").collect()[0]
    assert partitioned["partitionColumns"] == ["name"]
    assert partitioned["properties"]["delta.appendOnly"] == "true"
    assert clustered["clusteringColumns"] == ["id"]


def test_a_reload_keeps_clustering_properties_and_comments(items, spark):
    load("path: c, options: {cluster_by: id, delta.logRetentionDuration: interval 60 days}")
    table = f"delta.`{items}/lake/c`"
    spark.sql(f"COMMENT ON TABLE {table} IS 'all items'").collect()
    result = load("path: c, options: {cluster_by: id}", force_first_run=True)
    detail = spark.sql(f"DESCRIBE DETAIL {table}").collect()[0]
    assert (result.rows_written, detail["clusteringColumns"]) == (5, ["id"])
    assert detail["properties"]["delta.logRetentionDuration"] == "interval 60 days"
    assert detail["description"] == "all items"


def test_the_files_of_a_registered_table_may_be_gone_and_that_is_no_first_run(items, spark):
    load("path: raw/items, register_table: shop.items")
    shutil.rmtree(items / "lake/raw/items/_delta_log")
    plan = hwm_magics.plan(ITEMS % "path: raw/items, register_table: shop.items")
    assert plan.decision is Decision.BLOCKED
    with pytest.raises(TargetUnknownError):
        load("path: raw/items, register_table: shop.items")


def test_parquet_files_are_no_target(items, spark):
    spark.range(3).write.parquet(str(items / "lake/raw/items"))
    with pytest.raises(TargetUnknownError, match="no Delta table"):
        load("path: raw/items")


def test_a_transform_gets_and_gives_a_spark_dataframe(items, spark):
    from pyspark.sql import functions

    given = []

    def louder(frame):
        given.append(type(frame).__module__.partition(".")[0])
        return frame.withColumn("name", functions.upper("name"))

    import sys
    import types

    module = types.ModuleType("louder_items")
    module.louder = louder
    sys.modules["louder_items"] = module
    try:
        hwm_magics.load((ITEMS % "path: raw/items") + "transform: louder_items:louder\n")
    finally:
        del sys.modules["louder_items"]
    assert given == ["pyspark"]
    assert (
        spark.read.format("delta").load(str(items / "lake/raw/items")).filter("name = 'ITEM 3'").count() == 1
    )


def test_settings_of_a_merge_stay_in_a_session_of_their_own(items, spark):
    text = "path: raw/items, mode: upsert, keys: [id]"
    load(text)
    load(text)
    for name in ("spark.databricks.delta.write.txnAppId", "spark.databricks.delta.commitInfo.userMetadata"):
        assert spark.conf.get(name, None) is None
    assert [row.viewName for row in spark.sql("SHOW VIEWS IN global_temp").collect()] == []
