"""Spark reads SQL Server by itself, through Microsoft's JDBC driver: the same rows, types and marks as by ODBC."""

from __future__ import annotations

import socket

import pytest
from deltalake import DeltaTable

from hwm_magics.errors import LoginError, QueryError, SchemaMismatchError, SourceConnectionError

pytestmark = pytest.mark.usefixtures("spark")

PARTS = {"column": "id", "count": 3}


@pytest.fixture
def orders(erp):
    """A hundred orders, whose times have digits that neither Spark nor Delta Lake can hold."""
    erp.create(
        "dbo.orders",
        "id int NOT NULL",
        "amount decimal(10,2)",
        "changed datetime2(7) NOT NULL",
        "v rowversion",
    )
    add(erp, range(1, 101))
    return erp


def add(erp, numbers):
    """Insert orders, a minute apart."""
    rows = [(n, f"{n}.50", f"'2024-06-01 {n // 60:02}:{n % 60:02}:00.1234567'") for n in numbers]
    erp.insert("dbo.orders", *rows, columns="id, amount, changed")


def by_jdbc(erp):
    """What the JDBC driver was told to ask for rows, where that can be seen: Spark quotes as no other does."""
    return [sent.text for sent in erp.server.queries('"id"')] if erp.server is not None else []


def ids(made):
    return [row[0] for row in made.rows("id")]


def test_every_type_becomes_what_it_becomes_by_odbc(every, load):
    written = {}
    for engine in ("pandas", "spark"):
        made = load(table="dbo.every", incremental={"column": "changed"}, write={"path": engine})
        assert made.run(engine=engine).rows_written == 3
        written[engine] = DeltaTable(made.root / engine)
    assert by_jdbc(every) or every.server is None
    by_odbc, by_spark = written["pandas"], written["spark"]
    assert by_spark.schema().to_json() == by_odbc.schema().to_json()
    found, expected = (table.to_pyarrow_table().sort_by("id") for table in (by_spark, by_odbc))
    # As texts, which show also what Python's own types can't hold.
    assert {name: str(found[name]) for name in found.column_names} == {
        name: str(expected[name]) for name in expected.column_names
    }


def test_a_first_run_and_an_increment_in_parts_load_every_row_once(orders, load):
    made = load(table="dbo.orders", incremental={"column": "changed", "lag": "10m"}, partition=PARTS)
    first = made.run(engine="spark")
    assert (first.rows_read, first.rows_written) == (100, 100)
    assert first.watermark_after.value.text == "2024-06-01 01:40:00.1234567"
    assert len(DeltaTable(made.target).file_uris()) == PARTS["count"]
    if orders.server is not None:
        orders.server.clear()
    # One above the mark, one late, and one in the gap that a mark cut to microseconds would leave.
    add(orders, [101])
    orders.insert("dbo.orders", (200, "1", "'2024-06-01 01:35:30'"), columns="id, amount, changed")
    orders.insert("dbo.orders", (201, "1", "'2024-06-01 01:40:00.1234561'"), columns="id, amount, changed")
    second = made.run(engine="spark")
    assert (second.rows_written, second.late_rows) == (3, 2)
    assert by_jdbc(orders) or orders.server is None
    for sent in by_jdbc(orders):
        assert "CAST('2024-06-01 01:30:00.1234567' AS datetime2(7))" in sent
    assert made.run(engine="spark").status == "nothing_new"
    assert made.run().status == "nothing_new"
    assert ids(made) == [*range(1, 102), 200, 201]


def test_a_datetime_is_compared_as_a_datetime(erp, load):
    """.833 is .8333333 beside a datetime2: found again and again from below, and left out from above."""
    erp.create("dbo.t", "id int NOT NULL", "u datetime NOT NULL")
    erp.insert("dbo.t", (1, "'2024-06-01 12:00:00.833'"), (2, "'2024-06-01 12:00:00.837'"))
    made = load(table="dbo.t", incremental={"column": "u", "lag": "0s"})
    assert made.run(engine="spark").rows_written == 2
    erp.insert("dbo.t", (3, "'2024-06-01 12:00:00.837'"))
    assert made.run(engine="spark").rows_written == 1
    assert made.run(engine="spark").status == "nothing_new"
    assert ids(made) == [1, 2, 3]


def test_a_rowversion_is_read_below_the_oldest_open_transaction(orders, load):
    made = load(
        table="dbo.orders",
        incremental={"column": "v"},
        partition=PARTS,
        write={"mode": "upsert", "keys": ["id"]},
    )
    assert made.run(engine="spark").rows_written == 100
    with orders.connect(autocommit=False) as other:
        other.execute("UPDATE dbo.orders SET amount = 7 WHERE id = 7").close()
        orders.run("UPDATE dbo.orders SET amount = 8 WHERE id = 8")
        made.run(engine="spark")
        other.commit()
    other.close()
    made.run(engine="spark")
    assert made.rows("id, amount::INT")[6:8] == [(7, 7), (8, 8)]
    assert ids(made) == list(range(1, 101))


def test_odd_names_and_parts_by_them(erp, load, spark):
    table = "[dbo].[odd ]] names]"
    erp.create(table, "[a ]] b] int NOT NULL", "[select] nvarchar(10)", "[it's. a] datetime2(0)")
    erp.insert(table, (1, "N'é'", "'2024-06-01'"), (2, "NULL", "'2024-06-02'"))
    made = load(table=table, incremental={"column": "it's. a"}, partition={"column": "a ] b", "count": 2})
    with pytest.raises(SchemaMismatchError, match="columnMapping"):
        made.run(engine="spark")
    made.write["options"] = {"delta.columnMapping.mode": "name"}
    made.run(engine="spark")
    erp.insert(table, (3, "N'x'", "'2024-06-03'"))
    assert made.run(engine="spark").rows_written == 1
    found = spark.read.format("delta").load(str(made.target)).select("`a ] b`", "select").collect()
    assert sorted(map(tuple, found)) == [(1, "é"), (2, None), (3, "x")]


HINTED = """
SELECT o.id, o.amount, o.changed  -- the newest first
FROM dbo.orders AS o WITH (NOLOCK)
WHERE o.id > 90
"""
NAMED = """
SELECT *, CAST('2024-06-01 10:00 +02:00' AS datetimeoffset) AS z
FROM dbo.orders WITH (NOLOCK) WHERE id > 90 AND changed > :watermark
"""


@pytest.mark.parametrize(
    "query",
    [
        HINTED + "ORDER BY o.changed DESC\nOPTION (MAXDOP 1);",
        f"WITH few AS ({HINTED})\nSELECT * FROM few",
        NAMED,
    ],
    ids=["with an option", "that begins with with", "that names :watermark"],
)
def test_a_query_is_read_as_it_stands(orders, load, query):
    made = load(query=query, incremental={"column": "changed", "lag": "0s", "initial_value": "2000-01-01"})
    made.run(engine="spark")
    add(orders, [101])
    assert made.run(engine="spark").rows_written == 1
    assert ids(made) == list(range(91, 102))
    if orders.server is not None:
        assert bool(by_jdbc(orders)) is ("OPTION" not in query)
    for sent in by_jdbc(orders):
        assert "WITH (NOLOCK)" in sent
        assert "OPTION" not in sent  # which may stand nowhere but at a statement's end
        assert sent.startswith("WITH") is query.startswith("WITH")


def refused(made, error, *words):
    """The load fails with an error of a kind, writes nothing, and tells no secret."""
    with pytest.raises(error) as caught:
        made.run(engine="spark")
    told = "\n".join(caught.value.lines())
    for word in words:
        assert word in told, told
    for secret in (made.erp.settings["password"], "an0ther-secret"):
        for text in (told, repr(caught.value.__cause__)):
            assert secret not in text
    assert not made.is_there or made.rows("id") == []


def test_a_query_that_fails_at_a_row_writes_nothing(orders, load):
    refused(
        load(query="SELECT id, changed, 1 / (id - 50) AS n FROM dbo.orders"), QueryError, "Divide by zero"
    )


def test_a_connection_that_is_lost_amid_the_rows_writes_nothing(facade, orders, load):
    made = load(table="dbo.orders", incremental={"column": "changed"})
    # The questions before it are one row each.
    facade.faults.drop_after_rows(50)
    refused(made, SourceConnectionError)
    facade.faults.clear()
    assert made.run(engine="spark").rows_written == 100


def test_a_wrong_password_and_a_server_that_is_not_there(orders, load):
    made = load(table="dbo.orders", incremental={"column": "changed"})
    made.source = {**orders.settings, "password": "an0ther-secret"}
    refused(made, LoginError, "Login failed for user")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        made.source = {**orders.settings, "host": "127.0.0.1", "port": taken.getsockname()[1]}
        refused(made, SourceConnectionError, "connection refused")
