"""Values of partition columns are kept, whichever engine writes them and whichever reads them back."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from operator import itemgetter

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow import parquet

import hwm_magics
from hwm_magics.errors import BlockedError, UnsupportedByEngineError

VALUES = {
    "long": (pa.int64(), [-(2**63), 2**63 - 1, None]),
    "whole_decimal": (pa.decimal128(10, 0), [Decimal(-7), Decimal(7), None]),
    "boolean": (pa.bool_(), [True, False, None]),
    "date": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31), None]),
    "timestamp": (
        pa.timestamp("us", "UTC"),
        [datetime(1969, 12, 31, 23, 59, 59, 1, UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None],
    ),
    "timestamp_ntz": (pa.timestamp("us"), [datetime(1, 1, 1), datetime(2024, 1, 1, 1, 2, 3, 120000), None]),
    "double": (pa.float64(), [-1.5, 0.1, None]),
    "string": (pa.string(), ["a b/c=d", "50 %", "ü{}[x]*?:#\\\"'", "__x\ty", None]),
}
DECIMALS = [Decimal("-1.50"), Decimal("-0.05"), Decimal("2.00"), None]


def put(landing, name, values):
    place = landing.root / "landing" / name / "a.parquet"
    place.parent.mkdir(parents=True)
    parquet.write_table(pa.table({"id": pa.array(range(len(values))), "part": values}), place)


def text(name, **more):
    lines = "".join(f"{key}: {value}\n" for key, value in more.items())
    return (
        f"{lines}read: {{connection: landing, format: parquet, path: {name}, options: {{settle: 0s}}}}\n"
        f"write: {{connection: lake, path: {name}, options: {{partition_by: part}}}}\n"
    )


def kept(values):
    return [value.timestamp() if isinstance(value, datetime) and value.tzinfo else value for value in values]


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("engine", ["pandas", "spark"])
def test_values_are_read_back_by_the_other_engine(landing, spark, engine, kind):
    dtype, values = VALUES[kind]
    put(landing, kind, pa.array(values, dtype))
    assert hwm_magics.load(text(kind), engine=engine).rows_written == len(values)
    place = landing.root / "lake" / kind
    mine = [
        row["part"] for row in sorted(pa.table(DeltaTable(place).scan()).to_pylist(), key=itemgetter("id"))
    ]
    theirs = spark.sql(f"SELECT part FROM delta.`{place}` ORDER BY id").toArrow()["part"].to_pylist()
    assert kept(mine) == kept(theirs) == kept(values)


def test_decimals_with_a_fraction_are_for_spark_as_delta_rs_would_break_the_table(landing, spark):
    put(landing, "d", pa.array(DECIMALS, pa.decimal128(10, 2)))
    with pytest.raises(
        UnsupportedByEngineError, match=r"can't partition a table by part \(decimal\(10,2\)\)"
    ):
        hwm_magics.load(text("d"), engine="pandas")
    assert not (landing.root / "lake/d").exists()
    assert hwm_magics.load(text("d"), engine="spark").rows_written == len(DECIMALS)
    found = spark.sql(f"SELECT part FROM delta.`{landing.root}/lake/d` ORDER BY id").toArrow()
    assert found["part"].to_pylist() == DECIMALS
    put(landing, "d/more", pa.array(DECIMALS, pa.decimal128(10, 2)))
    with pytest.raises(UnsupportedByEngineError, match=r"partition columns part \(decimal\(10,2\)\)"):
        hwm_magics.load(text("d"), engine="pandas")


def test_what_a_transform_makes_is_looked_at_too(landing):
    put(landing, "t", pa.array(["a"]))
    made = "transform: files.test_partitions:halves\n" + text("t")
    with pytest.raises(UnsupportedByEngineError, match=r"decimal\(\d+,1\).*nothing was written"):
        hwm_magics.load(made, engine="pandas")
    assert not (landing.root / "lake/t").exists()


def halves(frame):
    """A transform that makes decimals of everything."""
    return frame.assign(part=[Decimal("-0.5")] * len(frame))


def test_bytes_are_for_spark(landing, spark):
    values = [b"a", b"bc"]
    put(landing, "b", pa.array(values, pa.binary()))
    with pytest.raises(UnsupportedByEngineError, match=r"can't partition a table by part \(binary\)"):
        hwm_magics.load(text("b"), engine="pandas")
    spark.read.parquet(str(landing.root / "landing/b")).write.format("delta").partitionBy("part").save(
        str(landing.root / "landing/c")
    )
    moved = "read: {connection: landing, format: delta, path: c}\nwrite: {connection: lake, path: c}\n"
    with pytest.raises(UnsupportedByEngineError, match="whose bytes delta-rs reads wrong"):
        hwm_magics.load(moved, engine="pandas")
    first = hwm_magics.load(moved, engine="spark")
    assert first.rows_written == len(values)
    assert any("the next run will be BLOCKED" in warning for warning in first.warnings)
    found = spark.sql(f"SELECT part FROM delta.`{landing.root}/lake/c` ORDER BY id").toArrow()
    assert found["part"].to_pylist() == values
    spark.read.parquet(str(landing.root / "landing/b")).write.format("delta").mode("append").save(
        str(landing.root / "landing/c")
    )
    with pytest.raises(BlockedError, match="escapes of bytes"):
        hwm_magics.load(moved, engine="spark")
