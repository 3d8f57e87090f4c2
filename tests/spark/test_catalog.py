"""Tables and SQL of Spark's own catalog as a source, for both engines."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable

import hwm_magics
from hwm_magics.errors import QueryError

EVENTS = """
read: {connection: events, query: "%s", incremental: {column: at}}
write: {connection: lake, path: events, mode: append}
"""
QUERY = "SELECT id, name, at, price FROM src.events WHERE name <> 'it''s' -- all others"
TYPES = "id BIGINT NOT NULL, name STRING, at TIMESTAMP_NTZ, price DECIMAL(12, 3)"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a lake; it is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwm.yaml").write_text("connections: {lake: {type: local, root: ./lake}}\n")
    return tmp_path


@pytest.fixture
def events(folder, spark):
    """A table of the session's catalog; gives a way to add rows, and one to load."""
    spark.sql("CREATE SCHEMA src").collect()
    spark.sql(f"CREATE TABLE src.events ({TYPES}) USING delta LOCATION '{folder}/src'").collect()

    def add(*numbers: int) -> None:
        values = ", ".join(
            f"({n}, 'name {n}', TIMESTAMP_NTZ'2024-06-0{n} 10:00:00.12345{n}', {n}.125)" for n in numbers
        )
        spark.sql(f"INSERT INTO src.events VALUES {values}").collect()

    return add


def load(spark, engine, text=EVENTS % QUERY):
    return hwm_magics.load(text, connections={"events": spark}, engine=engine)


@pytest.mark.parametrize("engine", ["spark", "pandas"])
def test_a_query_of_the_catalog_is_loaded_once_and_exactly(folder, events, spark, engine):
    events(1, 2, 3)
    assert load(spark, engine).rows_written == 3
    events(4)
    second = load(spark, engine)
    assert (second.rows_written, load(spark, engine).status) == (1, "nothing_new")
    assert str(second.watermark_after) == "2024-06-04 10:00:00.123454"
    table = DeltaTable(folder / "lake/events").to_pyarrow_table().sort_by("id")
    assert table["price"].type.scale == 3
    assert [str(value) for value in table["at"]] == [f"2024-06-0{n} 10:00:00.12345{n}" for n in range(1, 5)]


def test_a_moment_is_the_same_in_any_zone(folder, spark):
    spark.sql("CREATE SCHEMA src").collect()
    spark.sql(f"CREATE TABLE src.events (id INT, at TIMESTAMP) USING delta LOCATION '{folder}/src'").collect()
    before = spark.conf.get("spark.sql.session.timeZone")
    text = EVENTS % "SELECT id, at FROM src.events"
    try:
        for number, zone in enumerate(["Asia/Tokyo", "UTC", "America/New_York"], 1):
            spark.conf.set("spark.sql.session.timeZone", zone)
            spark.sql(
                f"INSERT INTO src.events VALUES ({number}, TIMESTAMP'2024-06-01 0{number}:00:00Z')"
            ).collect()
            result = load(spark, "spark", text)
            assert (result.rows_written, str(result.watermark_after)) == (
                1,
                f"2024-06-01 0{number}:00:00+00:00",
            )
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)


def test_a_late_moment_is_told_in_any_zone(folder, spark):
    spark.sql("CREATE SCHEMA src").collect()
    spark.sql(f"CREATE TABLE src.events (id INT, at TIMESTAMP) USING delta LOCATION '{folder}/src'").collect()
    before = spark.conf.get("spark.sql.session.timeZone")
    text = EVENTS % "SELECT id, at FROM src.events"
    try:
        spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
        spark.sql("INSERT INTO src.events VALUES (1, TIMESTAMP'2024-06-01 12:00:00Z')").collect()
        load(spark, "spark", text)
        spark.sql("INSERT INTO src.events VALUES (2, TIMESTAMP'2024-06-01 11:59:00Z')").collect()
        result = load(spark, "spark", text)
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    assert (result.rows_written, result.late_rows, str(result.lateness)) == (1, 1, "0:01:00")


def test_a_name_that_is_not_there_is_an_error_of_the_query(folder, spark):
    with pytest.raises(QueryError, match="nowhere"):
        load(spark, "spark", EVENTS % "SELECT id, at FROM nowhere.events")


def test_the_catalog_is_a_connection_of_its_own_without_a_variable(folder, events, spark):
    (folder / "hwm.yaml").write_text(
        "connections: {lake: {type: local, root: ./lake}, events: {type: spark}}\n"
    )
    events(1, 2)
    # engine: auto takes Spark, so that the rows need not come through this process.
    plan = hwm_magics.plan(EVENTS % QUERY)
    assert (plan.decision, plan.source.identity.text[:13]) == ("FIRST RUN", "Spark catalog")
    assert hwm_magics.load(EVENTS % QUERY).rows_written == 2
    events(3)
    assert hwm_magics.load(EVENTS % QUERY, engine="pandas").rows_written == 1
