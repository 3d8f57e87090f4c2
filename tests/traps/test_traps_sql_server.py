"""SQL Server's own traps, through Microsoft's driver: digits of times, row versions, and rows that end too soon."""

from __future__ import annotations

from contextlib import closing

import pyodbc
import pytest
from sqlserver.erp import only_the_facade
from traps.naive import append, rows_of

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.errors import IncompleteReadError
from hwm_magics.sources.dialects import dialect_of
from hwm_magics.sources.odbc_drivers import sql_server_driver


def test_trap_11_a_datetime2_of_seven_digits(mssql):
    """Cut to microseconds, as drivers hand it over, the mark lies below its own row."""
    erp = mssql.here
    erp.create("dbo.t", "id int NOT NULL", "u datetime2(7) NOT NULL")
    erp.insert("dbo.t", (1, "'2024-06-01 12:00:00.1234567'"))
    three = mssql.loaders(table="dbo.t")
    three.load()
    three.load()
    assert three.doubled(three.strict) == [(1,)]
    assert three.results[-1].status == "nothing_new"

    # One in the gap that the cut mark leaves, one behind the seventh digit.
    erp.insert("dbo.t", (2, "'2024-06-01 12:00:00.1234561'"), (3, "'2024-06-01 12:00:00.1234568'"))
    result = three.load()
    assert result.rows_written == 2
    assert result.watermark_after.value.text == "2024-06-01 12:00:00.1234568"
    three.load()
    three.assert_ours_exact()


def test_trap_11_an_upper_bound_that_was_cut_leaves_the_newest_row_out(mssql):
    erp = mssql.here
    erp.create("dbo.t", "id int NOT NULL", "u datetime2(7) NOT NULL")
    erp.insert("dbo.t", (1, "'2024-06-01 12:00:00.1234567'"))
    highest = mssql.reading.execute("SELECT MAX(u) FROM dbo.t").fetchval()
    assert mssql.reading.execute("SELECT id FROM dbo.t WHERE u <= ?", highest).fetchall() == []
    assert mssql.ours(table="dbo.t").load().rows_written == 1


def test_trap_12_a_datetime_beside_a_datetime2(mssql):
    """.833 is stored as 250 of 300, which is .8333333 to the datetime2 that a driver binds."""
    erp = mssql.here
    erp.create("dbo.t", "id int NOT NULL", "u datetime NOT NULL")
    erp.insert("dbo.t", (1, "'2024-06-01 12:00:00.833'"))
    three = mssql.loaders(table="dbo.t")
    three.load()
    three.load()
    assert three.doubled(three.strict) == [(1,)]
    assert three.results[-1].status == "nothing_new"
    # .837 is .8366667: it lies below its own value, and the twin does not find its newest row again.
    erp.insert("dbo.t", (2, "'2024-06-01 12:00:00.837'"), (3, "'2024-06-01 12:00:00.837'"))
    three.load()
    erp.insert("dbo.t", (4, "'2024-06-01 12:00:00.837'"))
    three.load()
    three.load()
    assert (4,) in three.lost(three.inclusive)
    three.assert_ours_exact()


def test_trap_39_a_row_version_that_an_open_transaction_took(mssql):
    """It is lower than what was committed since, and nobody sees it yet."""
    erp = mssql.here
    erp.create("dbo.t", "id int NOT NULL", "v rowversion")
    erp.insert("dbo.t", (1,), columns="id")
    # Readers do not wait for the lock of the other transaction.
    seen = "dbo.t WITH (READPAST)"
    naive = mssql.naive(table=seen, cursor="v")
    ours = mssql.ours(table="dbo.t", read={"query": f"SELECT * FROM {seen}"}, incremental={"column": "v"})
    with closing(erp.connect(autocommit=False)) as late:
        late.execute("INSERT INTO dbo.t (id) VALUES (2)")
        erp.insert("dbo.t", (3,), columns="id")
        naive.load()
        assert ours.load().rows_written == 1
        assert any("still open" in note for note in (*ours.plan().notes, *ours.plan().warnings))
        late.commit()
    naive.load()
    assert [row[0] for row in naive_ids(naive)] == [1, 3]
    ours.load()
    assert ours.load().status == "nothing_new"
    assert [row[0] for row in ours.rows("id")] == [1, 2, 3]


def naive_ids(naive):
    return sorted(rows_of(naive.target, "id"))


def test_trap_39_row_versions_are_unsigned_bytes():
    """The rule only: no database here has come half way through them."""
    tsql = dialect_of("tsql", odbc=True)
    kind = CursorType(CursorKind.ROWVERSION, 0, "rowversion")
    low, high = kind.value("0x7FFFFFFFFFFFFFFF"), kind.value("0x8000000000000000")
    assert low < high
    assert tsql.exact("MAX([v])", kind) == "CONVERT(varchar(18), CAST(MAX([v]) AS binary(8)), 1)"
    bound = tsql.bind(high)
    assert bound.sql == "CAST(CAST(? AS bigint) AS binary(8))"
    assert int(bound.text).to_bytes(8, "big", signed=True).hex() == "8000000000000000"
    assert kind.value("0x00000000000007D1").minus(1).text == "00000000000007D0"


ROWS = 5_000
FILL = f"SELECT {ROWS} - n, TIMESTAMP '2024-06-01' - n * INTERVAL 1 SECOND FROM range({ROWS}) t(n)"


def test_trap_49_the_driver_takes_a_lost_connection_for_the_end(mssql):
    """Bare arrow-odbc keeps what came, with its highest mark, and steps over the rest from then on."""
    import arrow_odbc

    only_the_facade("to cut a connection between two rows")
    erp = mssql.here
    server = erp.server
    erp.create("dbo.t", "id int NOT NULL", "u datetime2(3) NOT NULL")
    server.database.fill("dbo.t", FILL)
    server.faults.drop_after_rows(ROWS // 2)
    reader = arrow_odbc.connect(erp.connection_string).read_arrow_batches(
        "SELECT * FROM dbo.t", batch_size=1000
    )
    for batch in reader:
        append(mssql.folder / "naive", batch.to_pylist())
    held = rows_of(mssql.folder / "naive", "id")
    assert len(held) == ROWS // 2
    naive = mssql.naive(name="naive", table="dbo.t")
    assert naive.load() == 0

    ours = mssql.ours(table="dbo.t")
    server.faults.drop_after_rows(ROWS // 2)
    with pytest.raises(IncompleteReadError, match="2,500 rows arrived, and the server no longer answers"):
        ours.load()
    assert ours.rows("id") == []
    assert ours.load().rows_written == ROWS


def test_the_driver_is_microsofts(mssql):
    with closing(pyodbc.connect(mssql.here.connection_string)) as connection:
        assert "msodbcsql" in connection.getinfo(pyodbc.SQL_DRIVER_NAME)
    assert sql_server_driver()
