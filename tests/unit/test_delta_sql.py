"""What is asked of a target finds every row that it must, with its value, though file statistics are rounded."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from hwm_magics.arrow import cursor_type_of
from hwm_magics.core.decided import Window
from hwm_magics.core.query import CursorExpression
from hwm_magics.engines.delta_read import columns_of_table, select
from hwm_magics.engines.delta_sql import bounded, by_value, condition, within

CURSOR = CursorExpression("c")
CASES = [
    (pa.decimal128(20, 0), Decimal(2**53 + 1)),
    (pa.decimal128(20, 0), Decimal(2**60 + 1)),
    (pa.decimal128(20, 0), Decimal(2**64 - 3)),
    (pa.decimal128(38, 10), Decimal("1234567890123456789012345678.0123456789")),
    (pa.decimal128(18, 2), Decimal("9007199254740993.01")),
    (pa.decimal128(12, 2), Decimal("2.50")),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} {case[1]}")
def table(request, tmp_path):
    """Files with one value, and one with two; the value and its type."""
    kind, highest = request.param
    for values in ([highest], [highest], [Decimal(0), highest]):
        write_deltalake(tmp_path, pa.table({"c": pa.array(values, kind)}), mode="append")
    return DeltaTable(tmp_path), highest, cursor_type_of(kind, "").value(highest)


@pytest.mark.parametrize("nulls", [True, False])
def test_the_highest_decimals_are_found_with_their_value(table, nulls):
    there, highest, low = table
    where = condition(CURSOR, columns_of_table(there), low, nulls=nulls)
    found = [value for batch in select(there, ["c"], where) for value in batch.column("c").to_pylist()]
    assert found == [highest] * 3


def test_a_window_of_one_decimal_holds_its_rows(table):
    there, highest, low = table
    files, exact = within(Window(low, low), CURSOR, columns_of_table(there))
    found = [
        value for each in select(there, ["c"], f"{files} AND {exact}") for value in each["c"].to_pylist()
    ]
    assert found == [highest] * 3


def test_a_window_of_one_decimal_is_replaced(table):
    there, highest, low = table
    rows = pa.table({"c": pa.array([highest], pa.schema(there.schema().to_arrow()).field("c").type)})
    where = bounded(Window(low, low), CURSOR, columns_of_table(there))
    write_deltalake(there, rows, mode="overwrite", predicate=where)
    left = [value for each in select(there, ["c"], "TRUE") for value in each["c"].to_pylist()]
    assert sorted(left) == [Decimal(0), highest]


def test_statistics_still_choose_files_where_they_can_be_trusted(tmp_path):
    write_deltalake(tmp_path, pa.table({"c": pa.array([Decimal(1)], pa.decimal128(15, 0)), "n": [1]}))
    columns = columns_of_table(DeltaTable(tmp_path))
    assert by_value(CURSOR, columns) == '"c"'
    assert by_value(CursorExpression("n"), columns) == '"n"'
