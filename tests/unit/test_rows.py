"""What happens to rows on their way: deduplicated, recognised, counted, fitted, transformed."""

from __future__ import annotations

import gc
from collections import Counter
from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.decided import RecogniseRows
from hwm_magics.core.observed import Column
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.specs import SchemaPolicy
from hwm_magics.engines.rows import (
    SPOOL,
    Overlap,
    RowCounts,
    cursor_array,
    deduplicated,
    fit,
    recognised,
    transformed,
)
from hwm_magics.errors import SchemaMismatchError

TIME = CursorType(CursorKind.TIMESTAMP, 6)
SCHEMA = pa.schema([("k", pa.int64()), ("u", pa.timestamp("us")), ("v", pa.string())])
CURSOR = CursorExpression("u")
START = datetime(2024, 6, 1, 12)


def at(seconds):
    return None if seconds is None else START + timedelta(seconds=seconds)


def batches(rows, sizes=(3,)):
    """Rows in batches whose sizes repeat."""
    start, turn = 0, 0
    while start < len(rows):
        size = sizes[turn % len(sizes)]
        yield pa.RecordBatch.from_pylist(rows[start : start + size], schema=SCHEMA)
        start, turn = start + size, turn + 1


def rows_of(found):
    return [row for batch in found for row in batch.to_pylist()]


def sorted_rows(rows):
    return sorted(rows, key=repr)


keyed_rows = st.lists(
    st.builds(
        lambda k, u, v: {"k": k, "u": at(u), "v": v},
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 3)),
        st.sampled_from(["a", "b"]),
    ),
    max_size=14,
)
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=3)


def newest(rows):
    """The same in plain Python: the newest row of each key, or None where that can't be decided."""
    kept = []
    for key in {row["k"] for row in rows}:
        group = [row for row in rows if row["k"] == key]
        marks = [row["u"] for row in group if row["u"] is not None]
        best = [row for row in group if row["u"] == (max(marks) if marks else None)]
        if len({row["v"] for row in best}) > 1:
            return None
        kept.append(best[0])
    return sorted_rows(kept)


@given(keyed_rows, sizes)
def test_the_newest_row_of_each_key_stays_however_the_rows_are_cut_into_batches(rows, cut):
    counts = RowCounts()
    expected = newest(rows)
    if expected is None:
        with pytest.raises(SchemaMismatchError, match="equally new"):
            rows_of(deduplicated(batches(rows, cut), SCHEMA, ["k"], CURSOR, counts))
        return
    found = rows_of(deduplicated(batches(rows, cut), SCHEMA, ["k"], CURSOR, counts))
    assert sorted_rows(found) == expected
    assert counts.superseded == len(rows) - len(found)


def test_a_tie_that_a_newer_row_settles_is_no_tie():
    rows = [{"k": 1, "u": at(0), "v": "a"}, {"k": 1, "u": at(0), "v": "b"}, {"k": 1, "u": at(1), "v": "c"}]
    for order in (rows, rows[::-1], [rows[0], rows[2], rows[1]]):
        found = rows_of(deduplicated(batches(order, (1,)), SCHEMA, ["k"], CURSOR, RowCounts()))
        assert [row["v"] for row in found] == ["c"]


def test_without_a_cursor_only_equal_rows_are_one():
    same = {"k": 1, "u": at(0), "v": "a"}
    assert rows_of(deduplicated(batches([same, same]), SCHEMA, ["k"], None, RowCounts())) == [same]
    with pytest.raises(SchemaMismatchError):
        rows_of(deduplicated(batches([same, {**same, "v": "b"}]), SCHEMA, ["k"], None, RowCounts()))


def test_a_null_key_is_refused_wherever_it_stands():
    rows = [{"k": number, "u": at(0), "v": "a"} for number in (1, 2, 3, None)]
    with pytest.raises(SchemaMismatchError, match="'k'") as caught:
        rows_of(deduplicated(batches(rows), SCHEMA, ["k"], CURSOR, RowCounts()))
    assert caught.value.hint


def test_no_rows_are_no_rows():
    assert rows_of(deduplicated(iter(()), SCHEMA, ["k"], CURSOR, RowCounts())) == []


def test_more_rows_than_memory_should_hold_go_through_a_file_that_is_gone_afterwards():
    text = "x" * 1_000_000
    rows = [{"k": number % 60, "u": at(number), "v": text} for number in range(80)]
    assert sum(batch.nbytes for batch in batches(rows, (8,))) > SPOOL
    found = rows_of(deduplicated(batches(rows, (8,)), SCHEMA, ["k"], CURSOR, RowCounts()))
    assert sorted(row["u"] for row in found) == [at(number) for number in range(20, 80)]
    gc.collect()  # a file that was left open would warn now, and warnings are errors


def test_a_reader_that_stops_half_way_leaves_no_file_open():
    text = "x" * 1_000_000
    rows = [{"k": number, "u": at(number), "v": text} for number in range(80)]
    found = deduplicated(batches(rows, (8,)), SCHEMA, ["k"], CURSOR, RowCounts())
    next(found)
    found.close()
    del found
    gc.collect()


def overlap(there, low, columns=(), *, nulls=False):
    step = RecogniseRows(TIME.value(at(low)) if low is not None else None, columns, "u", nulls=nulls)
    return Overlap.of(batches(there), step, SCHEMA)


@given(keyed_rows, keyed_rows, sizes, st.integers(0, 4), st.booleans())
def test_rows_are_recognised_as_a_multiset(there, coming, cut, low, nulls):
    """Each row of the target recognises one equal row, and no row is recognised by less."""
    counts = RowCounts()
    found = rows_of(recognised(batches(coming, cut), overlap(there, low, nulls=nulls), counts, CURSOR, None))
    held = Counter(repr(row) for row in there if (row["u"] >= at(low) if row["u"] is not None else nulls))
    expected = []
    for row in coming:
        if held[repr(row)] > 0:
            held[repr(row)] -= 1
        else:
            expected.append(row)
    assert found == expected
    assert (counts.recognised, counts.written) == (len(coming) - len(expected), len(expected))


def test_three_identical_rows_stay_three_across_batches():
    same = {"k": 1, "u": at(0), "v": "a"}
    seen = overlap([same, same], 0)
    found = rows_of(recognised(batches([same] * 5, (2, 1)), seen, RowCounts(), CURSOR, None))
    assert found == [same] * 3


def test_keys_decide_where_they_are_given():
    there = [{"k": 1, "u": at(1), "v": "a"}]
    coming = [{"k": 1, "u": at(1), "v": "b"}, {"k": 1, "u": at(2), "v": "a"}, {"k": 2, "u": at(1), "v": "a"}]
    found = rows_of(recognised(batches(coming), overlap(there, 0, ("k", "u")), RowCounts(), CURSOR, None))
    assert found == coming[1:]


def test_values_are_never_run_together():
    schema = pa.schema([("a", pa.string()), ("b", pa.string()), ("u", pa.timestamp("us"))])
    there = pa.RecordBatch.from_pylist([{"a": "x", "b": "yz", "u": START}], schema=schema)
    step = RecogniseRows(None, (), "u")
    coming = pa.RecordBatch.from_pylist(
        [
            {"a": "xy", "b": "z", "u": START},
            {"a": "", "b": "xyz", "u": START},
            {"a": "x", "b": "yz", "u": None},
        ],
        schema=schema,
    )
    found = recognised(iter([coming]), Overlap.of([there], step, schema), RowCounts(), None, None)
    assert [batch.num_rows for batch in found] == [3]


def test_late_rows_are_counted_with_the_latest_of_them():
    counts = RowCounts()
    coming = [{"k": number, "u": at(number), "v": "a"} for number in (0, 3, 5, 6)]
    mark = TIME.value(at(5))
    rows_of(recognised(batches(coming), overlap([coming[1]], 0), counts, CURSOR, mark))
    assert (counts.late, counts.lateness(mark)) == (2, timedelta(seconds=5))


def test_without_late_rows_there_is_no_lateness():
    assert RowCounts().lateness(TIME.value(START)) is None
    assert RowCounts().lateness(None) is None


@pytest.mark.parametrize("low", [-(2**40), 0, 7])
def test_a_bound_below_all_that_a_narrow_column_holds_is_a_bound(low):
    schema = pa.schema([("k", pa.int16())])
    there = pa.RecordBatch.from_pylist([{"k": 7}, {"k": 3}], schema=schema)
    bound = CursorType(CursorKind.INTEGER).value(low)
    seen = Overlap.of([there], RecogniseRows(bound, (), "k"), schema)
    assert sum(seen.alike[0].keys.values()) == (2 if low < 7 else 1)


def test_a_fallback_stands_in_where_the_cursor_is_null():
    batch = pa.RecordBatch.from_pydict({"u": [START, None, None], "c": [START, START, None]})
    assert cursor_array(batch, CursorExpression("u", "c")).to_pylist() == [START, START, None]


def test_a_date_format_orders_as_the_time_does():
    batch = pa.RecordBatch.from_pydict({"t": ["31.12.2023 23:59", "01.01.2024 00:00", None]})
    values = cursor_array(batch, CursorExpression("t", None, "%d.%m.%Y %H:%M")).to_pylist()
    assert values == ["2023-12-31 23:59", "2024-01-01 00:00", None]


TARGET = (Column("k", "long"), Column("u", "timestamp_ntz"), Column("v", "string"))


def fitted(schema, rows, policy=SchemaPolicy.EVOLVE):
    coming = [pa.RecordBatch.from_pylist(rows, schema=schema)]
    return fit(coming, schema, TARGET, SCHEMA, policy)


def test_rows_take_the_targets_order_types_and_missing_columns():
    schema = pa.schema([("w", pa.bool_()), ("k", pa.int8())])
    found = fitted(schema, [{"w": True, "k": 1}])
    assert found.schema.names == ["k", "u", "v", "w"]
    assert rows_of(found.batches) == [{"k": 1, "u": None, "v": None, "w": True}]
    assert [column.name for column in found.change.added] == ["w"]
    assert found.schema.field("w").nullable


def test_rows_that_do_not_fit_are_refused_before_one_is_read():
    schema = pa.schema([("k", pa.float64())])
    with pytest.raises(SchemaMismatchError, match="'k'"):
        fitted(schema, [{"k": 1.0}])
    with pytest.raises(SchemaMismatchError, match="strict"):
        fitted(pa.schema([("w", pa.bool_())]), [{"w": True}], SchemaPolicy.STRICT)


@pytest.mark.parametrize("other", ["k", "K"])
def test_a_new_table_cannot_have_two_columns_of_one_name(other):
    schema = pa.schema([("k", pa.int64()), (other, pa.int64())])
    with pytest.raises(SchemaMismatchError):
        fit([], schema, None, None, SchemaPolicy.EVOLVE)


def test_a_function_sees_exact_types_and_the_first_result_settles_the_schema():
    seen = []

    def function(frame):
        seen.append(dict(frame.dtypes.astype(str)))
        return frame.assign(w=1)

    rows = [{"k": 2**53 + number, "u": START, "v": "a"} for number in range(4)]
    schema, found = transformed(batches(rows), SCHEMA, function, "f")
    assert schema.names == ["k", "u", "v", "w"]
    assert [row["k"] for row in rows_of(found)] == [2**53 + number for number in range(4)]
    assert "int64[pyarrow]" in seen[0].values()


def test_without_rows_the_function_is_still_asked_for_its_columns():
    schema, found = transformed(iter(()), SCHEMA, lambda frame: frame.drop(columns=["v"]), "f")
    assert schema.names == ["k", "u"]
    assert rows_of(found) == []


def test_a_chunk_of_other_values_keeps_the_settled_types():
    """pandas gives a chunk without values another type; the values decide whether that loses something."""

    def function(frame):
        return frame.assign(w=[None if key else 1.5 for key in frame["k"].tolist()])

    rows = [{"k": number, "u": START, "v": "a"} for number in (0, 1)]
    _, found = transformed(batches(rows, (1,)), SCHEMA, function, "f")
    assert [row["w"] for row in rows_of(found)] == [1.5, None]
