"""Compares a Delta table with what its source's table holds. A script of its own: it needs Arrow.

Always the number of rows, by the log. With ``sums`` also every column's sum, read from the files and
computed without rounding: of numbers, of days, of microseconds, of the texts' lengths.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

EXACT = {
    "bigint": "long",
    "integer": "integer",
    "date": "date",
    "timestamp without time zone": "timestamp_ntz",
    "character": "string",
    "character varying": "string",
    "text": "string",
}


def sums(table: DeltaTable, types: dict[str, str]) -> dict[str, Decimal]:
    """The columns' sums, without rounding."""
    total = dict.fromkeys(types, Decimal(0))
    for batch in table.to_pyarrow_dataset().to_batches(columns=list(types)):
        for name, kind in types.items():
            value = pc.sum(_countable(batch.column(name), kind)).as_py()
            total[name] += Decimal(value or 0)
    return total


def _countable(column: pa.Array, kind: str) -> pa.Array:
    whole = pa.decimal128(19, 0)
    if kind.startswith(("character", "text")):
        return pc.binary_length(column)
    if kind == "date":
        return column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    if kind.startswith("timestamp"):
        return column.cast(pa.timestamp("us")).cast(pa.int64()).cast(whole)
    if kind.startswith("numeric"):
        # Fails where that would lose a digit; floats, as pandas has them, are rounded to cents.
        return column.cast(pa.decimal128(38, 2))
    return column.cast(pa.int64()).cast(whole)


def inexact(table: DeltaTable, types: dict[str, str]) -> list[str]:
    """The columns whose type is not the source's."""
    found = {field.name: json.loads(field.type.to_json()) for field in table.schema().fields}
    wrong = []
    for name, kind in types.items():
        wanted = EXACT.get(kind, kind.replace("numeric", "decimal"))
        if found.get(name) != wanted:
            wrong.append(f"{name} {kind} as {found.get(name)}")
    return wrong


def main() -> None:
    task: dict[str, Any] = json.loads(os.environ["HWM_BENCH_JOB"])
    expected = task["expected"]
    table = DeltaTable(task["target"])
    rows = table.count()
    problems = []
    if rows != expected["rows"]:
        problems.append(f"{rows:,} rows, not {expected['rows']:,}")
    if task["sums"] and not problems:
        found = sums(table, expected["types"])
        problems += [
            f"the sum over {name} is {found[name]}, not {value}"
            for name, value in expected["sums"].items()
            if found[name] != Decimal(value)
        ]
    print(json.dumps({"problems": problems, "inexact": inexact(table, expected["types"])}))


if __name__ == "__main__":
    main()
