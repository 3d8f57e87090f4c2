"""The windows of a first load in chunks: they tile what there is, whatever it is and however often it breaks off."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from fakes.builders import (
    COLUMNS,
    NUMBER,
    TIME,
    a_load,
    a_source,
    a_spec,
    absent,
    an_event,
    at,
    parsed,
    there,
)
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.explain import explain, plan_to_dict
from hwm_magics.core.observed import FirstLoad
from hwm_magics.core.plan import continues, plan_load
from hwm_magics.core.query import display
from hwm_magics.core.render import to_text
from hwm_magics.core.specs import CursorSpec, NullPolicy
from hwm_magics.core.steps import ReadRows

DAY = CursorType(CursorKind.DATE, 0, "date")
MILLIS = CursorType(CursorKind.TIMESTAMP, 3, "datetime")
PRICE = CursorType(CursorKind.DECIMAL, 2, "numeric")
ROW = CursorType(CursorKind.ROWVERSION, 0, "rowversion")
TEXT = CursorType(CursorKind.TEXT, 0, "text")
LONGER = timedelta(days=3)
FIRST = at("00:00:00")


def moment(kind, seconds):
    return kind.value("2024-01-01 00:00:00").plus(timedelta(seconds=seconds))


CURSORS = {
    "time": (st.integers(0, 10**6).map(lambda each: moment(TIME, each / 1000)), st.integers(1, 10**6).map(
        lambda each: timedelta(milliseconds=each))),
    "coarse time": (st.integers(0, 10**6).map(lambda each: moment(MILLIS, each)), st.integers(1, 10**9).map(
        lambda each: timedelta(microseconds=each))),
    "day": (st.integers(0, 900).map(lambda each: moment(DAY, each * 86_400)), st.integers(1, 10**7).map(
        lambda each: timedelta(seconds=each))),
    "number": (st.integers(-(10**18), 10**18).map(NUMBER.value), st.integers(1, 10**18)),
    "few numbers": (st.integers(-9, 9).map(NUMBER.value), st.integers(1, 5)),
    "decimal": (st.decimals(-99, 99, places=2).map(PRICE.value), st.integers(1, 50)),
    "rowversion": (st.integers(0, 2**64 - 1).map(lambda each: ROW.value(f"{each:016X}")), st.integers(1, 2**62)),
}  # fmt: skip


def a_plan(values, step, mark=None, chunk=0, goal=None, **spec):
    """The plan that the application makes for a source with these values."""
    load = a_spec(chunk=step, **spec)
    target = absent()
    highest, kind = max(values), values[0].type
    source = a_source(highest, cursor_type=kind, now=None, count=None, lowest=min(values))
    if mark is not None:
        target = there(a_load(mark, kind="first_run", first_load=FirstLoad(goal, chunk)))
        above = [value for value in values if mark < value <= goal]
        lowest = min(above) if above else None
        source = a_source(None, cursor_type=kind, now=None, count=None, nulls=None, lowest=lowest)
    return plan_load(load, parsed(load), target, source)


@pytest.mark.parametrize("cursor", list(CURSORS))
@given(data=st.data())
def test_windows_tile_the_values_and_none_is_empty(cursor, data):
    one, steps = CURSORS[cursor]
    values = data.draw(st.lists(one, min_size=1, max_size=12))
    step = data.draw(steps)
    goal = max(values)
    plan = a_plan(values, step)
    assert plan.decision == "FIRST RUN"
    if plan.chunk is None:
        assert plan.window.high == goal
        return
    most = plan.chunk.left + 1
    windows = []
    while True:
        windows.append(plan.window)
        inside = [each for each in values if _in(each, plan.window)]
        assert inside
        assert plan.after.value == plan.window.high
        assert len(windows) <= min(len(set(values)), most)
        if not plan.chunk.left:
            break
        plan = a_plan(values, step, plan.after.value, plan.chunk.number, goal)
        assert plan.decision == "RESUME"
    assert windows[0].low is None
    assert windows[-1].high == goal
    for one_window, following in pairwise(windows):
        assert following.low == one_window.high
        assert not following.low_inclusive
    for each in values:
        assert sum(_in(each, window) for window in windows) == 1


def _in(value, window):
    above = window.low is None or value > window.low or (window.low_inclusive and value == window.low)
    return above and value <= window.high


def test_windows_end_on_a_grid_and_pass_over_what_is_empty():
    values = [at("00:00:00", day) for day in (1, 2, 13, 28)]
    plan = a_plan(values, LONGER)
    assert (str(plan.window), plan.chunk.left) == ("(-∞, 2024-06-04 00:00:00]", 8)
    assert str(plan.chunk.following) == "(2024-06-04 00:00:00, 2024-06-07 00:00:00]"
    plan = a_plan(values, LONGER, plan.window.high, 1, values[-1])
    assert str(plan.window) == "(2024-06-04 00:00:00, 2024-06-13 00:00:00]"
    assert (plan.chunk.number, plan.chunk.left) == (2, 5)


def test_the_first_window_begins_at_the_initial_value():
    cursor = CursorSpec("u", initial_value="2024-06-02")
    plan = a_plan([at("12:00:00", day) for day in (3, 28)], LONGER, cursor=cursor)
    assert str(plan.window) == "[2024-06-02 00:00:00, 2024-06-06 12:00:00]"


def test_rows_without_a_cursor_value_are_read_with_the_first_chunk_alone():
    for nulls in NullPolicy:
        cursor = CursorSpec("u", nulls=nulls)
        first = a_plan([FIRST, at("00:00:00", 28)], LONGER, cursor=cursor)
        then = a_plan(
            [FIRST, at("00:00:00", 28)], LONGER, first.window.high, 1, at("00:00:00", 28), cursor=cursor
        )
        assert "IS NULL" in display(first.step(ReadRows).statement)
        assert "IS NULL" not in display(then.step(ReadRows).statement)


def test_the_first_runs_query_is_read_until_the_goal():
    query = "SELECT * FROM archive"
    plan = a_plan([FIRST, at("00:00:00", 28)], LONGER, FIRST, 1, at("00:00:00", 28), first_run_query=query)
    assert "FROM archive" in display(plan.first_run_statement)
    assert "archive" not in display(plan.incremental_statement)
    assert "'2024-06-27 23:50:00'" in display(plan.incremental_statement)


def test_the_rows_that_are_counted_are_those_of_all_windows_that_are_left():
    plan = a_plan([FIRST, at("00:00:00", 28)], LONGER, FIRST, 1, at("00:00:00", 28))
    counted = display(plan.count_statement)
    assert "> '2024-06-01 00:00:00'" in counted
    assert "<= '2024-06-28 00:00:00'" in counted


def test_a_load_without_chunks_any_more_brings_the_rest_in_one_commit():
    plan = a_plan([FIRST, at("00:00:00", 28)], None, FIRST, 4, at("00:00:00", 28))
    assert (plan.decision, plan.chunk.number, plan.chunk.left) == ("RESUME", 5, 0)
    assert plan.after.value == at("00:00:00", 28)


def test_where_nothing_is_left_up_to_the_goal_the_mark_goes_there():
    plan = a_plan([FIRST], LONGER, at("00:00:00", 2), 1, at("00:00:00", 28))
    assert (plan.decision, plan.chunk.left) == ("RESUME", 0)
    assert plan.after.value == at("00:00:00", 28)


@pytest.mark.parametrize(
    ("values", "step", "more", "words"),
    [
        ([FIRST, at("00:00:00", 28)], 1000, {}, "is a count, and the cursor is a time"),
        ([NUMBER.value(1), NUMBER.value(9)], LONGER, {}, "is a duration, and the cursor counts"),
        ([TEXT.value("2024-06-01"), TEXT.value("2024-06-09")], LONGER, {}, "this one is text"),
        ([FIRST, at("00:00:00", 28)], LONGER, {"mode": "overwrite"}, "mode: overwrite"),
        ([FIRST, at("00:00:00", 28)], LONGER, {"cursor": None}, "needs a cursor column"),
        (
            [FIRST, at("00:00:00", 28)],
            LONGER,
            {"query": "SELECT * FROM orders WHERE u > COALESCE(:watermark, '1900-01-01')"},
            "names its bounds itself",
        ),
    ],
)
def test_chunks_are_refused_where_they_cannot_be(values, step, more, words):
    plan = a_plan(values, step, **more)
    assert plan.decision == "BLOCKED"
    assert words in plan.blocker.message
    assert plan.blocker.hint


def test_one_window_that_holds_everything_is_an_ordinary_first_run():
    plan = a_plan([FIRST, at("00:00:00", 2)], LONGER)
    assert plan.chunk is None
    assert any("one commit" in note for note in plan.notes)


def test_a_reload_that_is_asked_for_is_one_commit_and_says_so():
    load = a_spec(chunk=LONGER, force=True)
    unfinished = there(a_load(FIRST, kind="first_run", first_load=FirstLoad(at("00:00:00", 28), 1)))
    plan = plan_load(load, parsed(load), unfinished, a_source(at("00:00:00", 28), lowest=FIRST))
    assert (plan.decision, plan.chunk) == ("FULL RELOAD", None)
    assert any("readers keep the old rows" in note for note in plan.notes)


def test_a_backfill_waits_until_the_first_load_is_finished():
    load = a_spec(chunk=LONGER, backfill=("2024-06-01", "2024-06-02"))
    unfinished = there(a_load(FIRST, kind="first_run", first_load=FirstLoad(at("00:00:00", 28), 1)))
    plan = plan_load(load, parsed(load), unfinished, None)
    assert plan.decision == "BLOCKED"
    assert "unfinished" in plan.blocker.message


def test_a_mark_that_is_set_by_hand_ends_the_first_load():
    by_hand = a_load(at("00:00:00", 9), kind="mark")
    before = a_load(FIRST, kind="first_run", version=2, first_load=FirstLoad(at("00:00:00", 28), 1))
    load = a_spec(chunk=LONGER)
    plan = plan_load(load, parsed(load), there(by_hand, before), a_source(at("00:00:00", 28)))
    assert plan.decision == "INCREMENTAL"


def test_what_others_did_between_two_chunks_is_minded():
    load = a_spec(chunk=LONGER)
    first = a_load(at("00:00:00", 9), kind="first_run", first_load=FirstLoad(at("00:00:00", 28), 1))
    source = a_source(None, count=None, nulls=None, lowest=at("00:00:00", 10))

    def planned(**changes):
        return plan_load(load, parsed(load), there(first, **changes), source)

    added = planned(events=(an_event("WRITE", "adds"),))
    assert (added.decision, added.window.low) == ("RESUME", at("00:00:00", 9))
    assert any("others changed" in text for text in added.warnings)
    lowered = planned(events=(an_event("DELETE", "removes"),), max_cursor=at("00:00:00", 5))
    assert (lowered.decision, lowered.window.low) == ("RESUME", at("00:00:00", 5))
    assert (
        planned(events=(an_event("UPDATE", "removes"),), max_cursor=at("00:00:00", 9)).decision == "BLOCKED"
    )
    emptied = planned(events=(an_event("DELETE", "replaces"),), rows=False)
    assert emptied.decision == "FIRST RUN"
    other = replace(first, watermark=replace(first.watermark, column="created"))
    assert plan_load(load, parsed(load), there(other), source).decision == "BLOCKED"


def test_an_approved_first_load_may_go_on_and_another_load_may_not():
    values = [FIRST, at("00:00:00", 28)]
    first = a_plan(values, LONGER)
    then = a_plan(values, LONGER, first.window.high, 1, values[-1])
    assert continues(first, then)
    assert continues(then, then)
    assert not continues(then, first)
    assert not continues(first, replace(then, spec=a_spec("upsert", chunk=LONGER)))
    assert not continues(first, replace(then, source=replace(then.source, columns=COLUMNS[:2])))
    whole = a_plan(values, None)
    assert not continues(whole, then)


def test_a_plan_tells_its_windows_and_that_the_table_grows():
    values = [FIRST, at("00:00:00", 13), at("00:00:00", 28)]
    first = a_plan(values, LONGER, cluster_by=("u",))
    text = to_text(explain(first))
    assert "with u up to 2024-06-28 00:00:00, in at most 9 commits." in text
    assert "at most 9 of 3 d; those without a row are passed over" in text
    assert "This window      (-∞, 2024-06-04 00:00:00]" in text
    assert "Next window      (2024-06-04 00:00:00, 2024-06-07 00:00:00]" in text
    assert "u = 2024-06-04 00:00:00, at the end 2024-06-28 00:00:00" in text
    assert "readers see the table grow" in text
    assert "then look again, and go on with the next window" in text
    assert "order the files" not in text
    assert plan_to_dict(first)["chunk"] == {"number": 1, "left": 8, "goal": "2024-06-28 00:00:00"}

    then = a_plan(values, LONGER, at("00:00:00", 25), 7, values[-1], cluster_by=("u",))
    text = to_text(explain(then))
    assert text.startswith("RESUME · orders")
    assert "Will go on with the first load of orders (version 5): the rows of orders with u above" in text
    assert "in one last commit." in text
    assert "brought its chunk 7, up to 2024-06-25 00:00:00, and it ends at 2024-06-28 00:00:00" in text
    assert "order the files by u" in text


def test_a_plan_of_numbers_tells_its_step():
    plan = a_plan([NUMBER.value(1), NUMBER.value(2_500_000)], 1_000_000)
    assert "at most 3 of 1,000,000" in to_text(explain(plan))
    assert str(plan.window) == "(-∞, 1000001]"


def test_steps_of_decimals_keep_their_digits():
    plan = a_plan([PRICE.value(Decimal("0.25")), PRICE.value(Decimal("7.50"))], 3)
    assert str(plan.window) == "(-∞, 3.25]"
