"""Types, cursor values, row keys and casts in Arrow."""

from __future__ import annotations

import math
import struct
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.arrow import (
    arrow_scalar,
    arrow_schema,
    arrow_type,
    cast_array,
    cast_batch,
    columns_of,
    cursor_type_of,
    cursor_value,
    delta_type,
    scalar_of,
)
from hwm_magics.arrow.keys import row_keys
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.observed import Column
from hwm_magics.errors import CursorColumnError, SchemaMismatchError

ROUND_TRIPS = [
    "boolean",
    "byte",
    "short",
    "integer",
    "long",
    "float",
    "double",
    "string",
    "binary",
    "date",
    "timestamp",
    "timestamp_ntz",
    "decimal(38,18)",
    "decimal(5,5)",
    "array<array<decimal(4,2)>>",
    "map<string,array<long>>",
    "struct<a:long,b:struct<c:map<string,decimal(3,1)>>>",
    "struct<`odd name, with : and >`:long,`tick``s`:string>",
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_a_delta_type_survives_the_way_to_arrow_and_back(text):
    assert delta_type(arrow_type(text)) == text


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        (pa.uint8(), "short"),
        (pa.uint16(), "integer"),
        (pa.uint32(), "long"),
        (pa.uint64(), "decimal(20,0)"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.large_binary(), "binary"),
        (pa.binary(16), "binary"),
        (pa.date64(), "date"),
        (pa.timestamp("ns"), "timestamp_ntz"),
        (pa.timestamp("s", "Europe/Zurich"), "timestamp"),
        (pa.decimal256(38, 2), "decimal(38,2)"),
        (pa.large_list(pa.int8()), "array<byte>"),
        (pa.list_(pa.int8(), 3), "array<byte>"),
        (pa.json_(), "string"),
    ],
)
def test_other_arrow_types_get_the_delta_type_that_holds_them(dtype, text):
    assert delta_type(dtype) == text


@pytest.mark.parametrize(
    "dtype",
    [
        pa.null(),
        pa.time64("us"),
        pa.duration("s"),
        pa.month_day_nano_interval(),
        pa.decimal256(39, 2),
        pa.decimal128(5, -2),
        pa.decimal128(3, 5),
        pa.uuid(),
        pa.list_(pa.time32("s")),
    ],
)
def test_types_that_delta_lacks_are_refused(dtype):
    with pytest.raises(SchemaMismatchError, match="no type"):
        delta_type(dtype)


@pytest.mark.parametrize("text", ["int128", "decimal", "array<long", "map<string>", ""])
def test_unknown_delta_types_are_refused(text):
    with pytest.raises(SchemaMismatchError):
        arrow_type(text)


def test_all_columns_without_a_type_are_named_at_once():
    schema = pa.schema([("a", pa.time64("us")), ("b", pa.int64()), ("c", pa.null())])
    with pytest.raises(SchemaMismatchError, match=r"a \(time64\[us\]\), c \(null\)"):
        columns_of(schema)


def test_columns_and_schema_round_trip():
    columns = (Column("ID", "long", nullable=False), Column("amount", "decimal(12,2)"))
    found = columns_of(arrow_schema(columns))
    assert [(c.name, c.type, c.nullable) for c in found] == [
        ("ID", "long", False),
        ("amount", "decimal(12,2)", True),
    ]
    assert found[1].native == "decimal128(12, 2)"


@pytest.mark.parametrize(
    ("scalar", "kind", "text"),
    [
        (pa.scalar(2**53 + 3), CursorKind.INTEGER, "9007199254740995"),
        (pa.scalar(2**64 - 1, pa.uint64()), CursorKind.INTEGER, "18446744073709551615"),
        (pa.scalar(Decimal("12345678901234567890.10")), CursorKind.DECIMAL, "12345678901234567890.1"),
        (pa.scalar(date(2024, 2, 29)), CursorKind.DATE, "2024-02-29"),
        (pa.scalar(86_400_000, pa.date64()), CursorKind.DATE, "1970-01-02"),
        (pa.scalar(1, pa.timestamp("ns")), CursorKind.TIMESTAMP, "1970-01-01 00:00:00.000000001"),
        (pa.scalar(-1, pa.timestamp("us")), CursorKind.TIMESTAMP, "1969-12-31 23:59:59.999999"),
        (pa.scalar(1500, pa.timestamp("ms")), CursorKind.TIMESTAMP, "1970-01-01 00:00:01.5"),
        (
            pa.scalar(datetime(2024, 1, 1, 12, tzinfo=UTC), pa.timestamp("us", "Asia/Tokyo")),
            CursorKind.TIMESTAMP_TZ,
            "2024-01-01 12:00:00",
        ),
        (pa.scalar("2024-01-01T00:00:00Z"), CursorKind.TEXT, "2024-01-01T00:00:00Z"),
        (pa.scalar("x", pa.dictionary(pa.int8(), pa.string())), CursorKind.TEXT, "x"),
    ],
)
def test_cursor_values_keep_every_digit(scalar, kind, text):
    value = cursor_value(scalar, cursor_type_of(scalar.type))
    assert value is not None
    assert (value.type.kind, value.text) == (kind, text)


def test_rowversions_are_unsigned():
    kind = cursor_type_of(pa.binary(8), "rowversion")
    low = cursor_value(b"\x00\x00\x00\x00\x00\x00\x07\xd1", kind)
    high = cursor_value(pa.scalar(b"\xff" * 8), kind)
    assert low is not None
    assert high is not None
    assert low < high
    assert low.text == "00000000000007D1"
    assert arrow_scalar(low, pa.binary()).as_py() == bytes.fromhex(low.text)


def test_null_has_no_cursor_value():
    assert cursor_value(pa.scalar(None, pa.int64()), CursorType(CursorKind.INTEGER)) is None
    assert cursor_value(None, CursorType(CursorKind.INTEGER)) is None
    assert scalar_of(pa.scalar(None, pa.int64())) is None


@pytest.mark.parametrize(
    "dtype",
    [pa.float32(), pa.float64(), pa.bool_(), pa.time64("us"), pa.binary(), pa.uuid(), pa.list_(pa.int8())],
)
def test_types_that_order_nothing_are_no_cursors(dtype):
    with pytest.raises(CursorColumnError, match="can't be a cursor"):
        cursor_type_of(dtype)


@pytest.mark.parametrize("micros", [2**62, -(2**62)])
def test_times_beyond_the_calendar_are_named(micros):
    dtype = pa.timestamp("us")
    with pytest.raises(CursorColumnError, match="years 1 to 9999"):
        cursor_value(pa.scalar(micros, dtype), cursor_type_of(dtype))


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_come_back_from_cursor_values(number):
    scalar = pa.scalar(number, pa.int64())
    value = cursor_value(scalar, cursor_type_of(pa.int64()))
    assert value is not None
    assert arrow_scalar(value, pa.int64()).equals(scalar)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**28), max_value=10**28))
def test_decimals_come_back_from_cursor_values(number):
    dtype = pa.decimal128(38, 9)
    scalar = pa.scalar(number, dtype)
    value = cursor_value(scalar, cursor_type_of(dtype))
    assert value is not None
    assert arrow_scalar(value, dtype).equals(scalar)


@given(st.datetimes(), st.sampled_from([None, "UTC", "America/New_York"]))
def test_times_come_back_from_cursor_values(moment, zone):
    dtype = pa.timestamp("us", zone)
    scalar = pa.scalar((moment - datetime(1970, 1, 1)).__floordiv__(datetime.resolution), pa.int64()).cast(
        pa.timestamp("us")
    )
    scalar = scalar.cast(dtype)
    value = cursor_value(scalar, cursor_type_of(dtype))
    assert value is not None
    assert arrow_scalar(value, dtype).equals(scalar)


@given(st.integers(-(2**60), 2**60), st.sampled_from(["s", "ms", "us", "ns"]))
def test_a_bound_cut_to_a_coarser_type_parts_its_values_alike(nanos, unit):
    fine = pa.scalar(nanos, pa.timestamp("ns"))
    value = cursor_value(fine, cursor_type_of(fine.type))
    assert value is not None
    cut = arrow_scalar(value, pa.timestamp(unit))
    factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    assert cut.value == nanos // factor


def test_bounds_are_cut_down():
    half = CursorType(CursorKind.DECIMAL, 1).value("-1.5")
    assert arrow_scalar(half, pa.int32()).as_py() == -2
    assert arrow_scalar(half, pa.decimal128(5, 0)).as_py() == Decimal(-2)
    noon = CursorType(CursorKind.TIMESTAMP, 6).value("2024-06-01 12:00:00")
    assert arrow_scalar(noon, pa.date32()).as_py() == date(2024, 6, 1)
    day = CursorType(CursorKind.DATE).value("2024-06-01")
    assert arrow_scalar(day, pa.timestamp("ns")).value == 1717200000 * 10**9


@pytest.mark.parametrize(
    ("kind", "raw", "dtype"),
    [
        (CursorKind.INTEGER, 300, pa.int8()),
        (CursorKind.INTEGER, 3, pa.float64()),
        (CursorKind.DECIMAL, "1e30", pa.decimal128(10, 2)),
        (CursorKind.TIMESTAMP, "2024-01-01", pa.timestamp("us", "UTC")),
        (CursorKind.TIMESTAMP_TZ, "2024-01-01", pa.timestamp("us")),
        (CursorKind.TIMESTAMP_TZ, "2024-01-01", pa.date32()),
        (CursorKind.TIMESTAMP, "9999-01-01", pa.timestamp("ns")),
        (CursorKind.TEXT, "2024-01-01", pa.int64()),
    ],
)
def test_values_that_a_type_cannot_hold_are_refused(kind, raw, dtype):
    with pytest.raises(CursorColumnError, match="can't be compared"):
        arrow_scalar(CursorType(kind, 9).value(raw), dtype)


def test_what_a_query_came_to():
    assert scalar_of(pa.scalar("x")) == "x"
    assert scalar_of(pa.scalar(True)) is True
    assert scalar_of(pa.scalar(5)) == CursorType(CursorKind.INTEGER).value(5)
    assert isinstance(scalar_of(pa.scalar(date(2024, 1, 1))), CursorValue)
    with pytest.raises(CursorColumnError, match="floating"):
        scalar_of(pa.scalar(0.1))


LEAVES = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.string(): st.text(alphabet=st.characters(codec="utf-8"), max_size=4),
    pa.large_string(): st.text(alphabet="ab", max_size=2),
    pa.binary(): st.binary(max_size=3),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)),
    pa.decimal128(38, 2): st.decimals(-(10**20), 10**20, places=2),
    pa.null(): st.none(),
}


def nested(children):
    def widen(chosen):
        dtype, values = chosen
        inside = st.none() | values
        return st.sampled_from(
            [
                (pa.list_(dtype), st.lists(inside, max_size=3)),
                (
                    pa.map_(pa.string(), dtype),
                    st.lists(st.tuples(st.text("ab", max_size=1), inside), max_size=2),
                ),
                (
                    pa.struct([("x", dtype), ("y", pa.int8())]),
                    st.fixed_dictionaries({"x": inside, "y": st.none()}),
                ),
            ]
        )

    return children.flatmap(widen)


TYPES = st.recursive(st.sampled_from(sorted(LEAVES.items(), key=str)), nested, max_leaves=3)


def canonical(value):
    """A value as something that is equal exactly when the value is the same."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    if isinstance(value, dict):
        return tuple((key, canonical(inside)) for key, inside in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(canonical(inside) for inside in value)
    return (type(value).__name__, value)


@st.composite
def batches(draw):
    chosen = draw(st.lists(TYPES, min_size=1, max_size=3))
    rows = draw(st.integers(0, 6))
    arrays = []
    for dtype, values in chosen:
        # A small pool, so that equal and nearly equal rows come up.
        pool = st.sampled_from([*draw(st.lists(st.none() | values, min_size=2, max_size=3)), None])
        arrays.append(pa.array(draw(st.lists(pool, min_size=rows, max_size=rows)), dtype))
    return pa.RecordBatch.from_arrays(arrays, [f"c{n}" for n in range(len(arrays))])


@given(batches(), st.integers(0, 3))
def test_keys_are_equal_exactly_when_rows_are(batch, start):
    batch = batch.slice(min(start, batch.num_rows))
    keys = row_keys(batch).to_pylist()
    rows = [
        tuple(canonical(value) for value in row)
        for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
    ]
    assert len(keys) == batch.num_rows
    assert None not in keys
    for n, key in enumerate(keys):
        assert [key == other for other in keys] == [rows[n] == other for other in rows]


@pytest.mark.slow
@given(batches())
def test_keys_do_not_depend_on_the_batch_that_a_row_stands_in(batch):
    whole = Counter(row_keys(batch).to_pylist())
    single = Counter(key for n in range(batch.num_rows) for key in row_keys(batch.slice(n, 1)).to_pylist())
    assert whole == single
    assert Counter(row_keys(pa.Table.from_batches([batch, batch.slice(0, 0)])).to_pylist()) == whole


def test_keys_of_chosen_columns():
    batch = pa.record_batch({"a": [1, 1], "b": ["x", "y"]})
    assert len(set(row_keys(batch, ["a"]).to_pylist())) == 1
    assert len(set(row_keys(batch, ["b", "a"]).to_pylist())) == 2
    assert row_keys(batch, []).to_pylist() == [b"", b""]


def test_neighbouring_texts_do_not_run_together():
    batch = pa.record_batch({"a": ["ab", "a"], "b": ["c", "bc"]})
    assert len(set(row_keys(batch).to_pylist())) == 2


@pytest.mark.parametrize(
    ("values", "source", "target"),
    [
        ([1, None], pa.int64(), pa.int8()),
        ([1.0, None], pa.float64(), pa.int64()),
        ([0.5, math.inf, None], pa.float64(), pa.float32()),
        ([7, None], pa.int64(), pa.decimal128(5, 2)),
        ([2**63], pa.uint64(), pa.decimal128(20, 0)),
        ([Decimal("1.50")], pa.decimal128(10, 2), pa.decimal128(3, 1)),
        ([Decimal("3.00")], pa.decimal128(10, 2), pa.int32()),
        ([5], pa.int32(), pa.float64()),
        (["a", None], pa.large_string(), pa.string()),
        (["a"], pa.dictionary(pa.int8(), pa.string()), pa.string()),
        ([b"a"], pa.binary(1), pa.binary()),
        ([1_000_000], pa.timestamp("ns"), pa.timestamp("us")),
        ([datetime(2024, 1, 1)], pa.timestamp("us"), pa.date32()),
        ([date(2024, 1, 1)], pa.date32(), pa.timestamp("us")),
        ([0], pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us", "UTC")),
        ([None], pa.null(), pa.decimal128(5, 2)),
        ([[1, None], None], pa.list_(pa.int32()), pa.large_list(pa.int64())),
        ([{"a": 1}], pa.struct([("a", pa.int8())]), pa.struct([("a", pa.int32())])),
        ([[("a", 1)]], pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int16())),
        (['{"a": 1}'], pa.json_(), pa.string()),
    ],
)
def test_casts_that_keep_every_value(values, source, target):
    array = (
        pa.array(values, source)
        if not isinstance(source, pa.JsonType)
        else source.wrap_array(pa.array(values))
    )
    done = cast_array(array, target, "c")
    assert done.type == target
    assert [str(value) for value in done.to_pylist()] != []
    if pa.types.is_integer(target) or pa.types.is_floating(target) or pa.types.is_string(target):
        assert done.to_pylist() == values


@pytest.mark.parametrize(
    ("values", "source", "target", "shown"),
    [
        ([1, 300], pa.int64(), pa.int8(), "300"),
        ([1.0, 1.9], pa.float64(), pa.int64(), "1.9"),
        ([math.nan], pa.float64(), pa.int64(), "nan"),
        ([0.5, 0.1], pa.float64(), pa.float32(), "0.1"),
        ([2**53 + 1], pa.int64(), pa.float64(), str(2**53 + 1)),
        ([7, 1000], pa.int64(), pa.decimal128(5, 2), "1000"),
        ([Decimal("1.55")], pa.decimal128(10, 2), pa.decimal128(10, 1), "1.55"),
        ([Decimal("1.50")], pa.decimal128(10, 2), pa.int32(), "1.50"),
        ([1], pa.timestamp("ns"), pa.timestamp("us"), "1970"),
        ([datetime(2024, 1, 1), datetime(2024, 1, 1, 1)], pa.timestamp("us"), pa.date32(), "01:00:00"),
    ],
)
def test_a_lossy_value_is_named(values, source, target, shown):
    with pytest.raises(SchemaMismatchError, match="'amount'") as refused:
        cast_array(pa.array(values, source), target, "amount")
    assert shown in str(refused.value)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (pa.int64(), pa.string()),
        (pa.string(), pa.int64()),
        (pa.string(), pa.timestamp("us")),
        (pa.string(), pa.binary()),
        (pa.bool_(), pa.int8()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us")),
        (pa.timestamp("us", "UTC"), pa.date32()),
        (pa.date32(), pa.timestamp("us", "UTC")),
        (pa.float64(), pa.decimal128(10, 2)),
        (pa.decimal128(10, 2), pa.float64()),
        (pa.list_(pa.int64()), pa.list_(pa.int32())),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.int8())])),
        (pa.uuid(), pa.string()),
    ],
)
def test_casts_that_change_a_meaning_are_refused_whatever_the_values(source, target):
    with pytest.raises(SchemaMismatchError, match="no cast"):
        cast_array(pa.nulls(1, source), target, "c")


def test_a_batch_takes_a_schema_by_name():
    batch = pa.record_batch({"b": pa.array([1], pa.int32()), "a": ["x"]})
    schema = pa.schema([pa.field("a", pa.string(), nullable=False), ("b", pa.int64()), ("c", pa.date32())])
    done = cast_batch(batch, schema)
    assert done.schema == schema
    assert done.to_pylist() == [{"a": "x", "b": 1, "c": None}]
    assert cast_batch(done, schema) is done


@pytest.mark.parametrize(
    ("columns", "fields", "message"),
    [
        ({"a": [1], "z": [2]}, [pa.field("a", pa.int64())], "lacks: z"),
        ({"a": [1, None]}, [pa.field("a", pa.int64(), nullable=False)], "'a' holds NULL"),
        (
            {"a": [1]},
            [pa.field("a", pa.int64()), pa.field("b", pa.int64(), nullable=False)],
            "'b' is missing",
        ),
    ],
)
def test_batches_that_do_not_fit_are_refused(columns, fields, message):
    with pytest.raises(SchemaMismatchError, match=message):
        cast_batch(pa.record_batch(columns), pa.schema(fields))


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()),
    st.sampled_from([pa.int8(), pa.int16(), pa.int64(), pa.float64()]),
)
def test_no_cast_of_whole_numbers_changes_one(values, dtype):
    array = pa.array(values, pa.int64())
    try:
        done = cast_array(array, dtype, "c")
    except SchemaMismatchError:
        return
    assert [None if value is None else int(value) for value in done.to_pylist()] == values
