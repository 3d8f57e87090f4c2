"""The parts of a read: every row in exactly one, and only where that is safe."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from fakes.builders import NUMBER, TIME, a_source, a_spec, absent, at, parsed, there
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.decided import Deduplicate, ReadRows
from hwm_magics.core.explain import explain, plan_to_dict
from hwm_magics.core.observed import Split
from hwm_magics.core.partition import AUTO_BYTES, AUTO_ROWS, cuts, divide, page_ranges, ranges
from hwm_magics.core.plan import plan_load
from hwm_magics.core.specs import Partition
from hwm_magics.core.statement import Param
from hwm_magics.core.steps import Abilities

AUTO = Partition(None, 0)
BY_ID = Split("id", '"id"', NUMBER.value(1), NUMBER.value(1000), nulls=False, key=True)
PAGES = Split(pages=32_768, page_bytes=8192, shared=True)
KINDS = {
    "integer": (NUMBER, st.integers(-(2**63), 2**63 - 1)),
    "decimal": (
        CursorType(CursorKind.DECIMAL, 2, "numeric(12,2)"),
        st.decimals(-(10**10), 10**10, places=2),
    ),
    "date": (CursorType(CursorKind.DATE, 0, "date"), st.dates()),
    "time": (TIME, st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))),
}


def meets(condition, value):
    """Whether a row with this value meets a condition, by a real database; order kept by a number."""
    text = "".join("?" if isinstance(each, Param) else each for each in condition)
    given_values = [_order(each.value) for each in condition if isinstance(each, Param)]
    with_value = f'SELECT {text} FROM (SELECT ? AS "id")'
    connection = sqlite3.connect(":memory:")
    try:
        # The condition stands before the row in the text, and so do its values.
        (found,) = connection.execute(with_value, [*given_values, value]).fetchone()
    finally:
        connection.close()
    return bool(found)


def _order(value):
    """A cursor value as a text that orders as it does."""
    if value.type.is_time:
        number = value.distance(value.type.value("0001-01-01")) // timedelta(microseconds=1)
    else:
        number = int(Decimal(value.text) * 100) + 10**25
    return f"{number:030d}"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_every_row_is_in_exactly_one_part_whatever_the_bounds_were(kind, data):
    of_kind, values = KINDS[kind]
    a, b, row = (of_kind.value(data.draw(values)) for _ in range(3))
    number = data.draw(st.integers(1, 40))
    split = Split("id", '"id"', min(a, b), max(a, b))
    found = ranges(split, number)
    assert len(found) <= number
    if found:
        for value in (_order(row), _order(a), _order(b), None):
            assert sum(meets(condition, value) for condition in found) == 1


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_cuts_ascend_within_the_bounds(kind, data):
    of_kind, values = KINDS[kind]
    a, b = (of_kind.value(data.draw(values)) for _ in range(2))
    low, high = min(a, b), max(a, b)
    found = cuts(low, high, data.draw(st.integers(1, 40)))
    assert list(found) == sorted(set(found))
    assert all(low < cut <= high for cut in found)


def test_a_span_of_whole_numbers_is_cut_evenly():
    assert [cut.text for cut in cuts(NUMBER.value(1), NUMBER.value(1000), 4)] == ["251", "501", "751"]


def test_few_values_give_few_parts():
    found = cuts(NUMBER.value(7), NUMBER.value(9), 8)
    assert [cut.text for cut in found] == ["8", "9"]
    assert cuts(NUMBER.value(7), NUMBER.value(7), 8) == ()


def test_a_column_that_is_never_null_is_asked_so_nowhere():
    assert not any("NULL" in str(part) for part in ranges(BY_ID, 3))
    assert " OR " in str(ranges(replace(BY_ID, nulls=True), 3)[0])


@given(pages=st.integers(0, 10**9), number=st.integers(1, 64), page=st.integers(0, 2 * 10**9))
def test_every_page_is_in_exactly_one_part(pages, number, page):
    conditions = [text for (text,) in page_ranges(Split(pages=pages, page_bytes=8192), number)]
    if not conditions:
        return
    found = [
        text
        for text in conditions
        if all(
            _compare(page, *bound.removeprefix("ctid ").split(" CAST('(", 1)) for bound in text.split(" AND ")
        )
    ]
    assert len(found) == 1


def _compare(page, sign, bound):
    limit = int(bound.partition(",")[0])
    return page < limit if sign == "<" else page >= limit


class TestWhatIsRefused:
    def test_a_column_that_may_change_where_the_parts_see_different_moments(self):
        found = divide(Partition("amount", 4), replace(BY_ID, column="amount", key=False), ("id",), None)
        assert "lost or read twice" in found.refusal
        assert "primary key" in found.hint
        assert found.conditions == ()

    def test_not_one_of_the_keys(self):
        assert divide(Partition("id", 4), replace(BY_ID, key=False), ("id",), None).conditions

    def test_not_any_column_within_one_snapshot(self):
        asked = replace(BY_ID, column="amount", key=False, shared=True)
        assert divide(Partition("amount", 4), asked, (), None).shared

    def test_auto_reads_in_one_stream_and_says_why(self):
        found = divide(AUTO, Split(refusal="it is one connection"), (), None)
        assert (found.conditions, found.refusal) == ((), "")
        assert "it is one connection" in found.notes[0]


class TestWhatAutoChooses:
    def test_one_stream_for_few_rows(self):
        found = divide(AUTO, PAGES, (), 2 * AUTO_ROWS - 1)
        assert (found.conditions, "too few" in found.notes[0]) == ((), True)

    def test_one_stream_for_a_small_table(self):
        assert not divide(AUTO, replace(PAGES, pages=2 * AUTO_BYTES // 8192 - 1), (), None).conditions

    def test_parts_by_pages_for_a_large_one(self):
        found = divide(AUTO, PAGES, (), None)
        assert (len(found.conditions), found.at_once) == (4, 4)

    def test_one_stream_where_the_number_of_rows_is_not_known(self):
        assert not divide(AUTO, BY_ID, (), None).conditions

    def test_parts_by_the_key_for_many_rows(self):
        split = replace(BY_ID, greatest=NUMBER.value(10 * AUTO_ROWS), rows=10 * AUTO_ROWS)
        assert len(divide(AUTO, split, (), None).conditions) == 10


def plan_of(split, *, mode="append", asked=None, abilities=None, target=None, **source):
    spec = a_spec(mode)
    spec = replace(spec, read=replace(spec.read, partition=asked or Partition("id", 3)))
    state = a_source(at("11:00:00"), split=split, **source)
    return plan_load(spec, parsed(spec), target or absent(), state, abilities=abilities)


def test_each_part_reads_the_window_and_its_own_share():
    plan = plan_of(BY_ID)
    reading = plan.step(ReadRows)
    texts = ["".join(map(str, part.parts)) for part in reading.parts.statements]
    assert len(texts) == 3
    assert all("<= Param(name='high'" in text for text in texts)
    assert [text.count("name='part'") for text in texts] == [1, 2, 1]


def test_the_plan_and_its_step_say_how_it_is_read():
    told = explain(plan_of(replace(BY_ID, shared=True)))
    assert "read the source in 3 parts by id, 3 at a time and in one snapshot, as one stream" in told.steps
    assert any("from 1 to 1000" in note and "one snapshot" in note for note in told.notes)
    apart = explain(plan_of(BY_ID))
    assert any("at its own moment" in note for note in apart.notes)
    assert plan_to_dict(plan_of(BY_ID))["steps"] == list(apart.steps)


def test_a_refused_split_blocks_the_plan():
    plan = plan_of(replace(BY_ID, column="v", key=False))
    assert plan.decision == "BLOCKED"
    assert "write.keys" in plan.blocker.hint


@pytest.mark.parametrize(
    ("split", "again"),
    [
        (BY_ID, False),  # one of the keys: both rows of a key are in one part
        (replace(BY_ID, column="v"), True),
        (replace(BY_ID, column="v", shared=True), False),
    ],
)
def test_keys_are_looked_at_again_where_parts_see_different_moments(split, again):
    plan = plan_of(split, mode="upsert", unique_keys=True)
    assert (plan.step(Deduplicate) is not None) is again


def test_an_engine_that_reads_by_itself_makes_its_own_parts():
    plan = plan_of(BY_ID, abilities=Abilities("spark", parallel_reads=True))
    assert plan.step(ReadRows).parts is None
    auto = plan_of(None, asked=AUTO, abilities=Abilities("spark", parallel_reads=True))
    assert any("name a column and a count" in note for note in auto.notes)


def test_a_source_that_tells_of_no_parts_is_read_in_one_stream():
    plan = plan_of(None)
    assert plan.step(ReadRows).parts is None
    assert any("in one stream" in note for note in plan.notes)


def test_an_empty_table_is_read_in_one_stream():
    plan = plan_of(replace(BY_ID, least=None, greatest=None), target=there(rows=False))
    assert plan.step(ReadRows).parts is None
