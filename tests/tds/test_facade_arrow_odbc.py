"""arrow-odbc over msodbcsql18."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from arrow_odbc import Error, read_arrow_batches_from_odbc


def read(dsn, query, parameters=None, **options):
    reader = read_arrow_batches_from_odbc(
        query=query, connection_string=dsn, parameters=parameters, **options
    )
    return pa.Table.from_batches(list(reader), reader.schema)


def test_types(db, dsn):
    declared = {
        "bit": pa.bool_(), "tinyint": pa.uint8(), "smallint": pa.int16(), "int": pa.int32(),
        "bigint": pa.int64(), "real": pa.float32(), "float": pa.float64(),
        "decimal(12,2)": pa.decimal128(12, 2), "money": pa.decimal128(19, 4),
        "varchar(10)": pa.string(), "nvarchar(10)": pa.string(), "varbinary(5)": pa.binary(),
        "date": pa.date32(), "time(3)": pa.time32("ms"), "datetime": pa.timestamp("ms"),
        "smalldatetime": pa.timestamp("s"), "datetime2(0)": pa.timestamp("s"),
        "datetime2(3)": pa.timestamp("ms"), "datetime2(6)": pa.timestamp("us"),
        "datetime2(7)": pa.timestamp("ns"), "datetimeoffset(7)": pa.string(),
        "uniqueidentifier": pa.string(),
    }  # fmt: skip
    db.create_table("t", {f"c{i}": kind for i, kind in enumerate(declared)})
    schema = read(dsn, "SELECT * FROM t").schema
    assert dict(zip(declared, schema.types, strict=False)) == declared
    assert all(field.nullable for field in schema)
    db.create_table("r", {"v": "rowversion"})
    (field,) = read(dsn, "SELECT v FROM r").schema
    assert (field.type, field.nullable) == (pa.binary(8), False)


def test_values_and_nulls(db, dsn):
    db.create_table("t", {"id": "int not null", "d": "datetime2(6)", "n": "nvarchar(20)"})
    rows = [(1, dt.datetime(2024, 1, 1, 1, 2, 3, 456789), "ü"), (2, None, None)]
    db.insert("t", rows)
    table = read(dsn, "SELECT id, d, n FROM t ORDER BY id")
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    assert not table.schema.field("id").nullable
    assert table.schema.field("d").nullable


def test_parameters_are_strings_bound_as_varchar(db, server, dsn):
    db.create_table("t", {"id": "int", "old": "datetime", "d": "datetime2(7)"})
    db.insert("t", [(1, "2024-01-01 10:00:00.003", "2024-01-01 10:00:00.0030001")])
    with pytest.raises(TypeError):
        read(dsn, "SELECT id FROM t WHERE d > ?", [dt.datetime(2024, 1, 1)])
    assert len(read(dsn, "SELECT id FROM t WHERE d > ?", ["2024-01-01 10:00:00.003"])) == 1
    assert len(read(dsn, "SELECT id FROM t WHERE d > ?", ["2024-01-01 10:00:00.0030001"])) == 0
    assert len(read(dsn, "SELECT id FROM t WHERE old > ?", ["2024-01-01 10:00:00.003"])) == 0
    request = server.queries("old >")[-1]
    assert (request.proc, request.params[0].declared) == ("sp_executesql", "varchar(23)")
    with pytest.raises(Error, match="Conversion failed"):
        read(dsn, "SELECT id FROM t WHERE old > ?", ["2024-01-01T10:00:00.003000"])


def test_the_end_of_time_does_not_fit_nanoseconds(db, dsn):
    db.create_table("t", {"d": "datetime2(7)"}, [("9999-12-31 23:59:59.9999999",)])
    with pytest.raises(Error, match="not representable"):
        read(dsn, "SELECT d FROM t")
    table = read(dsn, "SELECT CAST(d AS datetime2(6)) AS d FROM t")
    assert table.to_pylist() == [{"d": dt.datetime(9999, 12, 31, 23, 59, 59, 999999)}]


def test_errors(dsn):
    with pytest.raises(Error, match="Native error: 208"):
        read(dsn, "SELECT * FROM nowhere")


@pytest.fixture
def numbers(db):
    db.create_table("t", {"a": "bigint"})
    db.fill("t", "SELECT i FROM range(50000) r(i)")


def test_a_drop_inside_a_row_is_an_error(server, numbers, dsn):
    server.faults.drop_after_rows(20_000, mid_row=True)
    with pytest.raises(Error, match="08S01"):
        read(dsn, "SELECT a FROM t", batch_size=5000)
    assert read(dsn, "SELECT a FROM t", batch_size=5000).num_rows == 50_000


def test_a_drop_between_rows_is_silent(server, numbers, dsn):
    """The driver gives SQL_SUCCESS_WITH_INFO and then SQL_NO_DATA: the end, to arrow-odbc."""
    server.faults.drop_after_rows(12_345)
    assert read(dsn, "SELECT a FROM t", batch_size=5000).num_rows == 12_345


@pytest.mark.parametrize("drop", [False, True])
def test_a_count_after_the_rows_tells(server, numbers, dsn, drop):
    if drop:
        server.faults.drop_after_rows(12_345)
    query = "SELECT a FROM t; SELECT @@ROWCOUNT AS n"
    reader = read_arrow_batches_from_odbc(query=query, connection_string=dsn)
    total = sum(batch.num_rows for batch in reader)
    more = reader.more_results()
    told = [row["n"] for batch in reader for row in batch.to_pylist()] if more else []
    assert (total, told) == ((12_345, []) if drop else (50_000, [50_000]))
