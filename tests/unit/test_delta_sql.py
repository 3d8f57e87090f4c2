"""What is asked of a target finds every row that it must, though file statistics are rounded."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from hwm_magics.arrow import cursor_type_of
from hwm_magics.core.query import CursorExpression
from hwm_magics.engines.delta_sql import condition


@pytest.mark.parametrize(
    ("kind", "highest"),
    [
        (pa.decimal128(20, 0), Decimal(2**53 + 1)),
        (pa.decimal128(20, 0), Decimal(2**60 + 1)),
        (pa.decimal128(20, 0), Decimal(2**64 - 3)),
        (pa.decimal128(38, 10), Decimal("1234567890123456789012345678.0123456789")),
        (pa.decimal128(18, 2), Decimal("9007199254740993.01")),
        (pa.decimal128(12, 2), Decimal("2.50")),
    ],
)
def test_a_file_whose_highest_decimal_was_rounded_down_is_not_left_out(kind, highest, tmp_path):
    write_deltalake(tmp_path, pa.table({"c": pa.array([Decimal(0), highest], kind)}))
    low = cursor_type_of(kind, "").value(highest)
    asked = f"SELECT c FROM t WHERE {condition(CursorExpression('c'), low, nulls=False)}"
    found = pa.table(QueryBuilder().register("t", DeltaTable(tmp_path)).execute(asked).read_all())
    assert highest in found.column("c").to_pylist()
