"""SQL Server's types, each value as exact as Delta Lake can hold it, by every way of reading."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import sqlalchemy
from sqlserver.kinds import MAX_MONEY, TYPES

from hwm_magics.errors import QueryError

WAYS = ("odbc", "connection string", "pyodbc", "sqlalchemy")


@contextmanager
def by(way, erp):
    """The database, reached in one of the ways."""
    if way == "odbc":
        yield None
    elif way == "connection string":
        yield erp.connection_string
    elif way == "pyodbc":
        with nullcontext(erp.connect()) as connection:
            yield connection
        connection.close()
    else:
        string = erp.connection_string
        engine = sqlalchemy.create_engine(
            sqlalchemy.URL.create("mssql+pyodbc", query={"odbc_connect": string})
        )
        yield engine
        engine.dispose()


@pytest.mark.parametrize("way", WAYS)
def test_every_type_arrives_exactly(every, load, way):
    with by(way, every) as source:
        made = load(table="dbo.every", incremental={"column": "changed"}, source=source)
        assert made.run().rows_written == 3
        table = made.table().sort_by("id")
        assert {name: table.schema.field(name).type for name in TYPES} == {
            name: kind for name, (_, _, kind, _) in TYPES.items()
        }
        for name, (_, _, _, expected) in TYPES.items():
            assert table[name].to_pylist() == [*expected, None], name
        versions = table["v"].to_pylist()
        assert sorted(versions) == versions
        assert [len(each) for each in versions] == [8, 8, 8]
        # What was read is recognised, down to the last byte, when the lag reads it again.
        again = load(table="dbo.every", incremental={"column": "changed", "lag": "30d"}, source=source).run()
        assert (again.rows_read, again.rows_written) == (3, 0)


def test_another_reader_sees_the_same(every, load):
    made = load(table="dbo.every", incremental={"column": "changed"})
    made.run()
    columns = (
        "c_decimal::VARCHAR, c_money::VARCHAR, c_datetime::VARCHAR, c_datetimeoffset::VARCHAR, hex(c_binary)"
    )
    assert made.rows(columns, order="id")[0] == (
        "1234567890123456789012345678.0123456789",
        MAX_MONEY,
        "9999-12-31 23:59:59.997",
        "2024-06-01 06:30:00.123456+00",
        "010000",
    )


def test_a_text_that_is_longer_than_was_said_is_never_cut(erp, load):
    erp.create("dbo.notes", "id int NOT NULL", "note nvarchar(max)")
    erp.insert("dbo.notes", (1, f"N'{'é' * 70_000}'"))
    made = load(table="dbo.notes", write={"mode": "overwrite"})
    with pytest.raises(QueryError, match=r"raise read\.options\.max_text_size"):
        made.run()
    assert not made.is_there
    made.read["options"] = {"max_text_size": 200_000}
    made.run()
    assert made.rows("id, length(note)") == [(1, 70_000)]


def test_a_type_that_delta_lake_lacks_is_refused_with_the_cast_to_write(erp, load):
    if erp.server is not None:
        pytest.skip("the test server has no sql_variant")
    erp.create("dbo.t", "id int", "anything sql_variant")
    with pytest.raises(QueryError, match=r"CAST\(\[anything\] AS nvarchar\(4000\)\) AS \[anything\]"):
        load(table="dbo.t", write={"mode": "overwrite"}).run()
