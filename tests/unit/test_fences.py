"""A fence: whatever an open transaction may still write, the next load looks back far enough to find it."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from fakes.builders import NUMBER
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.specs import CursorSpec, FencePolicy, FuturePolicy
from hwm_magics.errors import CursorColumnError
from hwm_magics.sources.dialects import Dialect
from hwm_magics.sources.dialects.base import OpenTransactions
from hwm_magics.sources.fences import Fence

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))


def fence(kind, found, *, looks_back=timedelta(), lowest=None, **settings):
    class Told(Dialect):
        def open_transactions(self, _ask, _kind, _timezone):
            return found

        def open_ids(self, _ask):
            return lowest

    source = SimpleNamespace(driver=SimpleNamespace(dialect=Told()), ask=None, timezone=None)
    request = SimpleNamespace(looks_back=looks_back)
    return Fence(source, request, CursorSpec("u", **settings), kind, "u")


@given(
    started=MOMENTS,
    open_for=st.timedeltas(timedelta(), timedelta(days=40)),
    wrote_after=st.timedeltas(timedelta(), timedelta(days=40)),
    looks_back=st.timedeltas(timedelta(), timedelta(days=2)),
    digits=st.integers(0, 6),
    kind=st.sampled_from([CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ, CursorKind.DATE]),
)
def test_the_rows_of_an_open_transaction_lie_where_the_next_load_looks(
    started, open_for, wrote_after, looks_back, digits, kind
):
    of_kind = CursorType(kind, digits if kind is not CursorKind.DATE else 0)
    now = started + open_for
    found = OpenTransactions(now=str(now), since=str(started), who="pid 1")
    cap = fence(of_kind, found, looks_back=looks_back).cap(of_kind.value(now), of_kind.value)
    # The column rounds what the transaction took to the digits that it keeps.
    half = timedelta(seconds=10.0**-digits / 2) if kind is not CursorKind.DATE else timedelta()
    value = of_kind.value(started + wrote_after + half).floored(of_kind.digits)
    rounded_down = of_kind.value(started + wrote_after).floored(of_kind.digits)
    low = cap.minus(looks_back)
    assert low <= min(value, rounded_down)
    if kind is not CursorKind.DATE and digits == 6:
        assert low < rounded_down, "even where ties at the bound are not read"
    assert cap <= of_kind.value(now)


@given(now=MOMENTS, open_for=st.timedeltas(timedelta(), timedelta(minutes=9)))
def test_what_is_younger_than_the_lag_holds_nothing_back(now, open_for):
    kind = CursorType(CursorKind.TIMESTAMP, 6)
    found = OpenTransactions(now=str(now), since=str(now - open_for), who="pid 1")
    made = fence(kind, found, looks_back=timedelta(minutes=10))
    assert made.cap(kind.value(now), kind.value) == kind.value(now)
    assert made.waiting(kind.value(now), kind.value(now)) == ""


def test_transaction_ids_stop_below_the_lowest_that_is_open():
    made = fence(NUMBER, None, lowest=100, fence=FencePolicy.XID)
    assert made.cap(None, None) == NUMBER.value(99)
    assert made.waiting(NUMBER.value(99), None) == ""
    assert "transaction 100" in made.waiting(NUMBER.value(101), None)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "no way to tell"),
        ({"future": FuturePolicy.ACCEPT}, "future: accept"),
    ],
)
def test_a_fence_that_is_required_and_can_not_be_had_is_an_error(settings, why):
    kind = CursorType(CursorKind.TIMESTAMP, 6)
    made = fence(kind, None, fence=FencePolicy.REQUIRE, **settings)
    with pytest.raises(CursorColumnError, match=why):
        made.cap(kind.value("2024-06-01"), kind.value)


def test_without_one_the_clock_is_the_bound():
    kind = CursorType(CursorKind.TIMESTAMP, 6)
    for policy in (FencePolicy.AUTO, FencePolicy.OFF):
        made = fence(kind, None, fence=policy, settle=timedelta(seconds=5))
        assert made.cap(kind.value("2024-06-01 00:00:10"), kind.value) == kind.value("2024-06-01 00:00:05")
        assert made.told == ""
