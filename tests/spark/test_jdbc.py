"""Spark reads PostgreSQL by itself: the same rows, types and marks as the pandas engine's."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable
from integration.test_source_types import MADE, MAPPING

import hwm_magics
from hwm_magics.errors import ConfigError, HwmError, QueryError

pytestmark = pytest.mark.usefixtures("spark")

ORDERS = """
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders, mode: append}
engine: spark
"""


def rows(folder, path="raw/orders", order="id"):
    """A table's rows, read by delta-rs."""
    table = DeltaTable(folder / "lake" / path).to_pyarrow_table()
    return table.sort_by(order).to_pylist()


@pytest.fixture
def orders(pg_database):
    """A table of orders, and a way to add some."""
    with pg_database.connect() as db:
        db.execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(15, 2), note text, updated_at timestamp)"
        )

    def add(first: int, last: int, day: int = 1) -> None:
        with pg_database.connect() as db:
            db.execute(
                "INSERT INTO orders SELECT n, n / 3.0, 'order ' || n, timestamp '2024-06-01' + %s * interval '1 day'"
                " + n * interval '1 microsecond' FROM generate_series(%s::int, %s::int) n",
                (day, first, last),
            )

    return add


def test_every_type_of_postgresql_becomes_what_it_becomes_with_pandas(project, pg_database):
    columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(MAPPING))
    values = ", ".join(value for _, value, *_ in MAPPING)
    with pg_database.connect() as db:
        db.execute(MADE)
        db.execute(f"CREATE TABLE kinds (id integer PRIMARY KEY, {columns})")
        db.execute(f"INSERT INTO kinds VALUES (2, {values})")
        db.execute("INSERT INTO kinds (id) VALUES (1), (3)")
    for engine in ("pandas", "spark"):
        hwm_magics.load(
            f"read: {{connection: shop, table: kinds, incremental: {{column: id, lag: 0}}}}\n"
            f"write: {{connection: lake, path: {engine}}}\n",
            engine=engine,
        )
    by_pandas, by_spark = (DeltaTable(project / "lake" / engine) for engine in ("pandas", "spark"))
    assert by_spark.schema().to_json() == by_pandas.schema().to_json()
    assert repr(rows(project, "spark")) == repr(rows(project, "pandas"))


@pytest.mark.parametrize(
    "partition", ["", "partition: {column: id, count: 3}, "], ids=["one part", "three parts"]
)
def test_a_first_run_and_an_increment_load_every_row_once(project, orders, partition):
    text = ORDERS.replace("incremental", f"{partition}incremental")
    orders(1, 1000)
    first = hwm_magics.load(text)
    orders(1001, 1010, day=2)
    second = hwm_magics.load(text)
    third = hwm_magics.load(text)
    assert (first.status, first.rows_read, first.rows_written) == ("loaded", 1000, 1000)
    # All of the first rows lie within the lag, so they are read again, and recognised.
    assert (second.status, second.rows_read, second.rows_recognised, second.rows_written) == (
        "loaded",
        1010,
        1000,
        10,
    )
    assert (third.status, third.rows_written) == ("nothing_new", 0)
    assert [row["id"] for row in rows(project)] == list(range(1, 1011))


def test_the_read_is_made_of_as_many_parts_as_asked(project, orders, spark):
    orders(1, 400)
    hwm_magics.load(ORDERS.replace("incremental", "partition: {column: id, count: 4}, incremental"))
    assert len(DeltaTable(project / "lake/raw/orders").file_uris()) == 4


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_row_that_comes_late_is_loaded_and_told(project, orders, pg_database, mode):
    text = ORDERS if mode == "append" else ORDERS.replace("mode: append", "mode: upsert, keys: [id]")
    orders(1, 20)
    hwm_magics.load(text)
    with pg_database.connect() as db:
        db.execute("INSERT INTO orders VALUES (500, 1, 'late', timestamp '2024-06-01 23:59:00')")
    orders(21, 22, day=2)
    result = hwm_magics.load(text)
    assert (result.rows_written, result.late_rows) == (3, 1)
    assert str(result.lateness) == "0:01:00.000020"
    assert [row["id"] for row in rows(project)] == [*range(1, 23), 500]


def test_a_mark_goes_from_engine_to_engine(project, orders):
    for number, engine in enumerate(["spark", "pandas", "spark", "pandas", "pandas", "spark", "spark"]):
        orders(number * 10, number * 10 + 9, day=number)
        result = hwm_magics.load(ORDERS, engine=engine)
        assert (result.rows_read - result.rows_recognised, result.rows_written) == (10, 10)
    assert [row["id"] for row in rows(project)] == list(range(70))
    assert [record.seq for record in hwm_magics.history(ORDERS)] == [7, 6, 5, 4, 3, 2, 1]


def test_an_upsert_goes_from_engine_to_engine(project, orders, pg_database):
    text = ORDERS.replace("mode: append", "mode: upsert, keys: [id]")
    for number, engine in enumerate(["pandas", "spark", "pandas", "spark"]):
        orders(number * 5, number * 5 + 4, day=number * 2)
        with pg_database.connect() as db:
            db.execute(
                "UPDATE orders SET note = %s, updated_at = timestamp '2024-06-01' + %s * interval '1 day' WHERE id = 1",
                (engine, number * 2 + 1),
            )
        hwm_magics.load(text, engine=engine)
    found = rows(project)
    assert [row["id"] for row in found] == list(range(20))
    assert found[1]["note"] == "spark"


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_a_time_that_delta_lake_cannot_hold_is_refused_and_not_bent(project, pg_database, kind):
    with pg_database.connect() as db:
        db.execute(f"CREATE TABLE orders (id int PRIMARY KEY, until {kind}, updated_at timestamp)")
        db.execute("INSERT INTO orders VALUES (1, NULL, '2024-06-01'), (2, '0001-01-01', '2024-06-01')")
        db.execute("INSERT INTO orders VALUES (3, '9999-12-31', '2024-06-01')")
    for value in ("infinity", "-infinity", "0044-03-15 BC", "10000-01-01"):
        with pg_database.connect() as db:
            db.execute("INSERT INTO orders VALUES (4, %s, '2024-06-01')", (value,))
        with pytest.raises(QueryError, match="until"):
            hwm_magics.load(ORDERS)
        with pg_database.connect() as db:
            db.execute("DELETE FROM orders WHERE id = 4")
    assert hwm_magics.load(ORDERS).rows_written == 3
    assert [str(row["until"])[:10] for row in rows(project)] == ["None", "0001-01-01", "9999-12-31"]


def test_a_password_stands_in_no_plan_error_or_log(project, orders, pg_database):
    orders(1, 3)
    plan = hwm_magics.plan(ORDERS)
    hwm_magics.load(ORDERS)
    with pg_database.connect() as db:
        db.execute("CREATE VIEW broken AS SELECT id, 1 / (id - 2) AS amount, updated_at FROM orders")
    with pytest.raises(HwmError) as caught:
        hwm_magics.load(ORDERS.replace("table: orders", "table: broken").replace("raw/orders", "raw/broken"))
    log = "".join(file.read_text() for file in (project / "lake").rglob("_delta_log/*.json"))
    for text in (repr(plan), str(caught.value), log):
        assert pg_database.password not in text
    assert "division by zero" in str(caught.value)


def test_a_partition_without_its_count_is_refused(project):
    with pytest.raises(ConfigError, match="needs both"):
        hwm_magics.plan(ORDERS.replace("incremental", "partition: {column: id}, incremental"))
