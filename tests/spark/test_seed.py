"""The project's first document on Spark, word for word, with what only Spark can do really applied."""

from __future__ import annotations

from pathlib import Path

import pytest

import hwm_magics

PIPELINE = Path(__file__).parent.parent / "seed" / "orders_pipeline.yaml"


@pytest.fixture
def erp(project, pg_database):
    """A database with dbo.orders, called sql_server, and a lake called adls; gives a way to add orders."""
    text = (
        (project / "hwm.yaml").read_text().replace("  shop:", "  sql_server:").replace("  lake:", "  adls:")
    )
    (project / "hwm.yaml").write_text(text)
    connection = pg_database.connect()
    connection.execute("CREATE SCHEMA dbo")
    connection.execute(
        "CREATE TABLE dbo.orders"
        " (order_id int, customer text, amount numeric(9, 2), order_date date, updated_at timestamp)"
    )

    def add(*numbers: int) -> None:
        for n in numbers:
            connection.execute(
                "INSERT INTO dbo.orders VALUES (%s, 'c', 1.5, %s, %s)",
                (n, f"2024-06-0{n}", f"2024-06-0{n} 12:00:00.123456"),
            )

    with connection:
        connection.autocommit = True
        yield add


def test_day_one_loads_everything_and_day_two_only_what_is_newer(project, erp, spark):
    text = PIPELINE.read_text()
    erp(1, 2, 3)
    first = hwm_magics.load(text)  # engine: auto, and this process has a session
    assert (first.rows_written, first.status) == (3, "loaded")
    detail = spark.sql("DESCRIBE DETAIL raw.orders").collect()[0]
    assert detail["clusteringColumns"] == ["order_date"]
    assert detail["location"].endswith("/lake/raw/orders")
    erp(4, 5)
    second = hwm_magics.load(text)
    assert second.rows_written == 2
    assert sorted(row[0] for row in spark.table("raw.orders").select("order_id").collect()) == [1, 2, 3, 4, 5]
    assert hwm_magics.load(text).status == "nothing_new"


def test_the_plan_says_on_which_spark_it_runs(project, erp, spark):
    erp(1)
    hwm_magics.load(PIPELINE.read_text())
    assert f"Spark {spark.version}" in hwm_magics.plan(PIPELINE.read_text()).target.evidence
