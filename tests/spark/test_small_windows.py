"""A few rows are fitted and compared before Spark has a job to run: what the contract says of that holds all the same.

The contract's own cases have Spark do it, as it does with many rows.
"""

from __future__ import annotations

import pytest
from contract.cases import HeldRowsCase
from contract.conftest import bench, db, sources  # noqa: F401 - fixtures of the cases below
from contract.test_columns import (
    test_floats_are_recognised_bit_by_bit,  # noqa: F401 - run here, as all that follow
    test_rows_are_recognised_after_a_column_went_and_after_it_came_back,  # noqa: F401
    test_values_of_every_type_arrive_as_they_were,  # noqa: F401
)
from contract.test_detection import (
    test_a_missing_data_file_is_found_when_rows_are_compared_and_nothing_is_written,  # noqa: F401
)
from contract.test_writes import (
    test_a_first_run_loads_everything_and_increments_only_what_is_new,  # noqa: F401
    test_an_upsert_keeps_the_latest_version_of_each_row,  # noqa: F401
    test_append_once_never_touches_a_row_that_is_there,  # noqa: F401
    test_keyed_loads_without_a_cursor_compare_everything,  # noqa: F401
    test_null_cursors_are_read_by_the_first_run_and_later_only_where_asked,  # noqa: F401
    test_null_keys_are_refused,  # noqa: F401
    test_of_several_rows_with_one_key_the_newest_is_taken,  # noqa: F401
    test_rows_that_cannot_be_told_apart_by_newness_are_refused,  # noqa: F401
    test_rows_that_commit_late_are_loaded_and_counted_with_their_lateness,  # noqa: F401
    test_three_identical_rows_stay_three,  # noqa: F401
    test_with_keys_rows_are_recognised_by_key_and_cursor,  # noqa: F401
)
from deltalake import DeltaTable

import hwm_magics
from hwm_magics.engines import spark_execute

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ORDERS = """
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders, mode: append}
engine: spark
"""


@pytest.fixture
def case(tmp_path):
    """The engine as it comes, with an empty lake."""
    made = HeldRowsCase(tmp_path)
    yield made
    made.close()


@pytest.fixture
def orders(pg_database):
    """Three orders, and an index by which the source counts a window before it is read."""
    with pg_database.connect() as server:
        server.execute("CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamp NOT NULL)")
        server.execute("CREATE INDEX ON orders (updated_at)")
        server.execute(
            "INSERT INTO orders SELECT n, timestamp '2024-06-01' + n * interval '1 day' FROM generate_series(1, 3) n"
        )
    return pg_database


def test_a_window_known_to_be_small_does_not_trouble_the_executors(project, spark, orders, monkeypatch):
    assert hwm_magics.load(ORDERS).rows_written == 3
    monkeypatch.setattr("hwm_magics.sources.sql.SqlSource.spark_read", lambda *_: pytest.fail("read by JDBC"))
    with orders.connect() as server:
        server.execute("INSERT INTO orders VALUES (4, '2024-06-05')")
    second = hwm_magics.load(ORDERS)
    assert (second.rows_read, second.rows_recognised, second.rows_written, second.files) == (2, 1, 1, 1)


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "columns mapped"])
def test_the_rows_to_compare_with_are_read_without_a_job_where_delta_rs_reads_the_table(
    project, spark, orders, monkeypatch, mapped
):
    text = ORDERS
    if mapped:
        text = ORDERS.replace("append}", "append, options: {delta.columnMapping.mode: name}}")
    by_spark = []
    ask = spark_execute.overlapping
    monkeypatch.setattr(spark_execute, "overlapping", lambda *told: by_spark.append(1) or ask(*told))
    assert hwm_magics.load(text).rows_written == 3
    with orders.connect() as server:
        server.execute("INSERT INTO orders VALUES (4, '2024-06-05')")
    second = hwm_magics.load(text)
    assert (second.rows_read, second.rows_recognised, second.rows_written) == (2, 1, 1)
    assert bool(by_spark) is mapped


def test_where_the_target_has_many_rows_to_compare_with_spark_does_it(project, spark, orders, monkeypatch):
    monkeypatch.setattr("hwm_magics.engines.spark_held.OVERLAP_ROWS", 0)
    assert hwm_magics.load(ORDERS).rows_written == 3
    with orders.connect() as server:
        server.execute("INSERT INTO orders VALUES (4, '2024-06-04 00:05')")
    second = hwm_magics.load(ORDERS)
    assert (second.rows_read, second.rows_written) == (2, 1)
    assert sorted(DeltaTable(project / "lake/raw/orders").to_pyarrow_table()["id"].to_pylist()) == [
        1,
        2,
        3,
        4,
    ]
