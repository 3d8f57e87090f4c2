"""Where a window begins: never above what an open transaction may still commit, within the promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType, TextForm
from hwm_magics.core.observed import CommitRecord, Watermark
from hwm_magics.core.specs import Boundary, CursorSpec
from hwm_magics.core.window import DEFAULT_LAG, TAIL, low_bound
from hwm_magics.errors import CursorColumnError

TIME = CursorType(CursorKind.TIMESTAMP, 6)
TZ = CursorType(CursorKind.TIMESTAMP_TZ, 3)
NUMBER = CursorType(CursorKind.INTEGER)
START = datetime(2024, 6, 1, 12, tzinfo=UTC)
CURSOR = CursorSpec("u")


def low(value, cursor=CURSOR, loads=(), *, recognisable=True, origin="commit"):
    return low_bound(Watermark("u", value, origin), cursor, loads, recognisable=recognisable)


def a_load(version, mark, asked, committed, kind="incremental"):
    return CommitRecord(
        version,
        START + timedelta(seconds=committed),
        "orders",
        f"run-{version}",
        kind,
        version,
        watermark=Watermark("u", NUMBER.value(mark)),
        asked_at=START + timedelta(seconds=asked),
    )


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (TIME.value("2024-06-01 12:00:00.123456"), "2024-06-01 11:50:00.123456"),
        (TZ.value("2024-06-01 12:00:00.123456+00:00"), "2024-06-01 11:50:00.123"),
        (CursorType(CursorKind.DATE).value("2024-06-01"), "2024-05-31"),
        (
            CursorType(CursorKind.TEXT, 0, "", TextForm.of("2024-06-01T12:00Z")).value("2024-06-01T12:00Z"),
            "2024-06-01T11:50Z",
        ),
    ],
    ids=["microseconds", "milliseconds", "date", "text"],
)
def test_time_cursors_look_back_ten_minutes_rounded_down(value, bound):
    found = low(value)
    assert found.value.text == bound
    assert found.inclusive
    assert found.promise == "no row is lost that commits within 10 min of its u"


@pytest.mark.parametrize(
    "value",
    [
        CursorType(CursorKind.ROWVERSION).value("0x7D1"),
        CursorType(CursorKind.DECIMAL, 2).value("1.25"),
        CursorType(CursorKind.TEXT).value("v1"),
    ],
    ids=["rowversion", "fractions", "text that is no time"],
)
def test_cursors_without_a_lag_of_their_own_look_at_the_tie_again(value):
    found = low(value)
    assert (found.value, found.inclusive, found.lag) == (value, True, "")
    assert "lost" in found.promise


@pytest.mark.parametrize("value", [NUMBER.value(500_000), CursorType(CursorKind.DECIMAL, 0).value("500000")])
def test_numbers_without_a_settled_load_look_at_a_long_tail_again(value):
    assert low(value).value.distance(value) == -TAIL


def test_numbers_look_back_to_the_newest_settled_load():
    loads = tuple(a_load(n, n * 100, n * 300, n * 300 + 5) for n in range(9, -1, -1))
    assert low(NUMBER.value(900), loads=loads).value == NUMBER.value(600)


def test_a_settled_mark_above_the_watermark_does_not_raise_it():
    loads = (a_load(2, 900, 7200, 7201), a_load(1, 800, 0, 1))
    assert low(NUMBER.value(700), loads=loads).value == NUMBER.value(700)


@given(
    st.lists(st.tuples(st.integers(1, 700), st.sampled_from([0, 5, 300, 3000])), min_size=2, max_size=8),
    st.integers(0, 7),
    st.integers(0, 598),
    st.integers(1, 599),
)
def test_no_id_that_commits_within_ten_minutes_falls_below_the_windows_after_it(loads, passed, before, after):
    """A source hands out one id a second; loads run one after the other, some of them slow, and one
    of them passes an id whose transaction is still open."""
    ends, asked = [], []
    for pause, duration in loads:
        asked.append((ends[-1] if ends else 600) + pause)
        ends.append(asked[-1] + duration)
    late = asked[passed % len(asked)] - before
    committed = min(late + 599, asked[passed % len(asked)] + after)
    held: list[CommitRecord] = []
    for version, (start, end) in enumerate(zip(asked, ends, strict=True)):
        if held and committed <= start:
            assert low(held[0].watermark.value, loads=tuple(held)).value <= NUMBER.value(late)
            return
        held.insert(0, a_load(version, start, start, end))


def test_a_given_lag_is_taken():
    found = low(TIME.value("2024-06-01 12:00:00"), CursorSpec("u", lag=timedelta(hours=2)))
    assert (found.value.text, found.lag) == ("2024-06-01 10:00:00", "2 h")
    assert low(NUMBER.value(100), CursorSpec("u", lag=30)).value == NUMBER.value(70)


def test_no_lag_looks_at_the_tie_only_and_says_what_is_lost():
    found = low(TIME.value("2024-06-01 12:00:00"), CursorSpec("u", lag=timedelta(0)))
    assert (found.value.text, found.inclusive, found.lag) == ("2024-06-01 12:00:00", True, "")
    assert found.promise == "no lag: rows that commit after a load has passed its u are lost"


def test_an_exclusive_boundary_says_that_ties_are_lost_too():
    found = low(TIME.value("2024-06-01"), CursorSpec("u", lag=timedelta(0), boundary=Boundary.EXCLUSIVE))
    assert not found.inclusive
    assert "tie" in found.promise


def test_rows_that_cannot_be_recognised_are_never_read_again():
    found = low(TIME.value("2024-06-01 12:00:00"), recognisable=False)
    assert (found.value.text, found.inclusive) == ("2024-06-01 12:00:00", False)
    assert "lost" in found.promise


def test_a_mark_set_by_hand_is_taken_at_its_word():
    found = low(TIME.value("2024-06-01 12:00:00"), CursorSpec("u", lag=timedelta(hours=1)), origin="set")
    assert (found.value.text, found.inclusive, found.lag) == ("2024-06-01 12:00:00", False, "")


@pytest.mark.parametrize(
    ("value", "lag"), [(TIME.value("2024-06-01"), 5), (NUMBER.value(5), timedelta(minutes=5))]
)
def test_a_lag_that_does_not_fit_the_cursor_is_refused(value, lag):
    with pytest.raises(CursorColumnError):
        low(value, CursorSpec("u", lag=lag))


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.timedeltas(timedelta(0), timedelta(days=400))
)
def test_the_bound_never_lies_above_the_watermark(moment, lag):
    value = TIME.value(moment)
    assert low(value, CursorSpec("u", lag=lag)).value <= value
    assert low(value).value == value.minus(DEFAULT_LAG)
