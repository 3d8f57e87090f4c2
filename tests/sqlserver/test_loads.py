"""Loads from SQL Server through Microsoft's driver: what comes, and when."""

from __future__ import annotations

import pytest

from hwm_magics.errors import ConfigError

ORDERS = ("id int NOT NULL PRIMARY KEY", "amount decimal(10,2)", "changed datetime2(3) NOT NULL")


@pytest.fixture
def orders(erp):
    """Three orders."""
    erp.create("dbo.orders", *ORDERS)
    erp.insert("dbo.orders", *((n, f"{n}.50", f"'2024-06-0{n} 12:00:00.123'") for n in (1, 2, 3)))
    return erp


def test_a_first_run_takes_all_and_an_increment_what_is_new(orders, load):
    made = load(table="dbo.orders", incremental={"column": "changed"})
    first = made.run()
    assert (first.decision, first.rows_written) == ("FIRST RUN", 3)
    orders.insert("dbo.orders", (4, "4.50", "'2024-06-04 12:00:00.123'"))
    second = made.run()
    assert (second.decision, second.rows_written) == ("INCREMENTAL", 1)
    assert made.run().status == "nothing_new"
    assert [row[0] for row in made.rows()] == [1, 2, 3, 4]


def test_ties_and_late_rows_come_and_what_is_there_does_not_come_again(orders, load):
    made = load(table="dbo.orders", incremental={"column": "changed", "lag": "1h"})
    made.run()
    # One at the very mark, one half an hour below it, and one that the lag does not reach.
    orders.insert(
        "dbo.orders",
        (10, "1", "'2024-06-03 12:00:00.123'"),
        (11, "1", "'2024-06-03 11:30:00'"),
        (12, "1", "'2024-06-03 10:00:00'"),
    )
    result = made.run()
    assert (result.rows_written, result.late_rows) == (2, 2)
    assert [row[0] for row in made.rows("id")] == [1, 2, 3, 10, 11]


def test_an_upsert_keeps_one_row_a_key(orders, load):
    made = load(
        table="dbo.orders", incremental={"column": "changed"}, write={"mode": "upsert", "keys": ["id"]}
    )
    made.run()
    orders.run("UPDATE dbo.orders SET amount = 99.99, changed = '2024-06-05' WHERE id = 2")
    orders.insert("dbo.orders", (4, "4.50", "'2024-06-05'"))
    made.run()
    assert made.rows("id, amount::VARCHAR") == [(1, "1.50"), (2, "99.99"), (3, "3.50"), (4, "4.50")]


@pytest.mark.parametrize(
    ("kind", "values", "step", "chunks"),
    [
        # `datetime` keeps 1/300 s, so a step of 1 ms ends between two of its values.
        (
            "datetime",
            ["'2024-06-01 00:00:00.003'", "'2024-06-01 00:00:00.007'", "'2024-06-01 00:00:00.010'"],
            "1ms",
            3,
        ),
        ("datetime2(7)", ["'2024-06-01 00:00:00.0000001'", "'2024-06-01'", "'2024-06-09'"], "1d", 2),
        ("date", ["'2024-06-01'", "'2024-06-02'", "'2024-06-09'"], "1h", 3),
        ("decimal(10, 2)", ["0.25", "1.50", "9.99"], 1, 3),
        ("bigint", ["-9000000000", "0", "9000000000"], 1000, 3),
    ],
)
def test_a_first_load_in_chunks_takes_each_row_once(erp, load, kind, values, step, chunks):
    erp.create("dbo.orders", "id int NOT NULL PRIMARY KEY", f"c {kind}")
    erp.insert("dbo.orders", *enumerate([*values, *values, "NULL"]))
    made = load(table="dbo.orders", incremental={"column": "c"}, write={"first_run": {"chunk": step}})
    result = made.run()
    assert (result.status, result.chunks, result.rows_written) == ("loaded", chunks, 7)
    assert [row[0] for row in made.rows("id")] == list(range(7))
    assert made.run().rows_written == 0


def test_odd_names_are_quoted(erp, load):
    table = "[dbo].[odd ]] names]"
    erp.create(table, "[a ]] b] int NOT NULL", "[select] nvarchar(10)", "[it's. a] datetime2(0)")
    erp.insert(table, (1, "N'é'", "'2024-06-01'"))
    made = load(table=table, incremental={"column": "it's. a"}, columns=["a ] b", "it's. a"])
    made.run()
    erp.insert(table, (2, "NULL", "'2024-06-02'"))
    assert made.run().rows_written == 1
    assert made.table().column_names == ["a ] b", "it's. a"]
    assert made.rows('"a ] b"') == [(1,), (2,)]


HINTED = """
SELECT o.id, o.amount, o.changed  -- the newest first
FROM dbo.orders AS o WITH (NOLOCK)
WHERE o.id > 1
ORDER BY o.changed DESC
OPTION (MAXDOP 1, RECOMPILE);
"""


def test_hints_stay_where_they_are(orders, load):
    made = load(query=HINTED, incremental={"column": "changed"})
    made.run()
    assert [row[0] for row in made.rows("id")] == [2, 3]
    orders.insert("dbo.orders", (4, "4.50", "'2024-06-04'"))
    assert made.run().rows_written == 1
    if orders.server is not None:
        for sent in orders.server.queries("FROM dbo.orders AS o"):
            assert sent.text.count("WITH (NOLOCK)") == 1
            told = sent.text.rstrip().removesuffix("; SELECT ROWCOUNT_BIG()").rstrip()
            if "first_result_set" not in told:
                assert told.endswith("OPTION (MAXDOP 1, RECOMPILE)")


WITH_A_CTE = """
WITH recent AS (SELECT id, amount, changed FROM dbo.orders WHERE id <> 2),
     counted AS (SELECT 7 AS n)
SELECT r.id, r.changed, CAST(c.n AS bigint) AS n, CAST('2024-06-01 10:00 +02:00' AS datetimeoffset) AS zoned
FROM recent AS r CROSS JOIN counted AS c
"""


@pytest.mark.parametrize(
    "query",
    [WITH_A_CTE, WITH_A_CTE + "WHERE r.changed > :watermark\n", WITH_A_CTE + "ORDER BY r.id"],
    ids=["as it is", "with :watermark", "in order"],
)
def test_a_query_that_begins_with_with(orders, load, query):
    made = load(query=query, incremental={"column": "changed", "initial_value": "2000-01-01"})
    made.run()
    assert [row[0] for row in made.rows("id")] == [1, 3]
    orders.insert("dbo.orders", (4, "4.50", "'2024-06-04'"))
    assert made.run().rows_written == 1
    assert made.rows("DISTINCT zoned::VARCHAR") == [("2024-06-01 08:00:00+00",)]


def test_the_query_reads_the_target_as_the_first_document_has_it(orders, load):
    query = "SELECT * FROM dbo.orders WHERE changed > (SELECT COALESCE(MAX(changed), '1900-01-01') FROM raw.orders)"
    made = load(
        query=query, write={"register_table": "raw.orders", "first_run_query": "SELECT * FROM dbo.orders"}
    )
    made.run()
    orders.insert("dbo.orders", (4, "4.50", "'2024-06-04'"))
    assert made.run().rows_read == 1
    assert [row[0] for row in made.rows("id")] == [1, 2, 3, 4]


def test_rows_dated_in_the_future_wait_by_the_servers_clock(orders, load):
    orders.insert("dbo.orders", (9, "9", "'2999-01-01'"))
    made = load(table="dbo.orders", incremental={"column": "changed"})
    assert made.run().rows_written == 3
    plan = made.plan()
    assert "1 row" in "".join(plan.warnings) + "".join(plan.notes)
    assert [row[0] for row in made.rows("id")] == [1, 2, 3]


def test_a_backfill_replaces_a_window(orders, load):
    made = load(table="dbo.orders", incremental={"column": "changed"})
    made.run()
    orders.run("UPDATE dbo.orders SET amount = 0 WHERE id = 2", "DELETE FROM dbo.orders WHERE id = 1")
    made.run(backfill="2024-06-01..2024-06-02 23:59:59")
    assert made.rows("id, amount::VARCHAR") == [(2, "0.00"), (3, "3.50")]


def test_keys_that_the_catalog_proves_unique_are_known(orders, load):
    made = load(
        table="dbo.orders", incremental={"column": "changed"}, write={"mode": "upsert", "keys": ["id"]}
    )
    assert not [each for each in made.plan().warnings if "unique" in each]


def test_a_cursor_that_is_none_is_refused_before_anything_is_written(erp, load):
    erp.create("dbo.t", "id int", "g uniqueidentifier")
    made = load(table="dbo.t", incremental={"column": "g"})
    with pytest.raises(Exception, match="uniqueidentifier"):
        made.run()
    assert not made.is_there


def test_a_table_named_in_a_way_that_is_none_is_said_to_be(load):
    with pytest.raises(ConfigError):
        load(table="[dbo].[orders", incremental={"column": "changed"}).run()
