"""What stands in for SQL Server, of which there is none here: the rules that traps 11, 12, 39 and 49 ask for."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hwm_magics.connections.secrets import Secret
from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.statement import Statement
from hwm_magics.errors import IncompleteReadError
from hwm_magics.sources.dialects import dialect_of
from hwm_magics.sources.sql_odbc import OdbcDriver
from hwm_magics.sources.wire import Described

TSQL = dialect_of("tsql", odbc=True)


def test_trap_11_datetime2_is_asked_for_and_bound_with_all_seven_digits():
    kind = CursorType(CursorKind.TIMESTAMP, 7, "datetime2(7)")
    mark = kind.value("2024-06-01 12:00:00.1234567")
    assert TSQL.exact("MAX([u])", kind) == "CONVERT(varchar(27), MAX([u]), 121)"
    bound = TSQL.bind(mark)
    assert (bound.sql, bound.text) == ("CAST(? AS datetime2(7))", "2024-06-01 12:00:00.1234567")
    # The row at the mark is neither above it nor left out by it, as a mark cut to microseconds would have it.
    assert mark != kind.value("2024-06-01 12:00:00.123456")
    assert kind.from_json(kind.to_json()).value(mark.text) == mark


def test_trap_12_a_datetime_is_compared_with_a_datetime():
    kind = CursorType(CursorKind.TIMESTAMP, 3, "datetime")
    bound = TSQL.bind(kind.value("2024-06-01 12:00:00.833"))
    # As a datetime2, .833 would lie below the stored .8333333, and the row would come again and again.
    assert (bound.sql, bound.text) == ("CAST(? AS datetime)", "2024-06-01 12:00:00.833")


def test_trap_39_rowversions_are_unsigned_bytes():
    kind = CursorType(CursorKind.ROWVERSION, 0, "rowversion")
    low, high = kind.value("0x7FFFFFFFFFFFFFFF"), kind.value("0x8000000000000000")
    assert low < high
    assert TSQL.exact("MAX([v])", kind) == "CONVERT(varchar(18), CAST(MAX([v]) AS binary(8)), 1)"
    bound = TSQL.bind(high)
    assert bound.sql == "CAST(CAST(? AS bigint) AS binary(8))"
    assert int(bound.text).to_bytes(8, "big", signed=True).hex() == "8000000000000000"
    assert kind.value("0x00000000000007D1").minus(1).text == "00000000000007D0"


class Reader:
    """What arrow-odbc gives when a driver ends early without a word: some batches, then the next result, or none."""

    def __init__(self, sent: int, counted: int | None) -> None:
        self._batches = [pa.record_batch({"c0": pa.array(range(sent), pa.int32())})]
        self._counted = counted

    def __next__(self):
        if not self._batches:
            raise StopIteration
        return self._batches.pop()

    def more_results(self) -> bool:
        if self._counted is None:
            return False
        self._batches.append(pa.record_batch({"n": pa.array([self._counted], pa.int64())}))
        return True


class Connection:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.asked: list[str] = []

    def read_arrow_batches(self, sql, **_options):
        self.asked.append(sql)
        return self.reader


@pytest.mark.parametrize(
    ("sent", "counted", "error"),
    [
        (5, 5, None),
        (3, 5, "3 rows arrived, and the server sent 5"),
        (3, None, "3 rows arrived, and the server no longer answers"),
    ],
    ids=["all rows", "some rows", "no second result"],
)
def test_trap_49_the_server_counts_its_rows_in_the_same_batch(sent, counted, error):
    connection = Connection(Reader(sent, counted))
    driver = OdbcDriver(connection, TSQL, "erp/sales", Secret("DSN=erp"))
    wire = TSQL.wire(Described("id", "int", pa.int32(), nullable=False))
    stream = driver.stream(Statement(("SELECT [id] FROM [t]",)), [wire])
    assert connection.asked == ["SELECT [id] FROM [t]\n; SELECT @@ROWCOUNT"]
    if error is None:
        assert sum(len(columns[0]) for columns in stream.batches) == counted
    else:
        with pytest.raises(IncompleteReadError, match=error):
            list(stream.batches)
